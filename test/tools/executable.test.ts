// bin/tulle.js on its own: copied beside a stand-in for src/cli/main.ts, started by the Node at hand
// and, where the machine has one, by an older Node.

import { spawn, spawnSync } from "node:child_process";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { NODE_PACKAGES } from "../../tools/runner/runtimes.ts";
import { testUnless } from "../support/skip.ts";
import { type TempDir, tempDir } from "../support/temp-dir.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const pinnedPackage = join(root, "node_modules", NODE_PACKAGES[platform()] ?? "none");
const pinned = join(pinnedPackage, "bin", "node");
const missing = existsSync(pinned) ? null : `npm has no pinned Node for ${platform()}`;
const old = olderNode();
const noOld = old === null ? "no Node older than 26 is on the PATH" : missing;

function platform(): string {
  return `${process.platform}-${process.arch}`;
}

/** A Node on the PATH, outside of node_modules, that is older than the pinned one. */
function olderNode(): string | null {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, "node");
    if (folder.includes("node_modules") || !existsSync(path)) continue;
    const version = spawnSync(path, ["--version"], { encoding: "utf8" }).stdout ?? "";
    const major = Number(/^v(\d+)\./.exec(version)?.[1] ?? 99);
    if (major >= 20 && major < 26) return path;
  }
  return null;
}

/** A folder with bin/tulle.js and `main` as its command line. */
async function checkout(main: string, at = "src/cli/main.ts"): Promise<TempDir> {
  const dir = await tempDir("executable");
  await mkdir(dir.join("bin"));
  await mkdir(dir.join(at, ".."), { recursive: true });
  await cp(join(root, "bin/tulle.js"), dir.join("bin/tulle.js"));
  await writeFile(dir.join("package.json"), '{ "type": "module" }');
  await writeFile(dir.join(at), main);
  return dir;
}

/** Puts the pinned Node where npm would. */
async function install(dir: TempDir): Promise<void> {
  await mkdir(dir.join("node_modules"));
  await symlink(pinnedPackage, dir.join("node_modules", NODE_PACKAGES[platform()] ?? "none"));
}

const REPORT = `
const report: Record<string, unknown> = {
  argv: process.argv.slice(2), major: Number(process.versions.node.split(".")[0]),
  execPath: process.execPath, flags: process.execArgv, entry: process.argv[1],
};
process.emitWarning("quiet please", "ExperimentalWarning");
console.log(JSON.stringify(report));
process.exitCode = 7;
`;

testUnless(
  missing,
  test,
  "on the pinned Node the command line is imported, not spawned",
  async () => {
    await using dir = await checkout(REPORT);
    const done = spawnSync(pinned, [dir.join("bin/tulle.js"), "demo", "--x"], { encoding: "utf8" });
    const report = JSON.parse(done.stdout);
    assert.equal(report.argv, ["demo", "--x"]);
    assert.equal(report.flags, [], "no second process: no flags were given");
    assert.match(report.entry, /src\/cli\/main\.ts$/);
    assert.is(done.stderr, "", "no experimental warning");
    assert.is(done.status, 7);
  },
);

testUnless(
  noOld,
  test,
  "an older Node starts the pinned one with the same arguments and status",
  async () => {
    await using dir = await checkout(REPORT);
    await install(dir);
    const done = spawnSync(old ?? "", [dir.join("bin/tulle.js"), "proxy", "a b"], {
      encoding: "utf8",
    });
    assert.is(done.stderr, "");
    const report = JSON.parse(done.stdout);
    assert.is(report.major, 26);
    assert.equal(report.argv, ["proxy", "a b"]);
    assert.ok(report.flags.includes("--disable-sigusr1"));
    assert.is(done.status, 7);
  },
);

testUnless(noOld, test, "a package runs its bundle, also where it is a dependency", async () => {
  await using dir = await checkout("console.log('bundle')", "dist/cli.js");
  await using outer = await tempDir("outer");
  const at = outer.join("node_modules/tulle");
  await cp(dir.path, at, { recursive: true });
  await mkdir(join(at, "src/cli"), { recursive: true });
  await writeFile(join(at, "src/cli/main.ts"), "console.log('sources')");
  await symlink(pinnedPackage, outer.join("node_modules", NODE_PACKAGES[platform()] ?? "none"));
  const done = spawnSync(old ?? "", [join(at, "bin/tulle.js")], { encoding: "utf8" });
  assert.is(done.stdout, "bundle\n", done.stderr);
});

testUnless(noOld, test, "without a Node 26 there is one clear line", async () => {
  await using dir = await checkout(REPORT);
  const done = spawnSync(old ?? "", [dir.join("bin/tulle.js")], { encoding: "utf8" });
  assert.is(done.status, 1);
  assert.is(done.stdout, "");
  assert.match(done.stderr, /^tulle: needs Node 26 and this is v2\d.*npm install[^\n]*\n$/);
});

test("a package without its bundle says so in one line", async () => {
  await using dir = await tempDir("executable");
  await mkdir(dir.join("bin"));
  await cp(join(root, "bin/tulle.js"), dir.join("bin/tulle.js"));
  await writeFile(dir.join("package.json"), '{ "type": "module" }');
  const node = old ?? (existsSync(pinned) ? pinned : process.execPath);
  const done = spawnSync(node, [dir.join("bin/tulle.js")], { encoding: "utf8" });
  assert.is(done.status, 1);
  assert.match(done.stderr, /^tulle: .*dist\/cli\.js is missing[^\n]*\n$/);
});

testUnless(noOld, test, "signals reach the command line, and its end is ours", async () => {
  await using dir = await checkout(`
process.on("SIGTERM", () => { console.log("drained"); process.exit(0); });
process.on("SIGINT", () => { process.exit(5); });
setInterval(() => {}, 1000);
console.log("ready");
`);
  await install(dir);
  assert.equal(await signalled(dir, "SIGTERM"), {
    output: "ready\ndrained\n",
    code: 0,
    signal: null,
  });
  assert.equal(await signalled(dir, "SIGINT"), { output: "ready\n", code: 5, signal: null });
});

testUnless(noOld, test, "a command line that a signal ended ends us by that signal", async () => {
  await using dir = await checkout(`setInterval(() => {}, 1000); console.log("ready");`);
  await install(dir);
  assert.equal(await signalled(dir, "SIGTERM"), {
    output: "ready\n",
    code: null,
    signal: "SIGTERM",
  });
});

/** Starts the executable on the older Node, signals it once it printed something, waits for its end. */
function signalled(
  dir: TempDir,
  signal: NodeJS.Signals,
): Promise<{ output: string; code: number | null; signal: string | null }> {
  return new Promise((resolve, reject) => {
    const child = spawn(old ?? "", [dir.join("bin/tulle.js")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      // Deno's ChildProcess.kill loses the exit status; process.kill is right in both runtimes.
      if (output === "" && child.pid !== undefined) process.kill(child.pid, signal);
      output += chunk;
    });
    child.on("error", reject);
    child.on("close", (code, by) => resolve({ output, code, signal: by }));
  });
}

test.run();
