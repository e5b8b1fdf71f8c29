// Filters from reference to running: loaded before they serve, swapped whole, kept in their old version
// when the new one does not come.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError } from "@connectrpc/connect";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import { type ModuleCache } from "../../../src/proxy/discovery/modules.ts";
import { advance, parts, plan, settle, setUp, UNKNOWN } from "./filter-fixture.ts";

test("a route without filters needs no engine and is there at once", async () => {
  const s = setUp();
  const { chains } = s.target();
  chains.set([plan("a")]);
  assert.is(chains.routes?.[0]?.chain, NO_FILTERS);
  assert.is(s.engine.chains, 0);
  await s.done();
});

test("the first routes wait for their filters, which are fetched once for all targets", async () => {
  const s = setUp();
  const one = s.target();
  const two = s.target();
  const hdr = await s.ref("hdr", "v1");
  one.chains.set([plan("a", hdr), plan("b")]);
  two.chains.set([plan("a", hdr)]);
  assert.is(one.chains.routes, null);
  await settle();
  assert.equal(parts(one.chains), [["hdr@v1"], []]);
  assert.equal(parts(two.chains), [["hdr@v1"]]);
  assert.is(one.changes, 1);
  assert.equal(s.control.fetched, [hdr.sha256]);
  await s.done();
});

test("a new version swaps in when it is ready; other routes keep the identical chain", async () => {
  const s = setUp();
  const { chains } = s.target();
  const [hdr, retry] = [await s.ref("hdr", "v1"), await s.ref("retry", "r1")];
  chains.set([plan("a", hdr, retry), plan("b", retry)]);
  await settle();
  const before = chains.routes;
  const gate = Promise.withResolvers<void>();
  s.engine.gate = gate.promise;
  const next = await s.ref("hdr", "v2");
  chains.set([plan("a", next, retry), plan("b", retry)]);
  await settle();
  assert.is(chains.routes, before, "the old chain serves while the new version is prepared");
  const [loading] = s.store.status();
  assert.is(loading?.wantedSha256, next.sha256);
  assert.is(loading?.servingSha256, hdr.sha256);
  assert.is(loading?.state, "loading");
  gate.resolve();
  await settle();
  assert.equal(parts(chains), [["hdr@v2", "retry@r1"], ["retry@r1"]]);
  assert.is(chains.routes?.[1]?.chain, before?.[1]?.chain);
  assert.equal(s.store.status().map((f) => [f.name, f.state, f.routes]), [
    ["hdr", "ready", 1],
    ["retry", "ready", 2],
  ]);
  await s.done();
});

test("setting equal routes again keeps every chain", async () => {
  const s = setUp();
  const { chains } = s.target();
  const hdr = await s.ref("hdr", "v1");
  chains.set([plan("a", hdr)]);
  await settle();
  const chain = chains.routes?.[0]?.chain;
  chains.set([plan("renamed", { ...hdr, config: new Uint8Array() })]);
  assert.is(chains.routes?.[0]?.chain, chain);
  assert.is(s.engine.chains, 1);
  await s.done();
});

test("the same module with other settings is another filter", async () => {
  const s = setUp();
  const { chains } = s.target();
  const hdr = await s.ref("hdr", "v1");
  chains.set([plan("a", hdr)]);
  await settle();
  const chain = chains.routes?.[0]?.chain;
  chains.set([plan("a", { ...hdr, config: new TextEncoder().encode("{}") })]);
  await settle();
  assert.is.not(chains.routes?.[0]?.chain, chain);
  await s.done();
});

