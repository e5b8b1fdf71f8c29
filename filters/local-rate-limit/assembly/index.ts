// Local rate limit: a bucket for everybody together, then one for the client's identity. The buckets are
// the proxy's, so that all its threads and instances share them.

import {
  Action,
  byteAt,
  config,
  connection,
  CONTINUE,
  counter,
  lend,
  length,
  reply,
  replyHeader,
  shared,
  Text,
} from "@tulle/filter";

const total = config.number("requestsPerSecond", 0, 0, 1000000);
const identity = config.number("identityRequestsPerSecond", 0, 0, 1000000);
// "<group> <requests per second> <identity>": clients of one group share its bucket.
const overrides = config.list("overrides", 256);

const TOTAL = 0, IDENTITY = 1, OVERRIDE = 2;
const limited = counter({
  name: "rate_limited_total",
  help: "Requests over a limit, by which",
  labels: { limit: ["total", "identity", "override"] },
});

/** Where the rate and the identity of each override begin. */
const rates: f64[] = [];
const identities: i32[] = [];

export function configure(): void {
  for (let i = 0; i < overrides.length; i++) {
    const entry = overrides.at(i);
    const group = number(entry, 0);
    const rate = group < 0 ? -1 : number(entry, afterSpace(entry, 0));
    const name = afterSpace(entry, afterSpace(entry, 0));
    if (rate < 1 || rate > 1000000 || name >= length(entry)) {
      config.refuse("overrides", "has an entry that is not: group, rate, identity");
    }
    rates.push(<f64> rate);
    identities.push(name);
  }
}

export function onRequest(): Action {
  if (total > 0 && !shared.take(" total", total, burst(total))) return refuse(TOTAL, total);
  const peer = connection.peer();
  const own = overrideOf(peer);
  if (own >= 0) {
    const rate = unchecked(rates[own]);
    const key = " override " + number(overrides.at(own), 0).toString();
    return shared.take(lend(key), rate, burst(rate)) ? CONTINUE : refuse(OVERRIDE, rate);
  }
  if (identity == 0) return CONTINUE;
  // Those without an identity share one bucket. No identity has a space in it.
  const passes = !peer
    ? shared.take(" nobody", identity, burst(identity))
    : shared.take(peer, identity, burst(identity));
  return passes ? CONTINUE : refuse(IDENTITY, identity);
}

/** As many at once as in a second, and at least one. */
function burst(rate: f64): f64 {
  return Math.max(rate, 1);
}

function refuse(which: i32, rate: f64): Action {
  limited.inc(which);
  replyHeader("retry-after", lend((<i32> Math.ceil(1 / rate)).toString()));
  // Says which limit it was: the proxy counts them apart, and a client should know whether it is alone.
  return which == TOTAL
    ? reply(429, "Too many requests\n")
    : reply(429, "Too many requests of this client\n");
}

function overrideOf(peer: Text): i32 {
  if (!peer) return -1;
  for (let i = 0; i < identities.length; i++) {
    if (endsAt(overrides.at(i), unchecked(identities[i]), peer)) return i;
  }
  return -1;
}

/** Whether `entry` from `at` on is `name`. */
function endsAt(entry: Text, at: i32, name: Text): bool {
  const end = length(entry);
  if (end - at != length(name)) return false;
  for (let i = at; i < end; i++) if (byteAt(entry, i) != byteAt(name, i - at)) return false;
  return true;
}

/** The whole number at `at`, up to a space; -1: there is none. */
function number(entry: Text, at: i32): i32 {
  let value = 0, i = at;
  for (; i < at + 7; i++) {
    const digit = byteAt(entry, i) - 0x30;
    if (<u32> digit > 9) break;
    value = value * 10 + digit;
  }
  return i == at || byteAt(entry, i) != 0x20 ? -1 : value;
}

function afterSpace(entry: Text, at: i32): i32 {
  while (at < length(entry) && byteAt(entry, at) != 0x20) at++;
  return at + 1;
}
