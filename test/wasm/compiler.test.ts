import { readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createCompiler } from "../../src/cli/filter-compiler.ts";
import type { CompiledFilter } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { createInspector } from "../../wasm/host/inspect.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { tempDir } from "../support/temp-dir.ts";
import { get, moduleBytes, refTo, responseHead, seen } from "./support.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const compiler = createCompiler();

async function inFolder<T>(
  files: Record<string, string>,
  work: (dir: string) => Promise<T>,
): Promise<T> {
  await using dir = await tempDir("compiler");
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir.path, name)), { recursive: true });
    await writeFile(join(dir.path, name), text);
  }
  return await work(dir.path);
}

async function compile(source: string, more: Record<string, string> = {}): Promise<CompiledFilter> {
  const result = await inFolder(
    { "index.ts": source, ...more },
    (dir) => compiler.compile(join(dir, "index.ts")),
  );
  if ("errors" in result) throw new Error(result.errors.join("\n"));
  return result;
}

/** The errors, with the folder's name taken off. */
async function errors(source: string): Promise<readonly string[]> {
  return await inFolder({ "index.ts": source }, async (dir) => {
    const result = await compiler.compile(join(dir, "index.ts"));
    if (!("errors" in result)) return ["compiled"];
    for (const line of result.errors) assert.ok(line.startsWith(dir + "/"), line);
    return result.errors.map((line) => line.slice(dir.length + 1));
  });
}

const HEAD =
  'import { Action, config, CONTINUE, counter, is, reply, request } from "@tulle/filter";\n';

for (const name of ["retry", "route-metrics", "header-modifier"]) {
  test(`filters/build/${name}.wasm is what its source compiles to, wherever that lies`, async () => {
    const folder = join(root, "filters", name, "assembly");
    const digests = JSON.parse(readFileSync(join(root, "filters/build/digests.json"), "utf8"));
    await using dir = await tempDir("compiler");
    await cp(folder, join(dir.path, "elsewhere"), { recursive: true });
    for (const entry of [join(folder, "index.ts"), join(dir.path, "elsewhere/index.ts")]) {
      const result = await compiler.compile(entry);
      assert.not("errors" in result, "errors" in result ? result.errors.join("\n") : "");
      if ("errors" in result) return;
      assert.is(result.sha256, digests[name]);
      assert.equal(result.wasm, moduleBytes(name));
    }
    const second = await createCompiler({ build: "v2" }).compile(join(folder, "index.ts"));
    assert.is("errors" in second ? "" : second.sha256, digests[`${name}.v2`]);
  });
}

for (
  const [what, sources, modules] of [
    ["the tests", "wasm/fixtures/assembly", "test/wasm/fixtures"],
    ["the conformance suite", "wasm/conformance/assembly", "wasm/conformance/modules"],
  ] as const
) {
  test(`the modules of ${what} are what their sources compile to`, async () => {
    for (const file of readdirSync(join(root, sources))) {
      const result = await compiler.compile(join(root, sources, file));
      assert.not("errors" in result, file);
      const committed = readFileSync(join(root, modules, file.replace(".ts", ".wasm")));
      if ("wasm" in result) assert.equal(result.wasm, new Uint8Array(committed), file);
    }
  });
}

test("a constant value of several lines is refused where it stands", async () => {
  const source = HEAD + "export function onRequest(): Action {\n" +
    '  request.set("x-out", "a\\r\\nb: c");\n  return CONTINUE;\n}\n';
  assert.equal(await errors(source), [
    'index.ts:3:3: the value of "x-out" must be one line of text',
  ]);
});

test("a useful filter is fifteen lines", async () => {
  const source = `import { Action, CONTINUE, counter, is, reply, request } from "@tulle/filter";

const denied = counter({ name: "denied_total", help: "Requests without the right token" });

export function onRequest(): Action {
  if (is(request.header("x-token"), "open sesame")) return CONTINUE;
  denied.inc();
  return reply(403, "say the magic word");
}
`;
  assert.ok(source.trim().split("\n").length <= 15);
  const { wasm } = await compile(source);
  const engine = createEngine({ clock: new FakeClock() });
  const chain = engine.chain([await engine.prepare(wasm, refTo(wasm))]);
  assert.is(chain.requestHead(get("/", { "x-token": "open sesame" })), 0);
  const x = get("/");
  assert.is(chain.requestHead(x), 1);
  assert.equal(x.local, { status: 403, headers: [], body: "say the magic word" });
  assert.equal(engine.series()[0]?.values, [1]);
});

