import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { Registry } from "../../../src/api/gen/tulle/filter_pb.ts";
import { hexToBytes, sha256Hex } from "../../../src/api/hex.ts";
import { Counters } from "../../../src/control/counters.ts";
import { registryService } from "../../../src/control/filters/registry-service.ts";
import { apply, resource } from "../support/mesh-fixture.ts";
import { BAD, filter, setUp, SHA1, SHA2, SHA_BAD, V1, V2, wasm, WEB } from "./registry-fixture.ts";

test("a filter whose file has the configured digest is served with its settings", async () => {
  const t = await setUp({
    yaml: filter(
      SHA1,
      "  failurePolicy: Open\n  limits: { fuelPerHook: 7, memoryPages: 3, cpuPercent: 9 }\n" +
        "  callouts: { auth: auth.shop:80 }\n",
    ),
  });
  assert.equal(t.registry.refs(WEB, null), [{
    name: "retry",
    sha256: SHA1,
    size: V1.length,
    config: new TextEncoder().encode('{"maxRetries":2}'),
    failurePolicy: "open",
    fuelPerHook: 7,
    memoryPages: 3,
    cpuPercent: 9,
    callouts: { auth: "auth.shop:80" },
  }]);
  const state = t.one();
  assert.equal([state?.state, state?.reason, state?.served?.sha256], ["serving", "", SHA1]);
  assert.equal(state?.targets, ["Service shop/web"]);
  assert.is(state?.served?.label, "retry.wasm");
  t.registry.close();
  assert.equal(t.files.watched, []);
});

test("filters are for their target and routes, in order, then by name", async () => {
  const t = await setUp({
    yaml: [
      filter(SHA1, "  order: 5\n", "late"),
      filter(SHA1, "  order: 1\n", "b"),
      filter(SHA1, "  order: 1\n", "a"),
      filter(SHA1, "  routes: [GET /x]\n", "route"),
      filter(SHA1, "", "elsewhere", "other"),
    ].join("---"),
  });
  const names = (route: string | null) => t.registry.refs(WEB, route).map((f) => f.name);
  assert.equal(names(null), ["a", "b", "late"]);
  assert.equal(names("GET /x"), ["route", "a", "b", "late"]);
  assert.equal(names("GET /y"), ["a", "b", "late"]);
  assert.equal(t.registry.refs({ ...WEB, kind: "Server" }, null), []);
  t.registry.close();
});

test("a file with another digest than configured is refused, and the last good stays", async () => {
  const t = await setUp();
  apply(t.cluster, filter(SHA2, "  order: 9\n"));
  await t.registry.settled();
  assert.equal(t.serves(), [SHA1]);
  assert.is(t.one()?.state, "refused");
  assert.match(t.one()?.reason ?? "", new RegExp(`retry.wasm has the digest ${SHA1}, not ${SHA2}`));
  assert.is(t.one()?.wanted?.sha256, SHA2);
  assert.is(t.counters.refusals["module"], 1);
  // Object and module change together.
  await t.edit(V2);
  assert.equal(t.serves(), [SHA2]);
  assert.is(t.one()?.state, "serving");
  t.registry.close();
});

test("without any good module a closed filter refuses requests, and an open one is left out", async () => {
  const closed = await setUp({ yaml: filter(SHA2) });
  assert.equal(closed.registry.refs(WEB, null).map((f) => [f.sha256, f.size]), [[SHA2, 0]]);
  assert.match(closed.lines.join("\n"), /its requests are refused/);
  closed.registry.close();
  const open = await setUp({ yaml: filter(SHA2, "  failurePolicy: Open\n") });
  assert.equal(open.serves(), []);
  open.registry.close();
  const missing = await setUp({ module: null });
  assert.match(missing.one()?.reason ?? "", /Cannot read \/build\/retry\.wasm/);
  missing.registry.close();
});

test("a changed module file is inspected and swapped in; a bad one is not", async () => {
  const t = await setUp();
  const dirty: string[] = [];
  t.cluster.subscribe((d) => dirty.push(...d));
  await t.edit(V2);
  assert.equal(t.serves(), [SHA2]);
  assert.equal(dirty, ["shop"], "the joins are told");
  assert.equal(t.one()?.builds.map((b) => b.sha256), [SHA2, SHA1]);

  await t.edit(BAD);
  assert.equal(t.serves(), [SHA2]);
  assert.is(t.one()?.state, "refused");
  assert.match(t.one()?.reason ?? "", /function 3 imports env\.exit/);
  await t.edit(new TextEncoder().encode("not a module"));
  assert.match(t.one()?.reason ?? "", /not a WebAssembly module/);
  assert.equal(t.serves(), [SHA2]);
  await t.edit(V1);
  assert.equal([t.one()?.state, t.serves()[0]], ["serving", SHA1]);
  // Touched, and the same: nothing happens.
  const told = dirty.length;
  await t.edit(V1);
  assert.is(dirty.length, told);
  t.registry.close();
});

