import { test } from "uvu";
import * as assert from "uvu/assert";
import { FilterRefused } from "../../src/core/filter.ts";
import { loadModule } from "../../wasm/host/load.ts";
import { functionName } from "../../wasm/host/names.ts";
import { parseModule } from "../../wasm/host/parse.ts";
import { fuzzSeed, seeded } from "../support/random.ts";
import { buildModule, EMPTY, outcomeModule } from "./build-module.ts";
import { moduleBytes, refusal } from "./support.ts";

const BOUNDS = { fuelPerHook: 100_000, fuelToStart: 100_000, memoryPages: 4 };
const load = (bytes: Uint8Array) => loadModule(bytes, BOUNDS);
const ZERO = [0, 0x41, 0]; // no locals, i32.const 0

test("a module of the smallest kind is taken", async () => {
  await load(outcomeModule(ZERO));
});

const REFUSED: readonly (readonly [what: string, module: Uint8Array, reason: RegExp])[] = [
  [
    "text",
    new TextEncoder().encode("(module)"),
    /not a WebAssembly module of version 1 \(at byte 0\)/,
  ],
  ["a component", Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0), /not a WebAssembly module/],
  [
    "shared memory",
    outcomeModule(ZERO, { memories: [[3, 1, 1]] }),
    /uses shared memory, which a filter may not/,
  ],
  ["64-bit memory", outcomeModule(ZERO, { memories: [[4, 1]] }), /uses 64-bit memory/],
  ["two memories", outcomeModule(ZERO, { memories: [[0, 1], [0, 1]] }), /uses several memories/],
  [
    "a large memory",
    outcomeModule(ZERO, { memories: [[0, 5]] }),
    /needs 5 pages of memory; 4 \(256 KiB\) are allowed/,
  ],
  [
    "a large table",
    outcomeModule(ZERO, { tables: [[0x70, 0, 0xd0, 0x86, 0x03]] }),
    /a table of 50000; 10000 entries/,
  ],
  [
    "a table of many references",
    outcomeModule(ZERO, { tables: [[0x6f, 0, 0x81, 0x02]] }),
    /a table of 257; 256 entries/,
  ],
  ["a tag section", outcomeModule(ZERO, { extra: [[13, [0]]] }), /uses exceptions/],
  ["an unknown section", outcomeModule(ZERO, { extra: [[77, [0]]] }), /section 77 is not known/],
  [
    "a section twice",
    outcomeModule(ZERO, { extra: [[10, [0]]] }),
    /section 10 is out of order or there twice/,
  ],
  ["throw", outcomeModule([0, 0x08, 0]), /uses exceptions.*\(at byte \d+\)/],
  ["try_table", outcomeModule([0, 0x1f, 0x40, 0]), /uses exceptions/],
  ["struct.new", outcomeModule([0, 0xfb, 0, 0]), /uses garbage-collected types/],
  ["call_ref", outcomeModule([0, 0x14, 0]), /uses typed function references/],
  ["an atomic", outcomeModule([0, 0xfe, 0x10, 2, 0]), /uses shared memory and atomics/],
  ["a relaxed vector", outcomeModule([0, 0xfd, 0x80, 0x02]), /uses relaxed vectors/],
  ["an unknown instruction", outcomeModule([0, 0xff]), /0xff is not an instruction/],
  ["an unknown bulk instruction", outcomeModule([0, 0xfc, 0x20]), /0xfc 32 is not an instruction/],
  [
    "a load from another memory",
    outcomeModule([0, 0x41, 0, 0x28, 0x42, 1, 0]),
    /uses several memories/,
  ],
  ["a GC type", buildModule({ extra: [[1, [1, 0x5f, 0]]] }), /uses garbage-collected types/],
  [
    "a typed reference",
    buildModule({ extra: [[1, [1, 0x60, 1, 0x64, 0x6f, 0]]] }),
    /uses typed references/,
  ],
  ["code after the end", outcomeModule([0, 0x41, 0, 0x0b]), /code after its end/],
  [
    "too many locals",
    outcomeModule([1, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x41, 0]),
    /locals; 10000 are allowed/,
  ],
  [
    "deep nesting",
    outcomeModule([0, ...Array(600).fill([0x02, 0x40]).flat()]),
    /nested more than 512 deep/,
  ],
  [
    "no code for a function",
    outcomeModule(ZERO, { functions: [0, 0] }),
    /functions and their code differ/,
  ],
  [
    "a type that does not exist",
    outcomeModule(ZERO, { functions: [7] }),
    /a function's type does not exist/,
  ],
  [
    "an export of nothing",
    outcomeModule(ZERO, { exports: [["tulle_on_outcome", 0, 9]] }),
    /names nothing that exists/,
  ],
  [
    "a wrong hook",
    outcomeModule(ZERO, { exports: [["tulle_on_end", 0, 0]] }),
    /the hook "tulle_on_end" is \(i32, i32, i32, f64\) -> \(i32\), expected \(i32, f64\) -> \(\)/,
  ],
  [
    "an imported memory",
    outcomeModule(ZERO, { imports: [["env", "memory", [2, 0, 1]]] }),
    /imports a memory \("env" "memory"\); a filter brings its own/,
  ],
  [
    "an imported table",
    outcomeModule(ZERO, { imports: [["env", "t", [1, 0x70, 0, 1]]] }),
    /imports a table/,
  ],
  [
    "a foreign import",
    outcomeModule(ZERO, { imports: [["wasi_snapshot_preview1", "fd_write", [0, 0]]] }),
    /imports "wasi_snapshot_preview1" "fd_write": not allowed; from "tulle" there are request_method, /,
  ],
  [
    "an unknown host function",
    outcomeModule(ZERO, { imports: [["tulle", "toString", [0, 0]]] }),
    /"toString": not allowed/,
  ],
  [
    "a string builder",
    outcomeModule(ZERO, { imports: [["wasm:js-string", "concat", [0, 0]]] }),
    /imports "wasm:js-string" "concat": not allowed; from "wasm:js-string" there are length, /,
  ],
  [
    "a host function of another type",
    outcomeModule(ZERO, { imports: [["tulle", "random", [0, 0]]] }),
    /"random": is declared as \(i32, i32, i32, f64\) -> \(i32\), it is \(\) -> \(f64\)/,
  ],
  [
    "a mutable constant",
    outcomeModule(ZERO, { imports: [["'", "x", [3, 0x6f, 1]]] }),
    /an immutable global externref/,
  ],
  [
    "an imported number",
    outcomeModule(ZERO, { imports: [["tulle", "x", [3, 0x7f, 0]]] }),
    /only functions and string constants/,
  ],
  ["wrong types inside", outcomeModule([0, 0x44, 0, 0, 0, 0, 0, 0, 0, 0]), /is not a valid module/],
  [
    "a start with parameters",
    outcomeModule(ZERO, { start: 0 }),
    /the start function is \(i32, i32, i32, f64\)/,
  ],
  ["no manifest", outcomeModule(ZERO, { manifest: null }), /section "tulle.filter": is missing/],
  [
    "another ABI",
    outcomeModule(ZERO, { manifest: { ...EMPTY, abi: "tulle_abi_9" } }),
    /abi is "tulle_abi_9"; tulle_abi_1/,
  ],
  [
    "an unknown field",
    outcomeModule(ZERO, { manifest: { ...EMPTY, sideDoors: 1 } }),
    /"sideDoors" is not known to tulle_abi_1/,
  ],
  [
    "a metric with the host's prefix",
    outcomeModule(ZERO, {
      manifest: {
        ...EMPTY,
        metrics: [{ kind: "counter", name: "host_a", help: "", labels: [], bounds: [] }],
      },
    }),
    /host_… is what the host counts itself/,
  ],
  [
    "a slot that is none",
    outcomeModule(ZERO, { manifest: { ...EMPTY, reads: { request: [0], response: [] } } }),
    /reads.request\[0\]: 0 is not a whole number below 0/,
  ],
  [
    "a header of the proxy",
    outcomeModule(ZERO, {
      manifest: {
        ...EMPTY,
        headers: ["transfer-encoding"],
        writes: { request: [0], response: [] },
      },
    }),
    /writes: "transfer-encoding" belongs to the proxy/,
  ],
  [
    "a metric without address",
    outcomeModule(ZERO, {
      manifest: {
        ...EMPTY,
        metrics: [{ kind: "counter", name: "a", help: "b", labels: [], bounds: [] }],
      },
    }),
    /the metric "a" has no address/,
  ],
];

