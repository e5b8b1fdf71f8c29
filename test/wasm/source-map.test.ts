import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createCompiler } from "../../src/cli/filter-compiler.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { loadModule } from "../../wasm/host/load.ts";
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

/** The reason of a trap when the filter of `traps/` is told to do `deed`; without a map, both. */
async function reasonsOf(deed: string): Promise<{ bare: string; placed: string; later: string }> {
  const built = await createCompiler().compile(source);
  if ("errors" in built) throw new Error(built.errors.join("\n"));
  const map = SourceMap.parse(built.sourceMap ?? "", () => path);
  const reason = async (hasMap: boolean) => {
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
    const ref = refTo(built.wasm);
    const x = get("/", { "x-deed": deed });
    engine.chain([await engine.prepare(built.wasm, ref)]).requestHead(x);
    return engine.stats()[0]?.lastError ?? "";
  };
  const bare = await reason(false);
  return { bare, placed: await reason(true), later: withPositions(bare, map) };
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
  test(`a trap by ${deed} names the line of the source`, async () => {
    const { bare, placed, later } = await reasonsOf(deed);
    assert.match(bare, why);
    assert.match(bare, /, in \S+ \(byte 0x[0-9a-f]+ of the module, from 0x[0-9a-f]+\)$/);
    assert.match(placed, new RegExp(`, in traps/\\S+ at ${path}:${lineOf(marker)}:\\d+$`));
    assert.is(later, placed, "translated afterwards, it is the same");
  });
}

test("a recursion without end names the function that recurses", async () => {
  const { placed } = await reasonsOf("recurse");
  assert.match(placed, /recursed without end|out of fuel/);
  const [from, to] = [lineOf("function recurse"), lineOf("end of recurse")];
  const line = Number(new RegExp(`at ${path}:(\\d+):\\d+$`).exec(placed)?.[1]);
  assert.ok(line >= from && line <= to, placed);
});

test("loadModule() keeps where the code came from", async () => {
  const { moved, parsed } = await loadModule(moduleBytes("retry"), BOUNDS);
  assert.is(moved.bodyOf(parsed.bodies[0]!.from + 1), parsed.bodies[0]!.from);
});

test.run();
