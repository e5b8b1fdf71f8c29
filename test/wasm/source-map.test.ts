import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createCompiler } from "../../src/cli/filter-compiler.ts";
import { FilterRefused } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { encodeLines, readLines, withLines } from "../../wasm/host/line-map.ts";
import { loadModule } from "../../wasm/host/load.ts";
import { functionName } from "../../wasm/host/names.ts";
import { parseModule } from "../../wasm/host/parse.ts";
import { rewriteModule } from "../../wasm/host/rewrite.ts";
import {
  OffsetMap,
  positionText,
  reasonPlace,
  SourceMap,
  withPositions,
} from "../../wasm/host/source-map.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { fuzzSeed, seeded } from "../support/random.ts";
import { get, moduleBytes, refTo } from "./support.ts";

const BOUNDS = { fuelPerHook: 100_000, fuelToStart: 1_000_000, memoryPages: 16 };
const path = "wasm/fixtures/assembly/traps.ts";
const source = fileURLToPath(new URL("../../" + path, import.meta.url));
const lines = readFileSync(source, "utf8").split("\n");
/** The line of the source that holds `text`. */
const lineOf = (text: string) => lines.findIndex((line) => line.includes(text)) + 1;

test("OffsetMap leads every copied byte of every function back to where it was", () => {
  for (const name of ["retry", "route-metrics", "header-modifier", "fixtures/hostile"]) {
    const parsed = parseModule(moduleBytes(name));
    const moved = new OffsetMap();
    const rewritten = rewriteModule(parsed, BOUNDS, true, moved);
    const bodies = parseModule(rewritten).bodies;
    let copied = 0;
    parsed.bodies.forEach((body, i) => {
      const { from, to } = bodies[i]!;
      let before = body.from;
      for (let at = from; at < to; at++) {
        const original = moved.toOriginal(at);
        assert.ok(original >= before && original < body.to, `${name}: byte ${at} of function ${i}`);
        if (original > before) {
          // a step forward is a copied byte, but where a charge of fuel stands in its place
          if (rewritten[at] === parsed.bytes[original]) copied++;
          assert.is(moved.bodyOf(original), body.from);
        }
        before = original;
      }
      assert.is(before, body.to - 1, "the last byte of a function is its end");
    });
    const bytes = parsed.bodies.reduce((sum, b) => sum + b.to - b.from - 1, 0);
    assert.ok(copied > bytes * 0.98, `${name}: ${copied} of ${bytes}`);
    assert.is(moved.toOriginal(0), -1, "there is nothing of the source before the code");
    assert.is(moved.toOriginal(rewritten.length), -1, "nor in what the host put behind it");
  }
});

test("SourceMap finds the entry at or before an offset", () => {
  // offset 4 → a.ts:1:1, 10 → b.ts:3:5, 12 → nobody, 20 → ~lib/x.ts:1:1
  const text = JSON.stringify({
    version: 3,
    sources: ["a.ts", "b.ts", "~lib/x.ts"],
    names: [],
    mappings: "IAAA,MCEI,E,QCFJ",
  });
  const map = SourceMap.parse(text, (s) => `dir/${s}`);
  assert.equal(map.locate(3), { source: "dir/a.ts", line: 1, column: 1 }, "nothing before it");
  assert.equal(map.locate(4), { source: "dir/a.ts", line: 1, column: 1 });
  assert.equal(map.locate(9), { source: "dir/a.ts", line: 1, column: 1 });
  assert.equal(map.locate(11), { source: "dir/b.ts", line: 3, column: 5 });
  assert.is(map.locate(13)?.source, "~lib/x.ts", "what follows");
  assert.is(map.locate(25)?.source, "~lib/x.ts");
  assert.is(map.locate(25, 12)?.source, "~lib/x.ts", "the user's line is in another function");
  assert.is(map.locate(25, 10)?.source, "dir/b.ts", "code of the library inside a user's function");
});

test("SourceMap refuses what is no map", () => {
  const refused = (text: string, why: RegExp) =>
    assert.throws(() => SourceMap.parse(text), (e: Error) => why.test(e.message), text);
  refused("null", /not a source map/);
  refused('{"version":2,"sources":[],"mappings":""}', /not a source map/);
  refused('{"version":3,"sources":[1],"mappings":""}', /not a source map/);
  refused('{"version":3,"sources":[],"mappings":"AAAA"}', /damaged/);
  refused('{"version":3,"sources":["a"],"mappings":"A?AA"}', /damaged/);
  refused('{"version":3,"sources":["a"],"mappings":"ggggggggggggg"}', /damaged/);
  refused('{"version":3,"sources":["a"],"mappings":"ADAA"}', /damaged/);
});

