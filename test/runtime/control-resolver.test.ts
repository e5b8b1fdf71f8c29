// Where the control plane is, under a fake clock and with a resolver that the test plays: which records
// count, how long, and what stays when names no longer resolve.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { formatSocketAddr, type SocketAddr } from "../../src/core/addr.ts";
import {
  ControlResolver,
  srvAddresses,
  type TtlBounds,
  UNKNOWN_TTL_MS,
} from "../../src/runtime/control-resolver.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

type Srv = { name: string; port: number }[] | null;
type Addresses = { ips: string[]; ttlMs: number | null } | null;

/** A resolver over what `zone` says at the moment. */
function fixture(host = "dst.linkerd.svc.cluster.local.", ttl: Partial<TtlBounds> = {}) {
  const clock = new FakeClock();
  const zone: { srv: Srv; addresses: Addresses } = { srv: null, addresses: null };
  const asked: string[] = [];
  const told: string[] = [];
  const changes: string[][] = [];
  const text = (addrs: readonly SocketAddr[]) => addrs.map(formatSocketAddr);
  const answer = <T>(what: string, value: T | null) => {
    asked.push(what);
    return value === null ? Promise.reject(new Error("ENOTFOUND")) : Promise.resolve(value);
  };
  const resolver = new ControlResolver({
    host,
    port: 8086,
    clock,
    random: () => 0.5,
    ttl: { minMs: null, maxMs: null, ...ttl },
    dns: {
      srv: (name) => answer(`SRV ${name}`, zone.srv),
      addresses: (name) => answer(`A ${name}`, zone.addresses),
    },
    resolved: (type, isFound) => told.push(`${type} ${isFound}`),
    changed: (addrs) => changes.push(text(addrs)),
  });
  return {
    clock,
    zone,
    asked,
    told,
    changes,
    resolver,
    addresses: async () => text(await resolver.addresses()),
    close: () => {
      resolver.close();
      assert.is(clock.pending, 0);
    },
  };
}

const NAME = "dst.linkerd.svc.cluster.local.";

test("SRV records name addresses and ports, and the name's own addresses are not asked for", async () => {
  const f = fixture();
  f.zone.srv = [
    { name: "10-1-2-3.dst.linkerd.svc.cluster.local", port: 8086 },
    { name: "10-1-2-4.dst.linkerd.svc.cluster.local", port: 9000 },
    { name: "fd00--1.dst.linkerd.svc.cluster.local", port: 8086 },
    { name: "10-1-2-3.dst.linkerd.svc.cluster.local", port: 8086 },
  ];
  assert.equal(await f.addresses(), ["10.1.2.3:8086", "10.1.2.4:9000", "[fd00::1]:8086"]);
  assert.equal(f.asked, [`SRV ${NAME}`]);
  assert.equal(f.told, ["SRV true"]);
  f.close();
});

test("without SRV records the name's addresses count, with the configured port", async () => {
  const f = fixture();
  f.zone.addresses = { ips: ["10.1.2.3", "fd00::1"], ttlMs: 5000 };
  assert.equal(await f.addresses(), ["10.1.2.3:8086", "[fd00::1]:8086"]);
  assert.equal(f.asked, [`SRV ${NAME}`, `A ${NAME}`]);
  assert.equal(f.told, ["SRV false", "A/AAAA true"]);
  f.close();
});

test("SRV records with a target that is no address count as none", async () => {
  for (const name of ["dst.linkerd.svc.cluster.local", "", ".", "10-1-2.x", "10-1-2-300.x"]) {
    const f = fixture();
    f.zone.srv = [{ name: "10-1-2-3.x", port: 1 }, { name, port: 4191 }];
    f.zone.addresses = { ips: ["10.96.0.1"], ttlMs: 5000 };
    assert.equal(await f.addresses(), ["10.96.0.1:8086"], name);
    assert.equal(f.told, ["SRV false", "A/AAAA true"]);
    f.close();
  }
  assert.equal(srvAddresses([{ name: "10-1-2-3.x", port: 0 }]), []);
});

test("addresses, and the machine's own name, are never asked for", async () => {
  const hosts = {
    "10.0.0.1": "10.0.0.1:8086",
    "::1": "[::1]:8086",
    "localhost.": "127.0.0.1:8086",
  };
  for (const [host, expected] of Object.entries(hosts)) {
    const f = fixture(host);
    assert.equal(await f.addresses(), [expected]);
    f.clock.advance(60_000);
    f.resolver.doubt();
    assert.equal(f.asked, []);
    f.close();
  }
});