test("errors of the compiler carry file, line and column", async () => {
  const [line] = await errors(
    `${HEAD}export function onRequest(): Action {\n  return missing;\n}\n`,
  );
  assert.is(line, "index.ts:3:10: Cannot find name 'missing'.");
});

const MISTAKES: readonly (readonly [what: string, source: string, expected: RegExp])[] = [
  [
    "a header's name that is computed",
    'export function onRequest(): Action {\n  const n = "x";\n  request.header(n);\n  return CONTINUE;\n}',
    /^index.ts:4:3: a header's name must be a literal/,
  ],
  [
    "a header's name that is none",
    'export function onRequest(): Action {\n  request.header("a b");\n  return CONTINUE;\n}',
    /^index.ts:3:3: "a b" is not a header name/,
  ],
  [
    "a hook that returns nothing",
    "export function onRequest(): void {}",
    /onRequest must return Action/,
  ],
  [
    "a hook with other parameters",
    "export function onEnd(ms: f64): void {}",
    /onEnd takes \(status: i32, elapsedMs: f64\), of which the last may be left out/,
  ],
  [
    "a hook that is not exported",
    "function onRequest(): Action { return CONTINUE; }",
    /onRequest is a hook only when it is exported/,
  ],
  [
    "a metric inside a function",
    'export function onRequest(): Action {\n  counter({ name: "a", help: "b" });\n  return CONTINUE;\n}',
    /counter\(\) belongs into a top-level constant/,
  ],
  [
    "a metric without help",
    'const a = counter({ name: "a" });',
    /the metric "a" needs a help text/,
  ],
  [
    "a metric with odd parts",
    'const a = counter({ name: "a", help: "b", unit: "c" });',
    /"unit" is not a part of a metric/,
  ],
  [
    "a label without values",
    'const a = counter({ name: "a", help: "b", labels: { x: [] } });',
    /the label "x" needs its values/,
  ],
  [
    "a label of another key",
    'const n = config.int("n", 1);\nconst a = counter({ name: "a", help: "b", labels: { x: n } });',
    /the label "x": n is not a constant with config.list or config.text/,
  ],
  [
    "a key in two ways",
    'const a = config.int("n", 1);\nconst b = config.text("n", "");',
    /the key "n" is declared in two ways/,
  ],
  [
    "a number without a fallback",
    'const a = config.int("n");',
    /config.int\("n", …\) needs a number to fall back on/,
  ],
  ["a setting of no type", 'const a = config.date("n");', /config.date does not exist/],
  [
    "too many series",
    'const l = config.list("l", 256);\nconst a = counter({ name: "a", help: "b", labels: { x: l, y: l } });',
    /65536 series; a metric may have 4096/,
  ],
];

for (const [what, source, expected] of MISTAKES) {
  test(`${what} is an error that says so`, async () => {
    assert.match((await errors(`${HEAD}${source}\n`)).join("\n"), expected);
  });
}

test("a missing file is an error, not a crash", async () => {
  const result = await compiler.compile("/nowhere/index.ts");
  assert.match("errors" in result ? result.errors.join("\n") : "", /nowhere/);
});

test("a filter may be written in several files", async () => {
  const { wasm } = await compile(
    `import { Action, CONTINUE } from "@tulle/filter";
import { mark } from "./mark";
export function onRequest(): Action { mark(); return CONTINUE; }`,
    {
      "mark.ts":
        `import { request } from "@tulle/filter";\nexport function mark(): void { request.set("x-mark", "é"); }`,
    },
  );
  const engine = createEngine({ clock: new FakeClock() });
  const chain = engine.chain([await engine.prepare(wasm, refTo(wasm))]);
  const x = get("/");
  chain.requestHead(x);
  assert.is(seen(x.request, "x-mark"), "\xc3\xa9", "literals are UTF-8 bytes");
});