test("withPositions() translates places and leaves what it does not know", () => {
  const map = SourceMap.parse('{"version":3,"sources":["a.ts"],"mappings":"IAAA"}');
  assert.is(
    withPositions(`x trapped, in f ${reasonPlace(5, 4)}`, map),
    "x trapped, in f at a.ts:1:1",
  );
  const before = "x trapped (byte 7)";
  assert.is(withPositions(before, map), before);
});

/** The reason of a trap when the filter of `traps/` is told to do `deed`. */
async function reasonsOf(deed: string) {
  const built = await createCompiler().compile(source);
  if ("errors" in built) throw new Error(built.errors.join("\n"));
  const map = SourceMap.parse(built.sourceMap ?? "", () => path);
  const reason = async (wasm: Uint8Array, hasMap: boolean) => {
    const engine = createEngine({
      clock: new FakeClock(),
      ...(hasMap
        ? {
          locate: (_sha256, offset, bodyFrom) => {
            const position = map.locate(offset, bodyFrom);
            return position === null ? null : positionText(position);
          },
        }
        : {}),
    });
    const ref = refTo(wasm);
    const x = get("/", { "x-deed": deed });
    engine.chain([await engine.prepare(wasm, ref)]).requestHead(x);
    return engine.stats()[0]?.lastError ?? "";
  };
  const own = await reason(built.wasm, false);
  return {
    /** A proxy of a mesh: the module's own lines. */
    own,
    /** A module that carries none. */
    bare: await reason(withoutLines(built.wasm), false),
    /** A tool with the whole map. */
    placed: await reason(built.wasm, true),
    /** A tool that is told what a proxy says. */
    later: withPositions(own, map),
  };
}

/** The module as an older compiler made it: the lines are its last section. */
function withoutLines(module: Uint8Array): Uint8Array {
  const { lines } = parseModule(module);
  if (lines === null) throw new Error("it has no lines");
  const whole = withLines(new Uint8Array(0), lines);
  return module.slice(0, module.length - whole.length);
}

for (
  const [deed, marker, why] of [
    ["unreachable", "unreachable();", /trapped: unreachable/],
    ["divide", "10 / zero", /trapped: divide by zero/],
    ["index", "list[9]", /trapped: .*Index out of range/],
    ["assert", "assert(zero", /trapped: .*never so/],
    ["loop", "for (;;)", /out of fuel/],
  ] as const
) {
  test(`a trap by ${deed} names the line of the source, in a proxy without a map, too`, async () => {
    const { own, bare, placed, later } = await reasonsOf(deed);
    assert.match(bare, why);
    assert.match(bare, /, in \S+ \(byte 0x[0-9a-f]+ of the module, from 0x[0-9a-f]+\)$/);
    assert.match(placed, new RegExp(`, in traps/\\S+ at ${path}:${lineOf(marker)}:\\d+$`));
    const column = placed.slice(placed.lastIndexOf(":") + 1);
    assert.match(
      own,
      new RegExp(` at traps\\.ts:${lineOf(marker)}:${column} \\(byte 0x[0-9a-f]+ of`),
    );
    assert.is(later, placed, "translated afterwards, it is the same");
  });
}

test("a recursion without end names the function that recurses", async () => {
  const { own, placed } = await reasonsOf("recurse");
  assert.match(placed, /recursed without end|out of fuel/);
  const [from, to] = [lineOf("function recurse"), lineOf("end of recurse")];
  for (const [text, file] of [[placed, path], [own, "traps.ts"]] as const) {
    const line = Number(new RegExp(` at ${file}:(\\d+):\\d+`).exec(text)?.[1]);
    assert.ok(line >= from && line <= to, text);
  }
});

