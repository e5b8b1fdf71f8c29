import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Exchange } from "../../src/core/exchange.ts";
import { FilterRefused } from "../../src/core/filter.ts";
import { SILENT } from "../../src/core/log.ts";
import { readConfig } from "../../wasm/host/config.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { createImports } from "../../wasm/host/hostcalls.ts";
import { createSituation, PHASE_REQUEST, PHASE_START } from "../../wasm/host/situation.ts";
import { loadModule } from "../../wasm/host/load.ts";
import { COMPILE_OPTIONS, describe, FilterPlan } from "../../wasm/host/plan.ts";
import {
  ALLOWANCE_EXPORT,
  FUEL_EXPORT,
  MEMORY_EXPORT,
  START_EXPORT,
} from "../../wasm/host/rewrite.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { fuzzSeed, type Random, seeded } from "../support/random.ts";
import { buildModule, EMPTY, I32, OUTCOME_TYPE, outcomeModule } from "./build-module.ts";
import { get, moduleBytes, refTo, seen } from "./support.ts";

const BOUNDS = { fuelPerHook: 50_000_000, fuelToStart: 50_000_000, memoryPages: 16 };
type Hook = (...args: unknown[]) => number;

/** An instance with the real imports, and the situation that they look at. */
async function instantiate(bytes: Uint8Array, isRewritten: boolean, config: unknown) {
  const loaded = await loadModule(bytes, BOUNDS);
  const ref = refTo(bytes, config);
  const { manifest, parsed } = loaded;
  const module = isRewritten
    ? loaded.module
    : await WebAssembly.compile(new Uint8Array(bytes), COMPILE_OPTIONS);
  const info = describe(manifest, parsed.exports, ref.sha256, ref.size, []);
  const values = readConfig(ref.config, manifest);
  const plan = new FilterPlan(ref, info, module, manifest, values, BOUNDS.fuelPerHook);
  const at = createSituation(PHASE_START);
  const world = {
    now: () => 5,
    wall: () => 7,
    random: () => 0.25,
    log: SILENT,
    cells: null,
    mayLog: () => false,
  };
  const { exports } = new WebAssembly.Instance(module, createImports(plan, at, world));
  const memory = exports[isRewritten ? MEMORY_EXPORT : "memory"] as WebAssembly.Memory;
  const call = (name: string, ...args: unknown[]) => (exports[name] as Hook | undefined)?.(...args);
  call("_initialize");
  call("tulle_configure");
  return { plan, at, call, memory };
}

const CORPUS: readonly (readonly [name: string, config: unknown])[] = [
  ["retry", { statuses: "500-504", jitter: 0.5 }],
  ["route-metrics", { paths: ["/a", "/b"], route: "r" }],
  ["header-modifier", { requestSet: { "x-a": "1" } }],
  ["fixtures/policy", null],
  ["fixtures/compute", { rounds: 3 }],
  ["fixtures/hostile", null],
];

for (const [name, config] of CORPUS) {
  test(`${name} behaves after rewriting as before: answers, edits and every byte of memory`, async () => {
    const bytes = moduleBytes(name);
    const results: unknown[][] = [];
    const memories: Uint8Array[] = [];
    for (const isRewritten of [false, true]) {
      const { plan, at, call, memory } = await instantiate(bytes, isRewritten, config);
      const log: unknown[] = [];
      for (const [path, tier] of [["/a/x", "gold"], ["/b", "silver"], ["/", ""]]) {
        const x: Exchange = get(
          path as string,
          tier === "" ? {} : { "x-user-tier": tier as string },
        );
        at.x = x;
        at.phase = PHASE_REQUEST;
        log.push(call("tulle_on_request", ...plan.requestParams.map((h) => x.request.get(h))));
        log.push(x.request.edits.map((e) => [e.op, e.name.text, e.value]));
        for (const status of [200, 503]) log.push(call("tulle_on_outcome", status, 0, 1, 2.5));
        log.push(call("tulle_on_end", 200, 7.5));
      }
      results.push(log);
      memories.push(new Uint8Array(memory.buffer));
    }
    assert.equal(results[0], results[1]);
    assert.is(memories[0]?.length, memories[1]?.length);
    assert.ok(memories[0]?.every((b, i) => b === memories[1]?.[i]), "memory is the same");
  });
}

