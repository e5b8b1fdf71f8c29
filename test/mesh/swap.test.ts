// Filters replaced while requests run: real processes, a load that never stops and never fails, and
// modules that should not have been rolled out.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { filtersAnswer, type FilterView } from "../../src/api/admin.ts";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { encodeLines, withLines } from "../../wasm/host/line-map.ts";
import { parseModule } from "../../wasm/host/parse.ts";
import { SourceMap } from "../../wasm/host/source-map.ts";
import { buildModule, I32 } from "../wasm/build-module.ts";
import { type Answer, ask } from "./support/http.ts";
import { type Load, startLoad } from "./support/load.ts";
import { pod, service, wasmFilter, yaml } from "./support/objects.ts";
import { eventually, pause } from "./support/waiting.ts";

const NET = loopbackNet(94);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const CATALOGUE: MeshPod = { name: "catalogue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const URL_OF_IT = "http://catalogue.shop.svc.cluster.local:8080/";

const UNREACHABLE = [0x00];
const CONTINUE = [0x41, 0];
/** `if (status == 207) unreachable()` */
const UNLESS_207 = [0x20, 0, 0x41, 0xcf, 0x01, 0x46, 0x04, 0x40, 0x00, 0x0b, ...CONTINUE];

/** A filter of a few bytes: what its start, its `onRequest` and its `onResponse` do. */
function tinyFilter(
  start: readonly number[],
  onRequest: readonly number[],
  onResponse: readonly number[] = CONTINUE,
): Uint8Array {
  return buildModule({
    types: [
      { params: [], results: [] },
      { params: [], results: [I32] },
      { params: [I32], results: [I32] },
    ],
    functions: [0, 1, 2],
    memories: [[0, 1]],
    exports: [
      ["_initialize", 0, 0],
      ["tulle_on_request", 0, 1],
      ["tulle_on_response", 0, 2],
    ],
    bodies: [[0, ...start], [0, ...onRequest], [0, ...onResponse]],
  });
}

/** With the lines of a source: each function is at line 7, column 3. */
function withPlace(module: Uint8Array): Uint8Array {
  const starts = parseModule(module).bodies.map((body) => body.from);
  const places = SourceMap.of(["tiny.ts"], starts.flatMap((at) => [at, 0, 6, 2]));
  const lines = encodeLines(places, starts);
  return withLines(module, lines ?? new Uint8Array(0));
}

const GOOD = tinyFilter([], CONTINUE);
const TRAPS_AT_START = tinyFilter(UNREACHABLE, CONTINUE);
const TRAPS_ON_REQUEST = tinyFilter([], UNREACHABLE);
const TRAPS_ON_207 = withPlace(tinyFilter([], CONTINUE, UNLESS_207));
const digest = (wasm: Uint8Array) => createHash("sha256").update(wasm).digest("hex");

let mesh: TestMesh;
let load: Load;
const builds: { readonly sha256: string; readonly wasm: Uint8Array }[] = [];

const modifier = (value: string) =>
  yaml(wasmFilter("header-modifier", {
    service: "catalogue",
    sha256: builds[0]!.sha256,
    file: "header-modifier.wasm",
    order: 10,
    config: { responseSet: { "x-edited": value } },
  }));

test.before(async () => {
  for (const name of ["header-modifier", "header-modifier.v2"]) {
    const wasm = await readFile(new URL(`../../filters/build/${name}.wasm`, import.meta.url));
    builds.push({ sha256: digest(wasm), wasm: new Uint8Array(wasm) });
  }
  mesh = await TestMesh.start({
    net: NET,
    modules: { "tiny.wasm": GOOD },
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("catalogue", CATALOGUE.ip, "catalogue"),
        ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
      ),
      "modifier.yaml": modifier("first"),
      "tiny.yaml": yaml(wasmFilter("tiny", {
        service: "catalogue",
        sha256: digest(GOOD),
        file: "tiny.wasm",
        order: 20,
        failurePolicy: "Open",
      })),
    },
    pods: [WEB, CATALOGUE],
  });
  await mesh.serve(
    CATALOGUE.ip,
    8080,
    ({ path }) => path === "/odd" ? { status: 207, body: "odd" } : { body: "ok" },
  );
  load = startLoad(6, () => mesh.call(WEB, URL_OF_IT));
  await eventually("the load", () => assert.ok(load.done > 20));
});
test.after(async () => {
  await load?.stop();
  await mesh?.end();
});

/** `POST /api/filters/:name/rollout`. */
function rollOut(filter: string, what: { sha256: string } | Uint8Array): Promise<Answer> {
  const url = new URL(mesh.admin);
  const body = what instanceof Uint8Array ? what : JSON.stringify(what);
  const type = what instanceof Uint8Array ? "application/wasm" : "application/json";
  return ask({
    host: url.hostname,
    port: url.port,
    method: "POST",
    path: `/api/filters/${filter}/rollout`,
    headers: { "content-type": type, "content-length": String(body.length) },
  }, body);
}

/** A filter as the caller's proxy runs it. */
async function running(name: string, sha256: string) {
  const { filters } = await mesh.stats(WEB);
  return filters.find((f) => f.name === name && f.sha256 === sha256);
}

