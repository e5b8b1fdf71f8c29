// Files that a command is given, and places that it writes to: what is missing, a folder, not to be read
// or not what it should be is one line and the same status everywhere; what cannot be written is 1.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, open, writeFile } from "node:fs/promises";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { PACKAGE_ROOT } from "../../src/cli/entries.ts";
import { CliError, EXIT_CONFIG, EXIT_FAILURE, writeTrouble } from "../../src/cli/failure.ts";
import { COMMANDS, runTulle } from "../../src/cli/main.ts";
import { writeOutput } from "../../src/cli/output.ts";
import { testUnless } from "../support/skip.ts";
import { tempDir } from "../support/temp-dir.ts";
import { fakeTerminal } from "./fake-terminal.ts";

/** The command lines that read FILE, by what they do with it. */
const READERS: readonly (readonly string[])[] = [
  ["filter", "inspect", "FILE"],
  ["filter", "sign", "FILE", "--key", "FILE"],
  ["filter", "verify", "FILE", "--key", "FILE"],
  ["filter", "build", "--filters", "FILE/filters"],
  ["filter", "test", "--filters", "FILE/filters"],
  ["filter", "dev", "gate", "--filters", "FILE/filters"],
  ["demo", "--watch", "--filters", "FILE/filters"],
  ["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--filter", "FILE"],
  ["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--filter-keys", "FILE"],
  ["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--identity", "FILE/identity"],
  ["install", "--values", "FILE"],
  ["upgrade", "--from-manifests", "FILE"],
  ["uninstall", "--from-manifests", "FILE"],
  ["prune", "--from-manifests", "FILE"],
  ["inject", "FILE"],
  ["uninject", "FILE"],
];

async function run(argv: readonly string[]) {
  const terminal = fakeTerminal();
  const status = await runTulle(argv, COMMANDS, terminal);
  return { status, out: terminal.raw.join("") + terminal.stdout.join(""), err: terminal.stderr };
}

/** One line that names the file, perhaps a hint below, nothing on stdout, status 64. */
async function refused(argv: readonly string[], path: string, why: RegExp): Promise<void> {
  const { status, out, err } = await run(argv);
  const what = argv.join(" ");
  assert.is(status, EXIT_CONFIG, `${what}: ${err.join("\n")}`);
  assert.is(out, "", what);
  const [line = "", hint] = err;
  assert.ok(line.startsWith("tulle: ") && line.includes(path) && why.test(line), line);
  assert.ok(err.length === 1 || (err.length === 2 && hint!.startsWith("  ")), err.join("\n"));
  assert.not.match(line, /\b(ENOENT|EISDIR|EACCES|ENOTDIR)\b/, "words, not codes");
}

test("every command says of a file that is missing that it does not exist, with status 64", async () => {
  await using dir = await tempDir("input-missing");
  const path = dir.join("nothing");
  for (const command of READERS) {
    const argv = command.map((word) => word.replace("FILE", path));
    await refused(argv, path, /does not exist|There is no folder/);
  }
});

test("and of a folder, and of a file in place of a folder", async () => {
  await using dir = await tempDir("input-folder");
  const [folder, file] = [dir.join("folder"), dir.join("file")];
  await mkdir(folder);
  await writeFile(file, "text");
  for (const command of READERS) {
    // These take folders.
    if (command.includes("inject") || command.includes("uninject")) continue;
    const isFolderWanted = command.some((word) => word.startsWith("FILE/"));
    const path = isFolderWanted ? file : folder;
    if (isFolderWanted && command[0] === "demo") continue; // it looks when it runs
    const argv = command.map((word) => word.replace(/^FILE(\/.*)?$/, path));
    await refused(argv, path, isFolderWanted ? /no folder|not a folder/ : /is a folder/);
  }
});

const root = process.getuid?.() === 0 ? "the user is root, who may read everything" : null;

testUnless(root, test, "and of a file that may not be read", async () => {
  await using dir = await tempDir("input-rights");
  const path = dir.join("secret");
  await writeFile(path, "text");
  await chmod(path, 0);
  for (const command of READERS) {
    if (command.some((word) => word.startsWith("FILE/"))) continue;
    await refused(command.map((word) => word.replace("FILE", path)), path, /may not be read/);
  }
});

