import { test } from "uvu";
import * as assert from "uvu/assert";
import type { EndpointState } from "../../../src/proxy/outbound/endpoint.ts";
import { hashBytes, HashRing, hashText } from "../../../src/proxy/outbound/hash-ring.ts";
import { PeakEwma, type PendingCount } from "../../../src/proxy/outbound/peak-ewma.ts";
import { type Random, seeded } from "../../support/random.ts";

/** What a ring asks of an endpoint. */
interface Member {
  readonly name: string;
  readonly endpoint: { readonly weight: number };
  readonly ewma: PeakEwma;
  ejected: boolean;
  away: boolean;
}

function member(name: string, together: PendingCount, weight = 10_000): Member {
  const one = {
    name,
    endpoint: { weight },
    ewma: new PeakEwma(30, 10_000, 0, together),
    ejected: false,
    away: false,
    isEjected: () => one.ejected,
    isAway: () => one.away,
  };
  return one;
}

function ringOf(members: readonly Member[], together: PendingCount): HashRing {
  return new HashRing(members as unknown as readonly EndpointState[], together);
}

function addresses(random: Random, n: number): string[] {
  return Array.from(
    new Set(Array.from(
      { length: n },
      () => `10.${random.int(0, 255)}.${random.int(0, 255)}.${random.int(1, 254)}:8080`,
    )),
  );
}

const KEYS = Array.from({ length: 4000 }, (_, i) => hashText(`user-${i}`));

function owners(ring: HashRing): string[] {
  return KEYS.map((key) => ring.pick(key, 0, 0)?.name ?? "none");
}

test("two proxies give every key to the same endpoint, in whatever order they heard of them", () => {
  const random = seeded(11);
  for (let round = 0; round < 10; round++) {
    const names = addresses(random, random.int(1, 40));
    const shuffled = names.map((n) => [random(), n] as const).sort(([a], [b]) => a - b)
      .map(([, n]) => n);
    const here = owners(ringOf(names.map((n) => member(n, { count: 0 })), { count: 0 }));
    const there = owners(ringOf(shuffled.map((n) => member(n, { count: 0 })), { count: 0 }));
    assert.equal(here, there, `seed ${random.seed}, round ${round}`);
  }
});

test("an endpoint that goes takes only its own keys with it, one that comes takes only its share", () => {
  const random = seeded(12);
  for (let round = 0; round < 10; round++) {
    const together = { count: 0 };
    const members = addresses(random, random.int(3, 40)).map((n) => member(n, together));
    const before = owners(ringOf(members, together));
    const gone = random.pick(members);
    const after = owners(ringOf(members.filter((m) => m !== gone), together));
    let taken = 0;
    for (const [i, name] of before.entries()) {
      // Read the other way round: of what the newcomer did not take, nothing moved.
      if (name === gone.name) taken++;
      else assert.is(after[i], name, `seed ${random.seed}, round ${round}`);
    }
    const share = KEYS.length / members.length;
    assert.ok(taken > share * 0.5 && taken < share * 1.7, `${taken} of ${share}`);
  }
});

test("keys are shared as the weights say", () => {
  const together = { count: 0 };
  const members = [
    member("10.0.0.1:80", together),
    member("10.0.0.2:80", together, 40_000),
    member("10.0.0.3:80", together, 10_000),
    // More than sixteen times the usual weight counts as sixteen times; nothing, as very little.
    member("10.0.0.4:80", together, 4_000_000_000),
    member("10.0.0.5:80", together, 0),
  ];
  const got = Map.groupBy(owners(ringOf(members, together)), (name) => name);
  const times = (name: string) => (got.get(name)?.length ?? 0) / (KEYS.length / 22);
  assert.ok(Math.abs(times("10.0.0.1:80") - 1) < 0.35, `${times("10.0.0.1:80")}`);
  assert.ok(Math.abs(times("10.0.0.2:80") - 4) < 1, `${times("10.0.0.2:80")}`);
  assert.ok(Math.abs(times("10.0.0.4:80") - 16) < 2, `${times("10.0.0.4:80")}`);
  assert.ok(times("10.0.0.5:80") < 0.1);
});