for (const [what, bytes, reason] of REFUSED) {
  test(`${what} is refused by name`, async () => {
    const message = await refusal(load(bytes));
    assert.match(message, /^FilterRefused: /);
    assert.match(message, reason);
  });
}

test("integers that run on are refused", async () => {
  const bytes = buildModule({ extra: [[1, [0xff, 0xff, 0xff, 0xff, 0xff, 1]]] });
  assert.match(await refusal(load(bytes)), /longer than 32 bits/);
});

test("a module cut off anywhere is refused", () => {
  const bytes = moduleBytes("retry");
  for (let end = 0; end < bytes.length; end++) {
    try {
      parseModule(bytes.subarray(0, end));
    } catch (e) {
      assert.instance(e, FilterRefused);
    }
  }
});

test("a module with flipped bytes is refused or bounded, never anything else", async () => {
  const seed = fuzzSeed("parse");
  const random = seeded(seed);
  const modules = ["retry", "route-metrics", "fixtures/compute", "fixtures/hostile"].map(
    moduleBytes,
  );
  let taken = 0;
  for (let round = 0; round < 1500; round++) {
    const bytes = (modules[round % modules.length] as Uint8Array).slice();
    for (let flips = 1 + Math.floor(random() * 3); flips > 0; flips--) {
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    }
    try {
      await load(bytes);
      taken++;
    } catch (e) {
      assert.instance(e, FilterRefused, `seed ${seed}, round ${round}: ${e}`);
    }
  }
  assert.ok(taken > 0 && taken < 1500, `${taken} were taken`);
});