/** Random code that leaves one i32: arithmetic, memory, blocks, bounded loops, calls. */
function expression(random: Random, depth: number, callable: number): number[] {
  const sub = () => expression(random, depth - 1, callable);
  const leb = (n: number) => n < 64 ? [n] : [(n & 0x7f) | 0x80, n >> 7];
  if (depth <= 0) return random.pick([[0x41, ...leb(random.int(0, 63))], [0x20, random.int(0, 2)]]);
  switch (random.int(0, 8)) {
    case 0:
    case 1:
    case 2:
      return [
        ...sub(),
        ...sub(),
        random.pick([0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x76, 0x77, 0x48]),
      ];
    case 3: // store and load inside the first page
      return [0x41, 16, ...sub(), 0x36, 2, 0, 0x41, 16, 0x28, 2, 0];
    case 4:
      return [...sub(), 0x04, I32, ...sub(), 0x05, ...sub(), 0x0b];
    case 5: // a loop that runs up to 7 times, counted in local 4 + depth
      return [
        0x41,
        random.int(1, 7),
        0x21,
        4 + depth, // counter
        0x03,
        0x40,
        ...sub(),
        0x1a,
        0x20,
        4 + depth,
        0x41,
        1,
        0x6b,
        0x22,
        4 + depth,
        0x0d,
        0,
        0x0b,
        0x20,
        4 + depth,
      ];
    case 6:
      return callable > 0 ? [...sub(), 0x10, random.int(1, callable)] : sub();
    case 7: // memory.fill and memory.copy of a few bytes
      return [
        0x41,
        32,
        ...sub(),
        0x41,
        8,
        0xfc,
        11,
        0,
        0x41,
        48,
        0x41,
        32,
        0x41,
        4,
        0xfc,
        10,
        0,
        0,
        0x41,
        48,
        0x2d,
        0,
        0,
      ];
    default:
      return [0x02, I32, ...sub(), ...sub(), 0x0d, 0, 0x0b];
  }
}

test("generated modules behave after rewriting as before", async () => {
  const seed = fuzzSeed("rewrite");
  const random = seeded(seed);
  const LOCALS = [1, 8, I32];
  for (let round = 0; round < 150; round++) {
    // function 0 is the hook; 1 and 2 take and give an i32, and call only what stands after them
    const helper = (callable: readonly number[]) => {
      const code = expression(random, 3, 0);
      const calls = callable.flatMap((f) => [0x10, f]);
      return [1, 11, I32, ...code, ...calls];
    };
    const bytes = buildModule({
      types: [OUTCOME_TYPE, { params: [I32], results: [I32] }],
      functions: [0, 1, 1],
      memories: [[0, 1]],
      exports: [["tulle_on_outcome", 0, 0], ["memory", 2, 0]],
      bodies: [[...LOCALS, ...expression(random, 4, 2)], helper([2]), helper([])],
      manifest: EMPTY,
    });
    const outcomes: unknown[] = [];
    for (const isRewritten of [false, true]) {
      const { call, memory } = await instantiate(bytes, isRewritten, null);
      const log: unknown[] = [];
      for (const args of [[200, 0, 0, 1], [503, 1, 2, 9], [-5, 4, 7, 0]]) {
        try {
          log.push(call("tulle_on_outcome", ...args));
        } catch (e) {
          log.push((e as Error).message);
        }
      }
      outcomes.push([log, new Uint8Array(memory.buffer).slice(0, 128).join()]);
    }
    assert.equal(outcomes[0], outcomes[1], `seed ${seed}, round ${round}`);
  }
});