test("a version that cannot be fetched leaves the old one serving, says why, and is tried for ever", async () => {
  const s = setUp();
  const { chains } = s.target();
  const hdr = await s.ref("hdr", "v1");
  chains.set([plan("a", hdr)]);
  await settle();
  const before = chains.routes?.[0]?.chain;
  s.control.moduleError = new ConnectError("registry is down", Code.Unavailable);
  const next = await s.ref("hdr", "v2");
  chains.set([plan("a", next)]);
  await settle();
  assert.is(chains.routes?.[0]?.chain, before);
  const [failed] = s.store.status();
  assert.is(failed?.state, "failed");
  assert.is(failed?.servingSha256, hdr.sha256);
  assert.match(failed?.lastError ?? "", /registry is down/);
  for (let i = 0; i < 12; i++) await advance(s.clock, 60_000);
  assert.ok(s.control.fetched.length > 12);
  s.control.moduleError = null;
  // In small steps: a digest takes real time, and an attempt is given up after ten seconds.
  for (let i = 0; i < 66; i++) await advance(s.clock, 1000);
  assert.equal(parts(chains), [["hdr@v2"]]);
  assert.is(s.store.status()[0]?.lastError, "");
  await s.done();
});

test("a version that the engine refuses leaves the old one serving and says why", async () => {
  const s = setUp();
  const { chains } = s.target();
  const hdr = await s.ref("hdr", "v1");
  chains.set([plan("a", hdr)]);
  await settle();
  s.engine.refuse = "bad";
  chains.set([plan("a", await s.ref("hdr", "bad v2"))]);
  await settle();
  assert.equal(parts(chains), [["hdr@v1"]]);
  assert.is(s.store.status()[0]?.lastError, "refused: bad v2");
  // The old version is still held although no configuration names it any more.
  await advance(s.clock, 120_000);
  chains.set([plan("a", await s.ref("hdr", "bad v3"))]);
  await settle();
  assert.equal(parts(chains), [["hdr@v1"]]);
  await s.done();
});

test("a filter that never loaded is handed to the engine as unloaded, with its policy and why", async () => {
  const s = setUp();
  const { chains } = s.target();
  const good = await s.ref("good", "v1");
  chains.set([plan("a", { ...good, ...UNKNOWN, name: "gone" }, good)]);
  await settle();
  assert.equal(parts(chains), [["!gone", "good@v1"]]);
  const row = s.store.status().find((f) => f.name === "gone");
  assert.is(row?.servingSha256, "");
  assert.match(row?.lastError ?? "", /no module abab/);
  await s.done();
});

test("the first routes wait two seconds at most, then the failure policies decide", async () => {
  const s = setUp();
  const { chains } = s.target();
  const gate = Promise.withResolvers<void>();
  s.engine.gate = gate.promise;
  chains.set([plan("a", await s.ref("slow", "v1"))]);
  await advance(s.clock, 1999);
  assert.is(chains.routes, null);
  await advance(s.clock, 1);
  assert.equal(parts(chains), [["!slow"]]);
  gate.resolve();
  await settle();
  assert.equal(parts(chains), [["slow@v1"]]);
  await s.done();
});

test("a registry that does not answer is given up after ten seconds and asked again", async () => {
  const s = setUp();
  const { chains } = s.target();
  const hdr = await s.ref("hdr", "v1");
  chains.set([plan("a", hdr)]);
  await settle();
  s.engine.gate = new Promise(() => {});
  const next = await s.ref("hdr", "v2");
  chains.set([plan("a", next)]);
  await advance(s.clock, 9999);
  assert.is(s.store.status()[0]?.state, "loading");
  await advance(s.clock, 1);
  assert.is(s.store.status()[0]?.state, "failed");
  assert.match(s.store.status()[0]?.lastError ?? "", /did not come within 10000 ms/);
  s.engine.gate = Promise.resolve();
  await advance(s.clock, 1000);
  assert.equal(parts(chains), [["hdr@v2"]]);
  await s.done();
});

