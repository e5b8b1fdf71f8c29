// The published package: packed, installed somewhere else as a user would, and run there. npm and its
// Node are those of the machine; what the package runs on comes with it.

import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { ENTRIES } from "../tools/build.ts";
import { TESTING_TYPES } from "../tools/build-types.ts";
import { skip } from "./support/skip.ts";
import { type TempDir, tempDir } from "./support/temp-dir.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const MAX_PACKED_BYTES = 3 * 1024 * 1024;

interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program as outside of `npm test`: no folder of this checkout on the PATH, no npm settings. */
function outside(command: string, args: readonly string[], cwd: string): Promise<Done> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !/^npm_|^NODE_/i.test(name)) env[name] = value;
  }
  env.PATH = (env.PATH ?? "").split(delimiter).filter((p) => !p.includes("node_modules")).join(
    delimiter,
  );
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => stdout += chunk);
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => stderr += chunk);
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

async function pack(into: TempDir): Promise<Packed> {
  const done = await outside("npm", ["pack", "--json", "--pack-destination", into.path], root);
  assert.is(done.code, 0, done.stderr);
  const [packed] = JSON.parse(done.stdout.slice(done.stdout.indexOf("[")));
  return packed;
}

/** Null when it is installed; else why the registry could not be asked. */
async function install(tarball: string, at: TempDir): Promise<string | null> {
  // as npm init makes it
  await writeFile(at.join("package.json"), '{ "name": "elsewhere", "type": "commonjs" }');
  const flags = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
  const done = await outside("npm", ["install", ...flags, tarball], at.path);
  if (done.code === 0) return null;
  const code = /\b(ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENOTCACHED)\b/.exec(
    done.stderr,
  );
  if (code === null) throw new Error(`npm install failed: ${done.stderr}`);
  return `npm cannot reach its registry (${code[1]})`;
}

/** What the checkout's tsc says of a file there, by the strictest rules. */
async function typeErrors(at: TempDir, file: string): Promise<string> {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const flags = ["--strict", "--noEmit", "--module", "preserve", "--target", "es2024"];
  const { stdout, stderr } = await outside("node", [tsc, ...flags, file], at.path);
  return stdout + stderr;
}

const of = suite("the package");
const state: { packed: Packed | null; folders: TempDir[] } = { packed: null, folders: [] };

async function folder(label: string): Promise<TempDir> {
  const dir = await tempDir(label);
  state.folders.push(dir);
  return dir;
}

of.after(async () => {
  for (const dir of state.folders) await dir[Symbol.asyncDispose]();
});

of("contains what it needs and nothing else", async () => {
  const into = await folder("pack");
  const packed = await pack(into);
  const paths = packed.files.map((f) => f.path);
  const bundles = Object.keys(ENTRIES).map((out) => `dist/${out}.js`);
  for (
    const path of [
      "LICENSE",
      "README.md",
      "bin/tulle.js",
      "dist/THIRD-PARTY.txt",
      "dist/dashboard/index.html",
      TESTING_TYPES,
      ...bundles,
    ]
  ) {
    assert.ok(paths.includes(path), `${path} is missing`);
  }
  assert.ok(paths.some((p) => /^demo\/mesh\/.*\.yaml$/.test(p)), "the demo's objects");
  assert.ok(paths.some((p) => /^filters\/build\/.*\.wasm$/.test(p)), "the compiled filters");
  for (const path of paths) {
    assert.not.match(
      path,
      /^(src|test|bench|tools|docs|proto|k8s)\/|\.test\.ts$|node_modules/,
      path,
    );
  }
  assert.ok(packed.size < MAX_PACKED_BYTES, `${packed.size} bytes`);
  state.packed = packed;
  // Each entry that src/cli/entries.ts starts is one that is built.
  const entries = await readFile(join(root, "src/cli/entries.ts"), "utf8");
  const started = [...entries.matchAll(/"(dist\/[^"]+\.js)"/g)].map((m) => m[1] ?? "");
  assert.ok(started.length > 0);
  for (const path of started) assert.ok(paths.includes(path), `${path} is started and not built`);
});

of("installs elsewhere without scripts, and runs there", async () => {
  const packed = state.packed;
  if (packed === null) throw new Error("It was not packed");
  const at = await folder("install");
  const [pack] = state.folders;
  const why = await install(pack?.join(packed.filename) ?? "", at);
  if (why !== null) {
    skip("the package installs elsewhere, and runs there", why);
    return;
  }
  const help = await outside("npx", ["tulle", "--help"], at.path);
  assert.is(help.code, 0, help.stderr);
  assert.match(help.stdout, /^ {2}demo /m);
  assert.match(help.stdout, /^ {2}proxy /m);
  assert.is(help.stderr, "");

  const bad = await outside("npx", ["tulle", "demmo"], at.path);
  assert.is(bad.code, 2);
  assert.match(bad.stderr, "demo");

  const filter = async (...args: string[]) => {
    const done = await outside("npx", ["tulle", "filter", ...args], at.path);
    assert.is(done.code, 0, `filter ${args.join(" ")}: ${done.stderr}\n${done.stdout}`);
    return done.stdout;
  };
  await filter("new", "gate");
  assert.match(await filter("build"), /gate\.wasm {2}\d+ bytes/);
  assert.match(await filter("test"), /1 passed, 0 failed/);
  assert.match(await filter("inspect", "filters/build/gate.wasm"), "a proxy loads it");
  // the types of the harness, with nothing installed but the package
  assert.is(await typeErrors(at, "filters/gate/gate.test.ts"), "");
  await writeFile(
    at.join("wrong.test.ts"),
    `import { assert, loadFilter, test } from "tulle/testing";
test("wrong", async () => {
  const filter = await loadFilter("filters/gate", { confg: {} });
  assert.is(filter.request({ path: 7 }).verdikt, "continue");
});
`,
  );
  const wrong = await typeErrors(at, "wrong.test.ts");
  for (const name of ["confg", "number", "verdikt"]) assert.match(wrong, name);
  const mesh = ["--net", "127.89", "--admin", "127.0.0.1:0", "--duration", "2s"];
  assert.match(await filter("dev", "gate", ...mesh), "gate runs in front of catalogue");
  await filter("sign", "filters/build/gate.wasm", "--new-key", "me");
  assert.match(await filter("verify", "filters/build/gate.wasm", "--key", "me.pub"), "signed by");

  const demo = await outside("npx", [
    ...["tulle", "demo", "--duration", "10s", "--json"],
    ...["--net", "127.89", "--admin", "127.0.0.1:0"],
  ], at.path);
  assert.is(demo.code, 0, `${demo.stderr}\n${demo.stdout}`);
  const report = JSON.parse(demo.stdout);
  assert.equal(report.services.map((s: { name: string }) => s.name).sort(), [
    "catalogue",
    "vote",
    "web",
  ]);
  assert.is(report.failedDuringSwap, 0);
  assert.ok(report.swaps >= 2, `${report.swaps} swaps`);
  for (const proxy of report.proxies) assert.is(proxy.plaintextConnections, 0, proxy.name);
});

if ("Deno" in globalThis) {
  skip("the package", "it runs on the Node that it brings, whichever runtime runs this test");
} else {
  of.run();
}