test("fuel is charged by what runs, and set anew for each hook", async () => {
  // onOutcome(status): loops `status` times over six instructions
  const body = [0, 0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x41, 0];
  const bytes = outcomeModule(body);
  const { module } = await loadModule(bytes, { ...BOUNDS, fuelPerHook: 1000 });
  const { exports } = new WebAssembly.Instance(module, {});
  const hook = exports.tulle_on_outcome as Hook;
  const fuel = exports[FUEL_EXPORT] as WebAssembly.Global;
  const used = (n: number) => {
    hook(n, 0, 0, 0);
    return 1000 - Number(fuel.value);
  };
  const ten = used(10);
  assert.ok(ten >= 60, "at least the instructions that ran");
  assert.is(used(20) - ten, used(30) - used(20), "the same for each turn");
  assert.is(used(10), ten, "not what was left before");
  assert.throws(() => hook(100_000, 0, 0, 0), /unreachable/);
  assert.ok(Number(fuel.value) < 0);
});

test("a start section runs as an export, with fuel, not while the module is instantiated", async () => {
  const bytes = buildModule({
    types: [OUTCOME_TYPE, { params: [], results: [] }],
    functions: [0, 1],
    exports: [["tulle_on_outcome", 0, 0]],
    start: 1,
    bodies: [[0, 0x41, 0], [0, 0x03, 0x40, 0x0c, 0, 0x0b]], // loop br 0
  });
  const { module } = await loadModule(bytes, { ...BOUNDS, fuelToStart: 1000 });
  const { exports } = new WebAssembly.Instance(module, {});
  assert.throws(() => (exports[START_EXPORT] as Hook)(), /unreachable/);
});

test("memory and tables cannot grow past their bounds", async () => {
  // onOutcome(status): memory.grow(status)
  const bytes = outcomeModule([0, 0x20, 0, 0x40, 0], { tables: [[0x70, 0, 1]] });
  const { module } = await loadModule(bytes, { ...BOUNDS, memoryPages: 4 });
  const { exports } = new WebAssembly.Instance(module, {});
  const grow = exports.tulle_on_outcome as Hook;
  assert.is(grow(3, 0, 0, 0), 1);
  assert.is(grow(1, 0, 0, 0), -1);
});

test("names of functions survive, exports that are no hooks do not", async () => {
  const { module } = await loadModule(moduleBytes("fixtures/hostile"), BOUNDS);
  const names = WebAssembly.Module.exports(module).map((e) => e.name).sort();
  assert.equal(names, [
    ALLOWANCE_EXPORT,
    FUEL_EXPORT,
    MEMORY_EXPORT,
    "_initialize",
    "tulle_configure",
    "tulle_metric_0",
    "tulle_on_end",
    "tulle_on_outcome",
    "tulle_on_request",
    "tulle_on_response",
  ]);
  assert.is(WebAssembly.Module.customSections(module, "name").length, 1);
});

test("mutated modules run or are refused, and throw nothing over the border", async () => {
  const seed = fuzzSeed("mutated");
  const random = seeded(seed);
  const originals = ["retry", "fixtures/compute", "fixtures/hostile", "fixtures/policy"].map(
    moduleBytes,
  );
  let ran = 0;
  for (let round = 0; round < 400; round++) {
    const bytes = random.pick(originals).slice();
    // the code comes after the imports: most flips are in instructions
    for (let flips = random.int(1, 2); flips > 0; flips--) {
      bytes[random.int(bytes.length >> 2, bytes.length - 1)] = random.int(0, 255);
    }
    const engine = createEngine({ clock: new FakeClock(), random });
    try {
      const ref = refTo(bytes, null, { fuelPerHook: 20_000 });
      const chain = engine.chain([await engine.prepare(bytes, ref)]);
      const x = get("/", { "x-user-tier": "gold" });
      chain.requestHead(x);
      chain.attemptOutcome(x, { status: 503, error: 0, elapsedMs: 1 });
      chain.end(x, 200, 1);
      engine.series();
      assert.ok(x.request.edits.length <= 256);
      assert.not.match(seen(x.request, "x-priority") ?? "", /[\r\n\0]/);
      ran++;
    } catch (e) {
      assert.instance(e, FilterRefused, `seed ${seed}, round ${round}: ${(e as Error).stack}`);
    }
  }
  assert.ok(ran > 20, `${ran} ran`);
});

test.run();