test("what is no module, no key, no configuration and no signature is 64, too", async () => {
  await using dir = await tempDir("input-wrong");
  const path = (name: string) => dir.join(name);
  await writeFile(path("text.wasm"), "text");
  await writeFile(path("empty.wasm"), Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  await writeFile(path("bad.json"), "{");
  await writeFile(path("list.json"), "[]");
  await writeFile(path("empty.wasm.sig"), "no signature");
  assert.is((await run(["filter", "keygen", path("me")])).status, 0);
  const wrong: readonly (readonly [argv: readonly string[], why: RegExp])[] = [
    [
      ["sign", path("text.wasm"), "--key", path("me.key")],
      /text\.wasm is not a WebAssembly module/,
    ],
    [["sign", path("empty.wasm"), "--key", path("bad.json")], /--key .*bad\.json: /],
    [["verify", path("text.wasm"), "--key", path("me.pub")], /text\.wasm\.sig does not exist/],
    [["verify", path("empty.wasm"), "--key", path("me.pub")], /empty\.wasm\.sig: /],
    [["verify", path("empty.wasm"), "--key", path("bad.json")], /--key .*bad\.json: /],
    [["inspect", path("empty.wasm"), "--config", path("no.json")], /no\.json does not exist/],
    [["inspect", path("empty.wasm"), "--config", path("bad.json")], /bad\.json is not JSON: /],
    [
      ["inspect", path("empty.wasm"), "--config", path("list.json")],
      /list\.json is not a JSON object/,
    ],
  ];
  for (const [argv, why] of wrong) await refused(["filter", ...argv], dir.path, why);
  // That is what it is asked.
  assert.is((await run(["filter", "inspect", path("text.wasm")])).status, EXIT_FAILURE);
});

test("what cannot be written is one line with its path, and status 1", async () => {
  await using dir = await tempDir("output");
  await writeFile(dir.join("file"), "");
  const of = async (path: string, isNew = false) => {
    try {
      await writeOutput(path, "text", { isNew });
    } catch (e) {
      assert.instance(e, CliError);
      assert.is((e as CliError).exit, EXIT_FAILURE);
      return (e as CliError).message.replace(dir.path, "");
    }
    return "";
  };
  assert.is(await of(dir.join("no/file")), "/no/file lies in a folder that does not exist");
  assert.is(await of(dir.join("file/file")), "/file/file lies in what is no folder");
  assert.is(await of(dir.path), " is a folder");
  assert.is(await of(dir.join("file"), true), "/file exists already");
  assert.is(writeTrouble({ code: "EACCES" }), "may not be written");
  assert.is(writeTrouble(new Error("odd")), "cannot be written: odd");
  const keys = await run(["filter", "keygen", dir.join("no/me")]);
  assert.equal([keys.status, keys.out], [EXIT_FAILURE, ""]);
  const made = await run(["filter", "new", "gate", "--filters", dir.join("file")]);
  assert.is(made.status, EXIT_FAILURE);
  assert.match(made.err.join("\n"), /^tulle: \S+\/file\/gate\S* .*folder$/);
});

/** `tulle install` as a process whose output goes to `stdout`. */
async function installTo(stdout: "pipe" | number) {
  const runtime = process.versions.deno === undefined ? ["--disable-sigusr1"] : ["run", "-A"];
  const child = spawn(process.execPath, [
    ...runtime,
    `${PACKAGE_ROOT}src/cli/main.ts`,
    "install",
    "--crds",
  ], {
    stdio: ["ignore", stdout, "pipe"],
  });
  let err = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (err += text));
  // Nobody reads.
  child.stdout?.destroy();
  const [status] = await once(child, "close");
  return { status: status as number | null, err };
}

test("a pipe that nobody reads ends a command quietly", async () => {
  const { err, status } = await installTo("pipe");
  assert.equal([err, status], ["", 0]);
});

const full = existsSync("/dev/full") ? null : "there is no /dev/full";

testUnless(full, test, "a disk that is full is said, and fails the command", async () => {
  const disk = await open("/dev/full", "w");
  try {
    const { status, err } = await installTo(disk.fd);
    assert.is(err, "tulle: Standard output cannot be written: the disk is full\n");
    assert.is(status, EXIT_FAILURE);
  } finally {
    await disk.close();
  }
});

test.run();