test("what a filter writes itself it reads through the host, what it only reads comes as parameter", async () => {
  const { wasm } = await compile(`${HEAD}
export function onRequest(): Action {
  request.set("x-a", "1");
  request.set("x-copy", request.header("x-a"));
  if (is(request.header("x-b"), "2")) request.add("x-c", request.header("x-b"));
  if (!request.headerAt("x-b", 1)) return CONTINUE;
  request.set("x-second", request.headerAt("x-b", 1));
  request.setPath("/other");
  request.setAuthority("elsewhere:80");
  return CONTINUE;
}`);
  const engine = createEngine({ clock: new FakeClock() });
  const chain = engine.chain([await engine.prepare(wasm, refTo(wasm))]);
  const x = get("/", { "x-a": "0", "x-b": "2", "X-B": "3" });
  chain.requestHead(x);
  assert.is(x.filterError, "");
  assert.is(seen(x.request, "x-copy"), "1");
  assert.is(seen(x.request, "x-c"), "2");
  assert.is(seen(x.request, "x-second"), "3");
  assert.is(x.request.path, "/other");
  assert.is(x.request.authority, "elsewhere:80");
  const info = await createInspector().inspect(wasm);
  assert.equal(info.headersWritten, ["x-a", "x-copy", "x-c", "x-second"]);
});

test("text functions, identity, gauges and logs work", async () => {
  const { wasm } = await compile(`import {
  Action, byteAt, connection, CONTINUE, endsWith, endpointLabel, gauge, indexOf, length, log, now,
  replyHeader, reply, request, response, startsWith, text, Text, toInt,
} from "@tulle/filter";
const size = gauge({ name: "size", help: "Last length" });
function ok(n: i32, right: bool): void { if (!right) { log.number("wrong", n); unreachable(); } }
export function onRequest(): Action {
  if (!request.header("x-n")) return CONTINUE; // the canary
  const path: Text = request.path();
  ok(1, startsWith(path, "/api"));
  ok(2, !startsWith(path, "/apis"));
  ok(3, endsWith(path, "?n=42"));
  ok(4, indexOf(path, "n=") == 5 && indexOf(path, "zz") == -1 && indexOf(path, "/", 1) == -1);
  ok(5, toInt(request.header("x-n"), -1) == 42 && toInt(text("4x"), 7) == 7 && toInt(path, 7) == 7);
  ok(6, byteAt(path, 0) == 0x2f && byteAt(path, 99) == -1);
  ok(7, startsWith(connection.peer(), "web.default.") && !connection.inbound());
  ok(8, !endpointLabel("zone") && !request.header("x-absent"));
  ok(9, length(request.method()) == 3 && length(request.authority()) == 3);
  ok(10, now() == 0);
  size.set(<f64>length(path));
  log.info("seen");
  return CONTINUE;
}
export function onResponse(status: i32): Action {
  if (status != 404) return CONTINUE;
  response.remove("server");
  replyHeader("x-why", "hidden");
  return reply(410, "gône");
}
`);
  const lines: string[] = [];
  const log = {
    level: "info" as const,
    debug: () => {},
    info: (m: string) => void lines.push(m),
    warn: (m: string) => void lines.push(m),
    error: () => {},
    with: () => log,
  };
  const engine = createEngine({ clock: new FakeClock(), log });
  const chain = engine.chain([await engine.prepare(wasm, refTo(wasm))]);
  const x = get("/api?n=42", { "x-n": "42" });
  assert.is(chain.requestHead(x), 0, lines.join("\n"));
  assert.equal(lines, ["seen"]);
  assert.equal(engine.series()[0]?.values, [9]);
  assert.is(chain.responseHead(x, responseHead(200)), 0);
  assert.is(chain.responseHead(x, responseHead(404)), 1);
  assert.equal(x.local, { status: 410, headers: [["x-why", "hidden"]], body: "gône" });
});

test("a filter logs at most ten lines a second", async () => {
  const { wasm } = await compile(`import { Action, CONTINUE, log } from "@tulle/filter";
export function onRequest(): Action { for (let i = 0; i < 50; i++) log.info("x"); return CONTINUE; }`);
  let lines = 0;
  const say = () => void lines++;
  const log = {
    level: "info" as const,
    debug: say,
    info: say,
    warn: say,
    error: say,
    with: () => log,
  };
  const clock = new FakeClock();
  const engine = createEngine({ clock, log });
  const chain = engine.chain([await engine.prepare(wasm, refTo(wasm))]);
  chain.requestHead(get("/"));
  assert.is(lines, 10);
  clock.advance(1000);
  chain.requestHead(get("/"));
  assert.is(lines, 20);
});

test.run();