test("an answer is asked for again after its time to live, within the configured bounds", async () => {
  const cases: [number | null, Partial<TtlBounds>, number][] = [
    [5_000, {}, 5_000],
    [5_000, { minMs: 20_000 }, 20_000],
    [600_000, { maxMs: 60_000 }, 60_000],
    [null, {}, UNKNOWN_TTL_MS],
    [null, { maxMs: 7_000 }, 7_000],
    [0, {}, 1_000],
    [Number.MAX_SAFE_INTEGER, {}, 86_400_000],
    [5_000, { minMs: 9_000, maxMs: 3_000 }, 3_000],
  ];
  for (const [ttlMs, bounds, expectedMs] of cases) {
    const f = fixture(NAME, bounds);
    f.zone.addresses = { ips: ["10.0.0.1"], ttlMs };
    await f.addresses();
    await f.clock.advanceAsync(expectedMs - 1);
    assert.is(f.asked.length, 2, `${ttlMs}`);
    await f.clock.advanceAsync(1);
    assert.is(f.asked.length, 4, `${ttlMs}`);
    f.close();
  }
});

test("a change is told, another order is none", async () => {
  const f = fixture();
  f.zone.addresses = { ips: ["10.0.0.1", "10.0.0.2"], ttlMs: 5_000 };
  await f.addresses();
  f.zone.addresses = { ips: ["10.0.0.2", "10.0.0.1"], ttlMs: 5_000 };
  await f.clock.advanceAsync(5_000);
  f.zone.addresses = { ips: ["10.0.0.3"], ttlMs: 5_000 };
  await f.clock.advanceAsync(5_000);
  assert.equal(f.changes, [["10.0.0.1:8086", "10.0.0.2:8086"], ["10.0.0.3:8086"]]);
  f.close();
});

test("a failure keeps the last answer, and is tried again with back-off", async () => {
  const f = fixture();
  f.zone.addresses = { ips: ["10.0.0.1"], ttlMs: 5_000 };
  await f.addresses();
  f.zone.addresses = null;
  await f.clock.advanceAsync(5_000);
  assert.is(f.asked.length, 4);
  for (const [i, waitMs] of [1_000, 2_000, 4_000].entries()) {
    await f.clock.advanceAsync(waitMs - 1);
    assert.is(f.asked.length, 4 + 2 * i);
    await f.clock.advanceAsync(1);
    assert.is(f.asked.length, 6 + 2 * i);
    assert.equal(await f.addresses(), ["10.0.0.1:8086"]);
  }
  f.zone.addresses = { ips: ["10.0.0.2"], ttlMs: 5_000 };
  await f.clock.advanceAsync(8_000);
  assert.equal(await f.addresses(), ["10.0.0.2:8086"]);
  f.zone.addresses = null;
  await f.clock.advanceAsync(5_000);
  const before = f.asked.length;
  await f.clock.advanceAsync(1_000);
  assert.is(f.asked.length, before + 2, "the back-off begins anew");
  f.close();
});

test("where nothing was ever found each call asks, and calls at once share one look-up", async () => {
  const f = fixture();
  const both = await Promise.allSettled([f.addresses(), f.addresses()]);
  assert.equal(both.map(({ status }) => status), ["rejected", "rejected"]);
  assert.equal(f.told, ["SRV false", "A/AAAA false"]);
  assert.is(f.clock.pending, 0, "nobody waits for what nobody asks for");
  f.zone.addresses = { ips: [], ttlMs: 5_000 };
  assert.match(String(await f.addresses().catch((e: unknown) => e)), /has no address/);
  f.zone.addresses = { ips: ["10.0.0.1"], ttlMs: 5_000 };
  assert.equal(await f.addresses(), ["10.0.0.1:8086"]);
  f.close();
});

test("an address that fails has the name asked for early, but not often", async () => {
  const f = fixture();
  f.zone.addresses = { ips: ["10.0.0.1"], ttlMs: 60_000 };
  await f.addresses();
  f.resolver.doubt();
  await settle();
  assert.is(f.asked.length, 2, "the answer is new");
  f.clock.advance(5_000);
  f.resolver.doubt();
  f.resolver.doubt();
  await settle();
  assert.is(f.asked.length, 4);
  assert.is(f.clock.pending, 1);
  f.close();
});

test("a resolver that was closed during a look-up asks no more", async () => {
  const f = fixture();
  f.zone.addresses = { ips: ["10.0.0.1"], ttlMs: 1_000 };
  const answer = f.addresses();
  f.resolver.close();
  await answer;
  f.close();
});

test("a zone with many addresses is cut", async () => {
  const f = fixture();
  const ips = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  f.zone.addresses = { ips, ttlMs: 1_000 };
  assert.is((await f.addresses()).length, 256);
  f.close();
});

test.run();