/** A filter in `GET /api/filters`. */
async function listed(name: string): Promise<FilterView> {
  const answer = await fetch(`${mesh.admin}/api/filters`);
  const found = filtersAnswer(await answer.json(), "").filters.find((f) => f.name === name);
  assert.ok(found !== undefined);
  return found!;
}

/** Requests go on through this build. */
async function serves(name: string, sha256: string): Promise<void> {
  const before = (await running(name, sha256))?.calls ?? 0;
  await eventually(`${name} ${sha256.slice(0, 8)} serves`, async () => {
    assert.ok((await running(name, sha256))!.calls > before + 5);
  });
}

test("builds are swapped back and forth under load, and no request fails", async () => {
  const [v1, v2] = [builds[0]!, builds[1]!];
  await serves("header-modifier", v1.sha256);
  for (let i = 0; i < 6; i++) {
    const to = i % 2 === 0 ? v2 : v1;
    const crossed = await load.crossing(async () => {
      // The first time the registry has not seen the second build.
      const answer = await rollOut("header-modifier", i === 0 ? to.wasm : { sha256: to.sha256 });
      assert.is(answer.status, 200, answer.body);
      await eventually("the proxy runs it", async () => {
        assert.is((await running("header-modifier", to.sha256))?.state, "ready");
      });
    });
    assert.ok(crossed > 0, "requests were under way");
    await serves("header-modifier", to.sha256);
    assert.is((await mesh.call(WEB, URL_OF_IT)).headers["x-edited"], "first");
  }
  assert.equal(load.failures, []);
});

test("what is no valid module is refused with a reason, and the old build serves", async () => {
  const { sha256 } = builds[0]!;
  const cut = builds[1]!.wasm.slice(0, 500);
  for (
    const [module, why] of [
      [new TextEncoder().encode("not a module"), /not a WebAssembly module/],
      [cut, /Rollout of header-modifier refused: /],
    ] as const
  ) {
    const answer = await rollOut("header-modifier", module);
    assert.is(answer.status, 422);
    assert.match((JSON.parse(answer.body) as { error: string }).error, why);
  }
  await serves("header-modifier", sha256);
  assert.is((await listed("header-modifier")).served?.sha256, sha256);
  assert.equal(load.failures, []);
});

for (
  const [what, module, why] of [
    ["at its start", TRAPS_AT_START, /the start function trapped: unreachable/],
    ["on every request", TRAPS_ON_REQUEST, /onRequest trapped: unreachable/],
  ] as const
) {
  test(`a module that traps ${what} leaves the old one serving and says why`, async () => {
    await serves("tiny", digest(GOOD));
    await rollOut("tiny", module);
    await eventually("the proxy says why", async () => {
      const found = await running("tiny", digest(GOOD));
      assert.is(found?.state, "failed");
      assert.match(found!.lastError, why);
    });
    await eventually("so does the control plane", async () => {
      assert.ok((await listed("tiny")).running.some((r) => why.test(r.lastError)));
    });
    await serves("tiny", digest(GOOD));
    assert.is((await running("tiny", digest(module)))?.calls ?? 0, 0);
    assert.is((await rollOut("tiny", { sha256: digest(GOOD) })).status, 200);
    await eventually("all is well again", async () => {
      assert.is((await running("tiny", digest(GOOD)))?.state, "ready");
    });
    assert.equal(load.failures, []);
  });
}

test("a module that traps now and then is contained where its failure policy is Open", async () => {
  const bad = digest(TRAPS_ON_207);
  assert.is((await rollOut("tiny", TRAPS_ON_207)).status, 200);
  await serves("tiny", bad);
  for (let i = 0; i < 3; i++) {
    const answer = await mesh.call(WEB, `${URL_OF_IT}odd`);
    assert.is(answer.status, 207);
    assert.is(answer.body, "odd");
    assert.is(answer.headers["x-edited"], "first", "the other filter goes on");
  }
  const state = (await running("tiny", bad))!;
  assert.is(state.traps, 3);
  const told = /^onResponse trapped: unreachable, in .* at tiny\.ts:7:3 \(byte 0x/;
  assert.match(state.lastError, told);
  await eventually("the control plane shows it", async () => {
    const { traps, running } = await listed("tiny");
    assert.is(traps, 3);
    assert.ok(running.some((r) => told.test(r.lastError)), "with file, line and column");
  });
  await serves("tiny", bad);
  assert.is((await rollOut("tiny", { sha256: digest(GOOD) })).status, 200);
  await serves("tiny", digest(GOOD));
  assert.equal(load.failures, []);
});

test("an edited configuration reaches the next requests at once", async () => {
  const took: number[] = [];
  for (const value of ["second", "third", "fourth"]) {
    const started = performance.now();
    await mesh.write("modifier.yaml", modifier(value));
    await eventually("the edit is seen", async () => {
      assert.is((await mesh.call(WEB, URL_OF_IT)).headers["x-edited"], value);
    });
    took.push(performance.now() - started);
    await pause(100);
  }
  console.log(`edit to effect: ${took.map((ms) => `${ms.toFixed(0)} ms`).join(", ")}`);
  // 200 ms is the promise on an idle machine; this one runs a load and other tests.
  assert.ok(Math.min(...took) < 2_000, `${took}`);
  assert.equal(load.failures, []);
});

test.run();
