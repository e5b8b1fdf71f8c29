// Route policy: who may use a route, by identity and network. Denials come first; then, where there are
// permissions, one of them must hold.

import {
  Action,
  config,
  connection,
  CONTINUE,
  copy,
  counter,
  indexOf,
  is,
  lend,
  length,
  log,
  reply,
  Text,
} from "@tulle/filter";
import { Address, addressOf, inNetwork, networkOf } from "./address";

const allow = config.list("allow", 256);
const deny = config.list("deny", 256);
const dryRun = config.flag("dryRun", false);

const decided = counter({
  name: "route_policy_total",
  help: "Requests by what the route's policy said; dry_run: it would have been a denial",
  labels: { decision: ["allow", "deny", "dry_run"] },
});
const ALLOW = 0, DENIED = 1, DRY_RUN = 2;

/** One condition of a rule. */
const NETWORK: u8 = 0, EXCEPT: u8 = 1, IDENTITY: u8 = 2, SUFFIX: u8 = 3;
class Condition {
  constructor(
    public kind: u8,
    /** The identity, or what it ends with. */
    public name: string,
    public network: Address | null,
  ) {}
}

/** What was decided for a client; the rules do not change while the filter runs. */
class Known {
  constructor(public ip: string, public peer: string, public isPermitted: bool) {}
}
const MAX_KNOWN = 16;
const known: Known[] = [];
let oldest = 0;

const allowed: Condition[][] = [];
const denied: Condition[][] = [];

export function configure(): void {
  for (let i = 0; i < allow.length; i++) {
    const rule = parse(allow.at(i));
    if (!rule) config.refuse("allow", "has a rule with something else than net:, not: and id:");
    else allowed.push(rule);
  }
  for (let i = 0; i < deny.length; i++) {
    const rule = parse(deny.at(i));
    if (!rule) config.refuse("deny", "has a rule with something else than net:, not: and id:");
    else denied.push(rule);
  }
}

export function onRequest(): Action {
  if (isPermitted()) {
    decided.inc(ALLOW);
    return CONTINUE;
  }
  if (dryRun) {
    decided.inc(DRY_RUN);
    log.info("the route's policy would deny a request");
    return CONTINUE;
  }
  decided.inc(DENIED);
  return reply(403, null);
}

function isPermitted(): bool {
  const ip = connection.remoteIp();
  const peer = connection.peer();
  for (let i = 0; i < known.length; i++) {
    const k = unchecked(known[i]);
    if (is(ip, lend(k.ip)) && (!peer ? k.peer.length == 0 : is(peer, lend(k.peer)))) {
      return k.isPermitted;
    }
  }
  const k = new Known(copy(ip), copy(peer), decide(addressOf(ip), copy(peer)));
  if (known.length < MAX_KNOWN) known.push(k);
  else {
    known[oldest] = k;
    oldest = (oldest + 1) % MAX_KNOWN;
  }
  return k.isPermitted;
}

function decide(ip: Address | null, peer: string): bool {
  for (let i = 0; i < denied.length; i++) if (holds(denied[i], ip, peer)) return false;
  if (allowed.length == 0) return true;
  for (let i = 0; i < allowed.length; i++) if (holds(allowed[i], ip, peer)) return true;
  return false;
}

/** In one of its networks and none of its exceptions, and one of its identities. */
function holds(rule: Condition[], ip: Address | null, peer: string): bool {
  let networks = 0, identities = 0;
  let isInside = false, isNamed = false;
  for (let i = 0; i < rule.length; i++) {
    const c = rule[i];
    if (c.kind == NETWORK) {
      networks++;
      if (!isInside) isInside = inNetwork(ip, c.network);
    } else if (c.kind == EXCEPT) {
      // What is no address is in no network, and therefore outside of none, either.
      if (!ip || inNetwork(ip, c.network)) return false;
    } else {
      identities++;
      if (!isNamed) isNamed = c.kind == IDENTITY ? peer == c.name : endsWith(peer, c.name);
    }
  }
  return (networks == 0 || isInside) && (identities == 0 || isNamed);
}

/** Longer than the suffix; an empty suffix is any identity. */
function endsWith(peer: string, suffix: string): bool {
  return peer.length > suffix.length && peer.endsWith(suffix);
}

/** The conditions of a rule, or null: not well-formed. */
function parse(written: Text): Condition[] | null {
  const rule: Condition[] = [];
  const end = length(written);
  let at = 0;
  while (at < end) {
    let to = indexOf(written, " ", at);
    if (to < 0) to = end;
    const c = condition(written, at, to);
    if (!c) return null;
    rule.push(c);
    at = to + 1;
  }
  return rule.length == 0 ? null : rule;
}

function condition(written: Text, at: i32, to: i32): Condition | null {
  const whole = copy(written).substring(at, to);
  if (whole.startsWith("id:")) {
    const isSuffix = whole.startsWith("id:*");
    const name = whole.substring(isSuffix ? 4 : 3);
    if (name.length == 0 && !isSuffix) return null;
    return new Condition(isSuffix ? SUFFIX : IDENTITY, name, null);
  }
  const isNetwork = whole.startsWith("net:");
  if (!isNetwork && !whole.startsWith("not:")) return null;
  const network = networkOf(written, at + 4, to);
  return !network ? null : new Condition(isNetwork ? NETWORK : EXCEPT, "", network);
}