test("what is refused inside of a function is told with the function's name", async () => {
  const bytes = moduleBytes("retry");
  const { bodies, importedFunctions, names } = parseModule(bytes);
  const i = bodies.findIndex((_, at) =>
    functionName(names, importedFunctions + at) !== "~start" &&
    (bodies[at]!.to - bodies[at]!.from) > 40
  );
  const name = functionName(names, importedFunctions + i);
  assert.match(name, /\//, "a name of the source");
  const broken = bytes.slice();
  const at = bodies[i]!.from;
  broken[at] = 0xfe; // the prefix of atomics
  const why = await refusal(load(broken));
  assert.match(why, "shared memory and atomics");
  assert.match(why, `(at byte ${at}), in function ${name}`);
});

test("what the engine refuses is told with the offset in the module as it came", async () => {
  const untyped = outcomeModule([0, 0x1a, 0x41, 0]); // drop, with nothing to drop
  const invalid = await refusal(load(untyped));
  assert.match(invalid, /is not a valid module: .* \(at byte \d+\)/);
  const said = Number(/at byte (\d+)/.exec(invalid)?.[1]);
  assert.is(untyped[said], 0x1a, invalid);
});

test("a damaged section of names costs the names only", () => {
  assert.is(functionName(null, 3), "number 3");
  assert.is(functionName(Uint8Array.of(1, 200, 1, 1), 3), "number 3");
  assert.is(functionName(Uint8Array.of(1, 4, 1, 3, 1, 0x66), 3), "f");
  assert.is(functionName(Uint8Array.of(1, 4, 1, 3, 1, 0x66), 4), "number 4");
  assert.is(functionName(Uint8Array.of(0, 2, 1, 0x6d, 1, 4, 1, 3, 1, 0xff), 3), "number 3");
});

test.run();
