// The identity folder and the token file, on a real file system.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openSecrets } from "../../src/runtime/secrets.ts";
import { tempDir } from "../support/temp-dir.ts";
import { createTestCa } from "../support/test-ca.ts";

const NAME = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const anchorsPem = (await createTestCa()).pem;

test("openSecrets() makes a key and a request that only the owner can read", async () => {
  await using box = await tempDir("secrets");
  const { dir, tokenFile } = await prepare(box.path);
  const secrets = await openSecrets({ dir, tokenFile, name: NAME, anchorsPem });
  assert.equal((await readdir(dir)).sort(), ["csr.der", "key.p8"]);
  for (const file of ["key.p8", "csr.der"]) {
    assert.is((await stat(join(dir, file))).mode & 0o777, 0o600, file);
  }
  assert.equal(new Uint8Array(await readFile(join(dir, "csr.der"))), secrets.csr);
  assert.match(secrets.keyPem, /^-----BEGIN PRIVATE KEY-----/);
});

test("openSecrets() takes an existing pair again", async () => {
  await using box = await tempDir("secrets");
  const { dir, tokenFile } = await prepare(box.path);
  const first = await openSecrets({ dir, tokenFile, name: NAME, anchorsPem });
  const second = await openSecrets({ dir, tokenFile, name: NAME, anchorsPem });
  assert.is(second.keyPem, first.keyPem);
  assert.equal(second.csr, first.csr);
});

test("openSecrets() makes a new pair for another name, a readable key or a damaged file", async () => {
  await using box = await tempDir("secrets");
  const { dir, tokenFile } = await prepare(box.path);
  const open = (name = NAME) => openSecrets({ dir, tokenFile, name, anchorsPem });
  const first = await open();
  assert.is.not((await open("db.shop")).keyPem, first.keyPem);
  const own = await open();
  await chmod(join(dir, "key.p8"), 0o644);
  const again = await open();
  assert.is.not(again.keyPem, own.keyPem);
  assert.is((await stat(join(dir, "key.p8"))).mode & 0o777, 0o600);
  await writeFile(join(dir, "csr.der"), "damaged");
  assert.is.not((await open()).keyPem, again.keyPem);
  await writeFile(join(dir, "key.p8"), "damaged", { mode: 0o600 });
  assert.ok(await open());
});

test("openSecrets() reads the token anew on each call", async () => {
  await using box = await tempDir("secrets");
  const { dir, tokenFile } = await prepare(box.path);
  const secrets = await openSecrets({ dir, tokenFile, name: NAME, anchorsPem });
  assert.is(new TextDecoder().decode(await secrets.token()), "token-1");
  await writeFile(tokenFile, "token-2");
  assert.is(new TextDecoder().decode(await secrets.token()), "token-2");
});

test("openSecrets() says which file is missing, empty or too large, never what it holds", async () => {
  await using box = await tempDir("secrets");
  const { dir, tokenFile } = await prepare(box.path);
  const open = (file = tokenFile) => openSecrets({ dir, tokenFile: file, name: NAME, anchorsPem });
  await rejects(open(join(box.path, "none")), /Cannot read the identity token .*none/);
  await writeFile(tokenFile, "");
  await rejects(open(), /is empty/);
  await writeFile(tokenFile, "S".repeat(65 * 1024));
  await rejects(open(), /is over 64 KiB/);
});

test("openSecrets() says that the folder cannot be written", async () => {
  await using box = await tempDir("secrets");
  const { tokenFile } = await prepare(box.path);
  const file = join(box.path, "a-file");
  await writeFile(file, "");
  await rejects(
    openSecrets({ dir: join(file, "identity"), tokenFile, name: NAME, anchorsPem }),
    /Cannot write the identity folder/,
  );
});

async function prepare(path: string): Promise<{ dir: string; tokenFile: string }> {
  const tokenFile = join(path, "token");
  await writeFile(tokenFile, "token-1");
  return { dir: join(path, "identity"), tokenFile };
}

async function rejects(promise: Promise<unknown>, pattern: RegExp): Promise<void> {
  try {
    await promise;
  } catch (e) {
    assert.match((e as Error).message, pattern);
    assert.not.match((e as Error).message, /S{10}|token-1/);
    return;
  }
  assert.unreachable("did not reject");
}

test.run();