test("no endpoint has more than its bound of what is pending, however unequal the keys are", () => {
  const random = seeded(13);
  for (let round = 0; round < 10; round++) {
    const together = { count: 0 };
    const members = addresses(random, random.int(2, 30)).map((n) =>
      member(n, together, random.pick([10_000, 10_000, 20_000]))
    );
    const sum = members.reduce((s, m) => s + m.endpoint.weight, 0);
    const ring = ringOf(members, together);
    const hot = hashText("everybody's favourite");
    const out: Member[] = [];
    for (let i = 0; i < 3000; i++) {
      // Nine of ten requests have one key; some are answered meanwhile.
      const hash = random() < 0.9 ? hot : random.pick(KEYS);
      const to = ring.pick(hash, 0, 0) as unknown as Member;
      to.ewma.pending++;
      out.push(to);
      const bound = Math.max(8, Math.ceil(1.25 * (to.endpoint.weight / sum) * together.count));
      assert.ok(
        to.ewma.pending <= bound,
        `${to.ewma.pending} of ${together.count}, bound ${bound}`,
      );
      if (random() < 0.3) {
        const [done] = out.splice(random.int(0, out.length - 1), 1);
        if (done !== undefined) done.ewma.pending--;
      }
    }
    assert.is(together.count, out.length);
  }
});

test("an endpoint that is ejected or away is passed over, for the same other one each time", () => {
  const together = { count: 0 };
  const members = addresses(seeded(14), 12).map((n) => member(n, together));
  const ring = ringOf(members, together);
  const before = owners(ring);
  const [one, other] = members as [Member, Member];
  one.ejected = true;
  other.away = true;
  const after = owners(ring);
  assert.equal(after, owners(ring));
  for (const [i, name] of before.entries()) {
    if (name !== one.name && name !== other.name) assert.is(after[i], name);
    else assert.ok(after[i] !== one.name && after[i] !== other.name);
  }
  one.ejected = false;
  other.away = false;
  assert.equal(owners(ring), before);
});

test("away is better than none, over its bound is better than away, ejected is not taken", () => {
  const together = { count: 0 };
  const members = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map((n) => member(n, together));
  const ring = ringOf(members, together);
  for (const m of members) m.ejected = true;
  assert.is(ring.pick(1, 0, 0), null);
  const [a, b] = members as [Member, Member];
  a.ejected = false;
  a.away = true;
  assert.is(ring.pick(1, 0, 0)?.name, a.name);
  b.ejected = false;
  b.ewma.pending = 1000;
  assert.is(ring.pick(1, 0, 0)?.name, b.name);
  assert.is(ringOf([], together).pick(1, 0, 0), null);
});

test("each further attempt goes to an endpoint that no earlier one had", () => {
  const together = { count: 0 };
  const members = addresses(seeded(15), 5).map((n) => member(n, together));
  const ring = ringOf(members, together);
  for (const key of KEYS.slice(0, 200)) {
    const tried = [0, 1, 2, 3, 4].map((attempt) => ring.pick(key, attempt, 0)?.name);
    assert.is(new Set(tried).size, 5, tried.join(" "));
    // When all were tried, it goes on with the last one.
    assert.ok(ring.pick(key, 99, 0) !== null);
  }
  const lonely = ringOf(members.slice(0, 1), together);
  assert.is(lonely.pick(7, 3, 0)?.name, members[0]?.name);
});

test("a large set makes a ring that is bounded", () => {
  const together = { count: 0 };
  const names = Array.from({ length: 5000 }, (_, i) => `10.1.${i >> 8}.${i & 255}:80`);
  const ring = ringOf(names.map((n) => member(n, together, 160_000)), together);
  const got = new Set(owners(ring));
  assert.ok(got.size > 2000, `${got.size}`);
});

test("bytes and their text have the same hash", () => {
  const random = seeded(16);
  for (let i = 0; i < 200; i++) {
    const bytes = random.bytes(random.int(0, 60));
    const text = String.fromCharCode(...bytes);
    assert.is(hashBytes(bytes, 0, bytes.length), hashText(text));
  }
  // Proxies of another version must have these numbers, too, for rings to agree.
  assert.equal([hashText(""), hashText("a"), hashText("user-1")], HASHES);
});

/** Of the empty text, `a` and `user-1`. */
const HASHES = [2872998923, 444641715, 2005895916];

test.run();