test("rollout() takes bytes or a digest, and refuses what it cannot serve", async () => {
  const t = await setUp();
  assert.equal(await t.registry.rollout("retry", { bytes: V2 }), {
    ok: true,
    sha256: SHA2,
    previous: SHA1,
  });
  assert.equal(t.serves(), [SHA2]);
  assert.equal(await t.registry.rollout("retry", { sha256: SHA1 }), {
    ok: true,
    sha256: SHA1,
    previous: SHA2,
  });

  const unknown = await t.registry.rollout("nobody", { bytes: V2 });
  assert.equal([unknown.ok, !unknown.ok && unknown.kind], [false, "unknown-filter"]);
  for (
    const module of [{ bytes: BAD }, { bytes: new Uint8Array(9) }, { sha256: "00".repeat(32) }]
  ) {
    const refused = await t.registry.rollout("retry", module);
    assert.equal([refused.ok, !refused.ok && refused.kind], [false, "refused"]);
    assert.not((!refused.ok && refused.reason || "").includes("\n"));
    assert.equal(t.serves(), [SHA1]);
  }
  assert.is(t.one()?.state, "serving", "what was asked for and refused changes nothing");
  t.registry.close();
});

test("a rollout survives a restart, until configuration pins another module", async () => {
  const first = await setUp();
  await first.registry.rollout("retry", { bytes: V2 });
  first.registry.close();

  const again = await setUp({ state: first.state });
  assert.equal(again.serves(), [SHA2]);
  assert.equal([again.one()?.state, again.one()?.wanted?.sha256], ["serving", SHA1]);
  // Rolled back by hand: nothing is remembered any more.
  await again.registry.rollout("retry", { sha256: SHA1 });
  again.registry.close();
  const back = await setUp({ state: first.state });
  assert.equal(back.serves(), [SHA1]);

  await back.registry.rollout("retry", { bytes: V2 });
  const V3 = wasm("three");
  back.files.write("/build/retry.wasm", V3);
  apply(back.cluster, filter(await sha256Hex(V3)));
  await back.registry.settled();
  assert.equal(back.serves(), [await sha256Hex(V3)]);
  back.registry.close();
});

test("a module in the state folder that was changed is not served", async () => {
  const first = await setUp();
  await first.registry.rollout("retry", { bytes: V2 });
  first.registry.close();
  await first.state.write(`modules/${SHA2}.wasm`, BAD);
  const again = await setUp({ state: first.state });
  assert.equal(again.serves(), [SHA1]);
  again.registry.close();
});

test("a bad module is refused although configuration pins it", async () => {
  const t = await setUp({ yaml: filter(SHA_BAD, "  failurePolicy: Open\n"), module: BAD });
  assert.equal(t.serves(), []);
  assert.match(t.one()?.reason ?? "", /env\.exit/);
  t.registry.close();
});

test("of two filters with one name the second is refused, and takes over when the first is gone", async () => {
  const t = await setUp({ yaml: [filter(SHA1), filter(SHA1, "", "retry", "zoo")].join("---") });
  const states = () => t.registry.states().map((s) => `${s.namespace} ${s.state}`).sort();
  assert.equal(states(), ["shop serving", "zoo refused"]);
  t.cluster.remove(resource(filter(SHA1)));
  await t.registry.settled();
  assert.equal(states(), ["zoo serving"]);
  t.registry.close();
});

test("a filter that is deleted is served no more, and its file is watched no more", async () => {
  const t = await setUp();
  assert.equal(t.files.watched, ["/build"]);
  t.cluster.remove(resource(filter(SHA1)));
  assert.equal(t.serves(), []);
  assert.equal(t.files.watched, []);
  t.registry.close();
});

test("GetModule streams a module in pieces of at most 64 KiB", async () => {
  const big = wasm("big", 200_000);
  const sha256 = await sha256Hex(big);
  const t = await setUp({ yaml: filter(sha256), module: big });
  const counters = new Counters();
  const transport = createRouterTransport((router) => {
    router.service(Registry, registryService((digest) => t.registry.module(digest), counters));
  });
  const client = createClient(Registry, transport);
  const pieces: Uint8Array[] = [];
  for await (const { data } of client.getModule({ sha256: hexToBytes(sha256) })) pieces.push(data);
  assert.is(pieces.length, 4);
  assert.ok(pieces.every((p) => p.length <= 65_536));
  const whole = new Uint8Array(pieces.flatMap((p) => [...p]));
  assert.is(await sha256Hex(whole), sha256);
  assert.is(counters.streamsOpen["filter.GetModule"], 0);

  const code = async (digest: Uint8Array) => {
    try {
      for await (const _ of client.getModule({ sha256: digest })) assert.unreachable();
    } catch (e) {
      return ConnectError.from(e).code;
    }
    return null;
  };
  assert.is(await code(new Uint8Array(32)), Code.NotFound);
  assert.is(await code(new Uint8Array(3)), Code.InvalidArgument);
  t.registry.close();
});

test("a trap is told with the line of its source where the map lies beside the module", async () => {
  const map = { version: 3, sources: ["../retry/assembly/index.ts"], names: [], mappings: "IAAA" };
  const t = await setUp({ module: null });
  t.files.write("/build/retry.wasm.map", new TextEncoder().encode(JSON.stringify(map)));
  await t.edit(V1);
  const reason = "onEnd trapped: unreachable, in index/onEnd (byte 0x5 of the module, from 0x4)";
  assert.is(
    t.registry.maps.explain(SHA1, reason),
    "onEnd trapped: unreachable, in index/onEnd at retry/assembly/index.ts:1:1",
  );
  assert.is(t.registry.maps.explain(SHA2, reason), reason, "a build without a map");
  t.files.write("/build/retry.wasm.map", new TextEncoder().encode("{"));
  await t.edit(V2);
  assert.is(t.registry.maps.explain(SHA2, reason), reason);
  assert.ok(t.lines.some((l) => /build\/retry\.wasm\.map is not read/.test(l)), t.lines.join());
  t.registry.close();
});

test.run();
