// Texts that a filter keeps past its hook: what the compiler says, and what a copy is good for.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createCompiler } from "../../src/cli/filter-compiler.ts";
import { CONTINUE, FAILED, REPLY } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { tempDir } from "../support/temp-dir.ts";
import { get, refTo, seen } from "./support.ts";

const compiler = createCompiler();
const HEAD = `import {
  Action, config, connection, CONTINUE, copy, is, lend, reply, request, text, Text,
} from "@tulle/filter";
`;
const HOOK = "export function onRequest(): Action { return CONTINUE; }\n";

async function compile(source: string, more: Readonly<Record<string, string>> = {}) {
  await using dir = await tempDir("kept");
  await mkdir(join(dir.path, "assembly"));
  const files = Object.entries({ "index.ts": HEAD + source, ...more });
  for (const [name, code] of files) await writeFile(join(dir.path, "assembly", name), code);
  const result = await compiler.compile(join(dir.path, "assembly/index.ts"));
  if (!("errors" in result)) return result;
  return { errors: result.errors.map((line) => line.slice(dir.path.length + "/assembly/".length)) };
}

/** Lines of errors; those of `source` begin with line 4. */
async function errors(source: string, more: Readonly<Record<string, string>> = {}) {
  const result = await compile(source, more);
  return "errors" in result ? result.errors : [];
}

const KEEPS = "keeps a text of the proxy, which is good until the hook returns:";
const path = "export function onRequest(): Action { return f(request.path()); }\n";

const BAD: readonly (readonly [what: string, source: string, says: string])[] = [
  [
    "a variable",
    `let last: Text = null;\nfunction f(p: Text): Action {\n  last = p;\n  return 0;\n}\n${path}`,
    `index.ts:6:3: last ${KEEPS} make it a string, and set it with last = copy(…)`,
  ],
  [
    "a variable by way of a local one",
    `let last: Text = null;\nfunction f(p: Text): Action {\n  const q = is(p, p) ? p : null;\n  last = q;\n  return 0;\n}\n${path}`,
    `index.ts:7:3: last ${KEEPS} make it a string, and set it with last = copy(…)`,
  ],
  [
    "a field",
    `class Seen {\n  path: Text = null;\n}\nconst seen = new Seen();\n${HOOK}`,
    `index.ts:5:3: the field path ${KEEPS} make it a string, and set it with copy(…)`,
  ],
  [
    "a field that the constructor declares",
    `class Seen {\n  constructor(public path: Text) {}\n}\nconst seen = new Seen(null);\n${HOOK}`,
    `index.ts:5:22: the field path ${KEEPS} make it a string, and set it with copy(…)`,
  ],
  [
    "a static field",
    `class Seen {\n  static path: Text = null;\n}\n${HOOK}`,
    `index.ts:5:10: the field path ${KEEPS} make it a string, and set it with copy(…)`,
  ],
  [
    "a field of another name for the type",
    `type Path = Text;\nclass Seen {\n  path: Path = null;\n}\nconst seen = new Seen();\n${HOOK}`,
    `index.ts:6:3: the field path ${KEEPS} make it a string, and set it with copy(…)`,
  ],
  [
    "an array",
    `const all = new Array<Text>();\n${HOOK}`,
    `index.ts:4:13: Array ${KEEPS} let it hold string, and fill it with copy(…)`,
  ],
  [
    "a map",
    `const all: Map<Text, i32> = new Map();\n${HOOK}`,
    `index.ts:4:12: Map ${KEEPS} let it hold string, and fill it with copy(…)`,
  ],
  [
    "a list that is written out",
    `function f(p: Text): Action {\n  const all = [p, p];\n  return all.length;\n}\n${path}`,
    `index.ts:5:16: a list ${KEEPS} let it hold copies, [copy(…)]`,
  ],
  [
    "a variable of a namespace",
    `namespace seen {\n  export let path: Text = null;\n}\nfunction f(p: Text): Action {\n  seen.path = p;\n  return 0;\n}\n${path}`,
    `index.ts:8:3: seen.path ${KEEPS} make it a string, and set it with seen.path = copy(…)`,
  ],
  [
    "what is read when the filter starts",
    `const peer = connection.peer();\n${HOOK}`,
    `index.ts:4:14: peer ${KEEPS} take it where it is used`,
  ],
];

for (const [what, source, says] of BAD) {
  test(`a text that is kept in ${what} is refused, with its place`, async () => {
    assert.ok((await errors(source)).includes(says), (await errors(source)).join("\n"));
  });
}

