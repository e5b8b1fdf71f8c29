import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { openPrivateDir, readBounded, readTree, systemFiles } from "../../src/runtime/files.ts";
import { tempDir } from "../support/temp-dir.ts";

const text = (bytes: Uint8Array | null) => bytes === null ? null : new TextDecoder().decode(bytes);
const bytes = (of: string) => new TextEncoder().encode(of);

test("readTree() finds files below a folder in order, follows links, leaves out what is hidden", async () => {
  await using dir = await tempDir("tree");
  await mkdir(dir.join("b", "c"), { recursive: true });
  await mkdir(dir.join(".git"));
  await writeFile(dir.join("z.yaml"), "z");
  await writeFile(dir.join("b", "c", "deep.yaml"), "deep");
  await writeFile(dir.join(".git", "x.yaml"), "x");
  await writeFile(dir.join(".hidden.yaml"), "x");
  await symlink(dir.join("z.yaml"), dir.join("link.yaml"));
  await symlink(dir.join("nowhere"), dir.join("broken.yaml"));
  const { files, folders } = await readTree(dir.path);
  assert.equal(files.map((f) => [f.path, f.bytes]), [
    ["b/c/deep.yaml", 4],
    ["link.yaml", 1],
    ["z.yaml", 1],
  ]);
  assert.equal(folders, [dir.path, dir.join("b"), dir.join("b", "c")]);
  // Same size and still another stamp.
  const before = files.find((f) => f.path === "z.yaml")?.stamp;
  await writeFile(dir.join("new"), "y");
  await rename(dir.join("new"), dir.join("z.yaml"));
  const after = (await readTree(dir.path)).files.find((f) => f.path === "z.yaml")?.stamp;
  assert.is.not(after, before);
});

test("readTree() and readBounded() reject with one line that names the path", async () => {
  await using dir = await tempDir("tree");
  const why = (p: Promise<unknown>) => p.then(() => "read", (e: Error) => e.message);
  assert.match(
    await why(readTree(dir.join("nowhere"))),
    /^Cannot read the folder .*nowhere: ENOENT/,
  );
  assert.match(await why(readBounded(dir.join("nowhere"), 10)), /^Cannot read .*nowhere: ENOENT/);
  await writeFile(dir.join("large"), "x".repeat(11));
  assert.match(await why(readBounded(dir.join("large"), 10)), /it has 11 bytes, over 10/);
  assert.is(text(await readBounded(dir.join("large"), 11)), "x".repeat(11));
});

test("watch() tells each listener of a write and of a replacement, until it ends", async () => {
  await using dir = await tempDir("watch");
  const files = systemFiles();
  const waiting: (() => void)[] = [];
  let first = 0;
  const endFirst = files.watch(dir.path, () => first++);
  const endSecond = files.watch(dir.path, () => {
    for (const wake of waiting.splice(0)) wake();
  });
  const told = () => new Promise<void>((resolve) => waiting.push(resolve));
  try {
    let wait = told();
    await writeFile(dir.join("a"), "1");
    await wait;
    assert.ok(first > 0);
    endFirst();
    const until = first;
    wait = told();
    await writeFile(dir.join(".b"), "2");
    await rename(dir.join(".b"), dir.join("b"));
    await wait;
    assert.is(first, until);
  } finally {
    endSecond();
  }
  // A folder that is not there: nothing is told, and nothing breaks.
  files.watch(dir.join("nowhere"), () => assert.unreachable())();
});

test("a private folder keeps files whole and for its owner only", async () => {
  await using dir = await tempDir("private");
  const state = await openPrivateDir(dir.join("a", "b", "state"));
  assert.is((await stat(state.path)).mode & 0o777, 0o700);
  assert.is(await state.read("key"), null);
  await state.write("key", bytes("one"));
  await state.write("key", bytes("two"));
  await state.write("modules/x.wasm", bytes("m"));
  assert.is(text(await state.read("key")), "two");
  assert.is((await stat(dir.join("a", "b", "state", "key"))).mode & 0o777, 0o600);
  assert.equal(await state.list("modules"), ["x.wasm"]);
  assert.equal(await state.list("nowhere"), []);
  assert.equal((await readdir(state.path)).sort(), ["key", "modules"], "nothing temporary is left");
  await state.remove("key");
  await state.remove("key");
  assert.is(await state.read("key"), null);
});

test("a private folder does not lead out of itself", async () => {
  await using dir = await tempDir("private");
  const state = await openPrivateDir(dir.join("state"));
  await writeFile(dir.join("secret"), "x");
  for (const name of ["../secret", "/etc/hostname", "a/../../secret"]) {
    const why = await Promise.resolve().then(() => state.read(name)).then(() => "read", String);
    assert.match(why, /not inside/);
  }
  assert.is(await readFile(dir.join("secret"), "utf8"), "x");
});

test("a state folder that cannot be used is one line", async () => {
  await using dir = await tempDir("private");
  const why = (path: string) => openPrivateDir(path).then(() => "opened", (e: Error) => e.message);
  await mkdir(dir.join("open"));
  await chmod(dir.join("open"), 0o777);
  assert.match(
    await why(dir.join("open")),
    /^Cannot use the state folder .*others may write to it/,
  );
  await writeFile(dir.join("file"), "");
  assert.match(await why(dir.join("file", "state")), /^Cannot use the state folder .*ENOTDIR/);
  assert.match(await why("/proc/nowhere"), /^Cannot use the state folder \/proc\/nowhere/);
});

test.run();
