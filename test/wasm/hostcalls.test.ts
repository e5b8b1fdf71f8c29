import { test } from "uvu";
import * as assert from "uvu/assert";
import { FilterRefused } from "../../src/core/filter.ts";
import {
  EXTERNREF,
  F64,
  HOOK_EXPORTS,
  HOOK_TYPES,
  type HookName,
  HOST_IMPORTS,
  I32,
  type Manifest,
} from "../../wasm/abi.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { fuzzSeed, seeded } from "../support/random.ts";
import { buildModule, EMPTY } from "./build-module.ts";
import { get, refTo, responseHead } from "./support.ts";

/** Declares something of everything, so that a call gets past the manifest. */
const DECLARED: Manifest = {
  ...EMPTY,
  headers: ["x-a", "x-b"],
  reads: { request: [0, 1], response: [0, 1] },
  writes: { request: [0, 1], response: [0, 1] },
  keepsRequest: true,
  edits: [{ head: "request", op: "set", header: 0, value: "1" }],
  config: [
    { key: "n", type: "i32", default: 1, min: null, max: null },
    { key: "t", type: "text", default: "x" },
    { key: "l", type: "list", max: 3 },
    { key: "h", type: "headers", head: "request" },
    { key: "s", type: "statuses", default: "500" },
  ],
};

const INTEGERS = [0, 1, 2, 3, 4, 5, 200, 404, 65_535, 65_536, -1, 2 ** 31 - 1, -(2 ** 31)];
const NUMBERS = [0, 1, -1, 0.5, NaN, Infinity, -Infinity, 1e300, 2 ** 53];
const TEXTS = [
  "",
  "a",
  "/p",
  "a\r\nb",
  "a\0",
  "x".repeat(8000),
  "\u00ff",
  "host",
  "GET",
  "\u1234",
  "/\u010d\u010ax",
];

function signed(n: number): number[] {
  const out: number[] = [];
  for (;;) {
    const byte = n & 0x7f;
    n >>= 7;
    if ((n === 0 && (byte & 0x40) === 0) || (n === -1 && (byte & 0x40) !== 0)) {
      return [...out, byte];
    }
    out.push(byte | 0x80);
  }
}

function float(n: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, n, true);
  return [...bytes];
}

/** A module whose `hook` calls `name` as often as `calls` says, with these arguments. */
function calling(hook: HookName, name: string, calls: readonly (readonly number[])[]) {
  const type = HOST_IMPORTS[name] as (typeof HOST_IMPORTS)[string];
  const border = HOOK_TYPES[hook];
  const body = calls.flatMap((args) => [...args, 0x10, 0, ...type.results.map(() => 0x1a)]);
  const results = border.results.map(() => [0x41, 0]).flat();
  return buildModule({
    types: [type, border],
    imports: [
      ["tulle", name, [0, 0]],
      ...TEXTS.map((text) => ["'", text, [3, EXTERNREF, 0]] as const),
    ],
    functions: [1],
    memories: [[0, 1]],
    exports: [[HOOK_EXPORTS[hook], 0, 1]],
    bodies: [[0, ...body, ...results]],
    manifest: {
      ...DECLARED,
      ...(hook === "tick" ? { tickMs: 10 } : {}),
      ...(hook === "callout" ? { callouts: ["auth"] } : {}),
      ...(hook === "requestBody"
        ? { bodies: { request: { wholeBytes: 10, over: "pass", replaces: true } } }
        : {}),
      ...(hook === "responseBody"
        ? { bodies: { response: { wholeBytes: 0, over: "pass", replaces: true } } }
        : {}),
    },
  });
}

/** What a defect of ours would say. */
const DEFECT = /cannot read|is not a function|undefined|is not iterable|invalid|is not defined/i;

test("hostile arguments to every host function in every hook end in a named reason", async () => {
  const seed = fuzzSeed("hostcalls");
  const random = seeded(seed);
  let refused = 0;
  let ran = 0;
  for (const [name, type] of Object.entries(HOST_IMPORTS)) {
    for (const hook of Object.keys(HOOK_EXPORTS) as HookName[]) {
      for (let round = 0; round < 3; round++) {
        const argument = (t: number): number[] => {
          if (t === I32) return [0x41, ...signed(random.pick(INTEGERS))];
          if (t === F64) return [0x44, ...float(random.pick(NUMBERS))];
          const which = random.int(-1, TEXTS.length - 1);
          return which < 0 ? [0xd0, EXTERNREF] : [0x23, which];
        };
        const calls = Array.from({ length: 1 + round }, () => type.params.flatMap(argument));
        const bytes = calling(hook, name, calls);
        const engine = createEngine({ clock: new FakeClock(), random: () => 0.5 });
        const at = `seed ${seed}: ${name} in ${hook}`;
        try {
          const ref = refTo(bytes, null, hook === "callout" ? { callouts: { auth: "a:80" } } : {});
          const chain = engine.chain([await engine.prepare(bytes, ref)]);
          const x = get("/");
          chain.requestHead(x);
          chain.attemptStart(x);
          chain.attemptOutcome(x, { status: 503, error: 0, elapsedMs: 1 });
          const piece = { buf: new Uint8Array(9), from: 1, to: 9 };
          chain.requestPiece(x, piece, true, false);
          chain.responseHead(x, responseHead(200));
          chain.responsePiece(x, piece, true, false);
          chain.connectionOpen(x);
          chain.connectionEnd(x, 1, 1, 1);
          chain.end(x, 200, 1);
          for (const edit of x.request.edits) assert.not.match(edit.value, /[\r\n\0]/, at);
          assert.match(x.request.newPath ?? "/", /^[\x21-\xff]+$/, at);
          assert.not.match(x.filterError, DEFECT, at);
          ran++;
        } catch (e) {
          assert.instance(e, FilterRefused, `${at}: ${(e as Error).stack}`);
          assert.not.match((e as Error).message, DEFECT, at);
          refused++;
        }
      }
    }
  }
  assert.ok(ran > 200 && refused > 200, `${ran} ran, ${refused} were refused`);
});

test.run();