test("a module's own lines say of every byte of its author's code what the whole map says", async () => {
  const built = await createCompiler().compile(source);
  if ("errors" in built) throw new Error(built.errors.join("\n"));
  const map = SourceMap.parse(built.sourceMap ?? "");
  const { lines, bodies, names, importedFunctions } = parseModule(built.wasm);
  const own = readLines(lines ?? new Uint8Array(0));
  let same = 0;
  for (const [i, { from, to }] of bodies.entries()) {
    if (functionName(names, importedFunctions + i).startsWith("~lib/")) continue;
    for (let at = from; at < to; at++) {
      const whole = map.locate(at, from);
      const found = own?.locate(at, from) ?? null;
      if (whole === null || whole.source.startsWith("~lib/")) continue;
      assert.equal(found, whole, `byte ${at}`);
      same++;
    }
  }
  assert.ok(same > 200, `${same} bytes`);
});

test("lines that are damaged, too long or there twice refuse the module", async () => {
  const module = withoutLines(moduleBytes("fixtures/traps"));
  const refused = async (lines: Uint8Array, why: RegExp) => {
    const bytes = withLines(module, lines);
    const engine = createEngine({ clock: new FakeClock() });
    const found = await engine.prepare(bytes, refTo(bytes)).then(() => "it was loaded", String);
    assert.match(found, why);
  };
  const lines = parseModule(moduleBytes("fixtures/traps")).lines!;
  for (let cut = 1; cut < lines.length; cut += 7) {
    await refused(lines.subarray(0, cut), /FilterRefused: .*"tulle\.lines" is damaged/);
  }
  await refused(Uint8Array.of(...lines, 0), /more bytes than entries/);
  await refused(new Uint8Array(300_000), /has 300000 bytes; 262144 are allowed/);
  await refused(Uint8Array.of(1, 0, 1, 3, 9), /an entry names no source/);
  await refused(Uint8Array.of(1, 1, 1, 97, 1, 1, 1, 1, 0), /an entry is out of bounds/);
  await refused(Uint8Array.of(1, 255, 255, 3), /65535 sources; at most 256/);
  const twice = withLines(withLines(module, lines), lines);
  const engine = createEngine({ clock: new FakeClock() });
  const found = await engine.prepare(twice, refTo(twice)).then(() => "", String);
  assert.match(found, /the section "tulle\.lines" is there twice/);
  const later = withLines(module, Uint8Array.of(2, 77));
  await engine.prepare(later, refTo(later)); // of a version to come: not understood, and no harm
});

test("random lines are read or refused, and nothing else", () => {
  const seed = fuzzSeed("lines");
  const random = seeded(seed);
  const lines = parseModule(moduleBytes("fixtures/traps")).lines!;
  for (let round = 0; round < 2000; round++) {
    const bytes = random() < 0.5 ? random.bytes(random.int(0, 200)) : lines.slice();
    for (let flips = random.int(1, 4); flips > 0 && bytes.length > 1; flips--) {
      bytes[random.int(1, bytes.length - 1)] = random.int(0, 255);
    }
    if (bytes.length > 0) bytes[0] = 1;
    try {
      readLines(bytes)?.locate(random.int(0, 9000), random.int(0, 9000));
    } catch (e) {
      assert.instance(e, FilterRefused, `seed ${seed}, round ${round}`);
    }
  }
});

test("what a hostile module calls its files is printed as one line of ASCII", async () => {
  const module = withoutLines(moduleBytes("fixtures/traps"));
  const starts = parseModule(module).bodies.map((body) => body.from);
  const places = SourceMap.of(["eeeeeeeee"], starts.flatMap((at) => [at, 0, 6, 2]));
  const honest = encodeLines(places, starts)!;
  const name = new TextEncoder().encode("e\r\nx: \u20ac");
  const at = honest.indexOf(0x65);
  assert.is(name.length, 9);
  honest.set(name, at);
  const bytes = withLines(module, honest);
  const engine = createEngine({ clock: new FakeClock() });
  const chain = engine.chain([await engine.prepare(bytes, refTo(bytes))]);
  const x = get("/", { "x-deed": "divide" });
  chain.requestHead(x);
  assert.match(x.filterError, /^[\x20-\x7e]+ at e x: {2}:7:3 \(byte [\x20-\x7e]+$/);
});

test("loadModule() keeps where the code came from", async () => {
  const { moved, parsed } = await loadModule(moduleBytes("retry"), BOUNDS);
  assert.is(moved.bodyOf(parsed.bodies[0]!.from + 1), parsed.bodies[0]!.from);
});

test.run();