test("a module of another size or digest than declared is never prepared", async () => {
  const s = setUp();
  const { chains } = s.target();
  const hdr = await s.ref("hdr", "12345678901234567890");
  const other = await s.ref("other", "another text of 20 b");
  s.control.modules.set(hdr.sha256, s.control.modules.get(other.sha256) as Uint8Array);
  const short = await s.ref("short", "short", { size: 6 });
  const long = await s.ref("long", "a long module", { size: 8 });
  chains.set([plan("a", hdr, short, long)]);
  await settle();
  assert.equal(parts(chains), [["!hdr", "!short", "!long"]]);
  const why = Object.fromEntries(s.store.status().map((f) => [f.name, f.lastError]));
  assert.match(why.hdr ?? "", /has the digest/);
  assert.match(why.short ?? "", /has 5 bytes, not the 6 declared/);
  assert.match(why.long ?? "", /is larger than the 8 bytes declared/);
  assert.equal(s.engine.prepared, []);
  await s.done();
});

test("a version replaced while it loads is forgotten", async () => {
  const s = setUp();
  const { chains } = s.target();
  const gate = Promise.withResolvers<void>();
  s.engine.gate = gate.promise;
  chains.set([plan("a", await s.ref("hdr", "v1"))]);
  chains.set([plan("a", await s.ref("hdr", "v2"))]);
  gate.resolve();
  await settle();
  assert.equal(parts(chains), [["hdr@v2"]]);
  assert.is(s.store.status().length, 1);
  await s.done();
});

test("a filter that nobody names is kept for a minute, so that a target may come back", async () => {
  const s = setUp();
  const one = s.target();
  const hdr = await s.ref("hdr", "v1");
  one.chains.set([plan("a", hdr)]);
  await settle();
  one.chains.close();
  await advance(s.clock, 59_000);
  const two = s.target();
  two.chains.set([plan("a", hdr)]);
  assert.equal(parts(two.chains), [["hdr@v1"]], "at once");
  two.chains.close();
  await advance(s.clock, 60_000);
  const three = s.target();
  three.chains.set([plan("a", hdr)]);
  assert.is(three.chains.routes, null);
  await settle();
  assert.is(s.control.fetched.length, 2);
  await s.done();
});

test("a chain that the engine cannot make leaves the old routes", async () => {
  const s = setUp();
  const target = s.target();
  const hdr = await s.ref("hdr", "v1");
  target.chains.set([plan("a", hdr)]);
  await settle();
  const before = target.chains.routes;
  s.engine.chain = () => {
    throw new Error("out of memory");
  };
  target.chains.set([plan("a", hdr, await s.ref("more", "m1"))]);
  await settle();
  assert.is(target.chains.routes, before);
  await s.done();
});

test("modules come from the cache when they are there and whole", async () => {
  const files = new Map<string, Uint8Array>();
  const cache: ModuleCache = {
    get: (sha256) => Promise.resolve(files.get(sha256) ?? null),
    put: (sha256, module) => Promise.resolve(void files.set(sha256, module)),
  };
  const first = setUp(cache);
  const hdr = await first.ref("hdr", "v1");
  const one = first.target();
  one.chains.set([plan("a", hdr)]);
  await settle();
  assert.is(files.size, 1);
  await first.done();

  const second = setUp(cache);
  const two = second.target();
  two.chains.set([plan("a", hdr)]);
  await settle();
  assert.equal(parts(two.chains), [["hdr@v1"]]);
  assert.equal(second.control.fetched, []);
  await second.done();

  files.set(hdr.sha256, new TextEncoder().encode("vX"));
  const third = setUp(cache);
  await third.ref("hdr", "v1");
  const three = third.target();
  three.chains.set([plan("a", hdr)]);
  await settle();
  assert.equal(parts(three.chains), [["hdr@v1"]]);
  assert.equal(third.control.fetched, [hdr.sha256]);
  await third.done();
});

test("a cache that cannot be read or written costs nothing but a fetch", async () => {
  const s = setUp({
    get: () => Promise.reject(new Error("EACCES")),
    put: () => Promise.reject(new Error("EROFS")),
  });
  const { chains } = s.target();
  chains.set([plan("a", await s.ref("hdr", "v1"))]);
  await settle();
  assert.equal(parts(chains), [["hdr@v1"]]);
  await s.done();
});

test.run();