test("a text that is kept in another file's variable is refused", async () => {
  const source = `import { last } from "./state";\n` +
    `export function onRequest(): Action {\n  last = request.path();\n  return CONTINUE;\n}\n`;
  const state = `import { Text } from "@tulle/filter";\nexport let last: Text = null;\n`;
  const [first = ""] = await errors(source, { "state.ts": state });
  assert.is(
    first,
    `index.ts:6:3: last ${KEEPS} make it a string, and set it with last = copy(…)`,
  );
});

test("the page about filters shows the message as it is", async () => {
  const page = await readFile(new URL("../../docs/FILTERS.md", import.meta.url), "utf8");
  assert.ok(page.includes(`: last ${KEEPS} make it a string, and set it with last = copy(…)`));
});

test("where a string is wanted and a text is given, the compiler names copy", async () => {
  const push = "const all: string[] = [];\n" +
    "export function onRequest(): Action {\n  all.push(request.path());\n  return CONTINUE;\n}\n";
  const [first = ""] = await errors(push);
  assert.match(first, /^index\.ts:6:12: Type .*; copy\(…\) makes a string of it\.$/);
  const back = 'const all = "x";\n' +
    "export function onRequest(): Action {\n  return is(request.path(), all) ? 0 : 1;\n}\n";
  assert.match((await errors(back))[0] ?? "", /^index\.ts:6:29: .*lend\(…\) makes a text of a str/);
  const box = "class Box<T> {\n  constructor(public value: T) {}\n}\n" +
    "export function onRequest(): Action {\n  new Box(request.path());\n  return CONTINUE;\n}\n";
  assert.match((await errors(box))[0] ?? "", /^index\.ts:5:\d+: Not impl.*made with copy\(…\)$/);
});

test("what lasts as long as the filter may be kept, and so may what shadows a variable", async () => {
  const source = `
const gold = text("gold");
const token = config.text("token", "x");
const tiers = config.list("tiers", 4);
let current: Text = null;
let name = gold;
function f(p: Text): Action {
  current = is(p, token) ? gold : token;
  current = (tiers.at(0));
  name = text("silver");
  current = null;
  let last: Text = p;
  last = request.method();
  return is(last, current) ? CONTINUE : reply(403, name);
}
${path}`;
  assert.equal(await errors(source), []);
});

test("a copy lasts, byte by byte, and is lent for one hook", async () => {
  const result = await compile(`
let last: string = "";
const seen = new Map<string, i32>();
export function onRequest(): Action {
  const path = request.path();
  const again = is(path, lend(last));
  last = copy(request.header("x-user"));
  request.set("x-last", lend(last));
  last = copy(path);
  const times = seen.has(last) ? seen.get(last) : 0;
  seen.set(last, times + 1);
  return again && times > 1 ? reply(429, "thrice") : CONTINUE;
}
`);
  if ("errors" in result) throw new Error(result.errors.join("\n"));
  const engine = createEngine({ clock: new FakeClock() });
  const chain = engine.chain([await engine.prepare(result.wasm, refTo(result.wasm))]);
  const user = "caf\xe9\xff\x80";
  const first = get("/a", { "x-user": user });
  assert.is(chain.requestHead(first), CONTINUE);
  assert.is(seen(first.request, "x-last"), user);
  const absent = get("/a");
  assert.is(chain.requestHead(absent), CONTINUE);
  assert.is(seen(absent.request, "x-last"), "");
  assert.is(chain.requestHead(get("/a")), REPLY);
  assert.is(chain.requestHead(get("/b")), CONTINUE);
  for (let i = 0; i < 20_000; i++) chain.requestHead(get(`/${i % 10}`));
  assert.is(engine.stats()[0]?.traps, 0, "copies are collected");
});

test("what is no byte, or too long, is not lent", async () => {
  const result = await compile(`
export function onRequest(): Action {
  const what = is(request.path(), "/long") ? "x".repeat(8193) : "\\u20ac";
  return reply(403, lend(what));
}
`);
  if ("errors" in result) throw new Error(result.errors.join("\n"));
  const clock = new FakeClock();
  const engine = createEngine({ clock });
  // the canary would see the trap: it asks for /
  const refused = await engine.prepare(result.wasm, refTo(result.wasm)).then(() => "", String);
  assert.match(refused, /a text has a character that is no byte/);
  const guarded = await compile(`
export function onRequest(): Action {
  return is(request.path(), "/long") ? reply(403, lend("x".repeat(8193))) : CONTINUE;
}
`);
  if ("errors" in guarded) throw new Error(guarded.errors.join("\n"));
  const chain = engine.chain([await engine.prepare(guarded.wasm, refTo(guarded.wasm))]);
  assert.is(chain.requestHead(get("/")), CONTINUE);
  assert.is(chain.requestHead(get("/long")), FAILED);
  assert.match(engine.stats()[0]?.lastError ?? "", /a text of 8193 bytes; 8192 are allowed/);
});

test.run();
