import { createPrivateKey, createPublicKey, verify } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Logger, SILENT } from "../../src/core/log.ts";
import { parseSignature, signatureText } from "../../src/core/signature.ts";
import { openFreshKeys } from "../../wasm/host/fresh-keys.ts";
import {
  generateKeys,
  readPrivateKey,
  readPublicKeys,
  requireSignature,
  signatureCheck,
  signerOf,
  signModule,
} from "../../wasm/host/signature.ts";

const SHA = "ab".repeat(32);

async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (e) {
    return (e as Error).message;
  }
  return "nothing failed";
}

const ours = await generateKeys();
const theirs = await generateKeys();
const key = await readPrivateKey(ours.privatePem);

test("a module signed with a key is taken by its public half, and by no other", async () => {
  const signature = await signModule(key, SHA);
  assert.is(signature.length, 64);
  const [mine] = await readPublicKeys(ours.publicPem);
  const [other] = await readPublicKeys(theirs.publicPem);
  assert.is((await signerOf([other!, mine!], SHA, signature))?.id, ours.id);
  assert.is(await signerOf([other!], SHA, signature), null);
  assert.is(await signerOf([mine!], "ac" + SHA.slice(2), signature), null, "another module");
  assert.is(await signerOf([mine!], SHA, signature.subarray(1)), null);
  for (const at of [0, 31, 32, 63]) {
    const flipped = signature.slice();
    flipped[at]! ^= 1;
    assert.is(await signerOf([mine!], SHA, flipped), null, `byte ${at}`);
  }
});

test("a signature is Ed25519 over the prefix and the digest, as another implementation reads it", async () => {
  const signature = await signModule(key, SHA);
  const text = Buffer.from("tulle filter module v1\0");
  const message = Buffer.concat([text, Buffer.from(SHA, "hex")]);
  assert.ok(verify(null, message, createPublicKey(ours.publicPem), signature));
  assert.not.ok(
    verify(null, Buffer.from(SHA, "hex"), createPublicKey(ours.publicPem), signature),
    "the digest alone is not what was signed",
  );
});

test("keys are read from PEM and from raw base64", async () => {
  const spki = createPublicKey(ours.publicPem).export({ type: "spki", format: "der" });
  const raw = spki.subarray(-32).toString("base64");
  const bundle = `# ours\n${raw}\n\n# theirs\n${raw}\n`;
  assert.equal((await readPublicKeys(bundle)).map((k) => k.id), [ours.id, ours.id]);
  assert.equal(
    (await readPublicKeys(`text before\n${theirs.publicPem}\n${ours.publicPem}`)).map((k) => k.id),
    [theirs.id, ours.id],
  );
  const pkcs8 = createPrivateKey(ours.privatePem).export({ type: "pkcs8", format: "der" });
  const seed = pkcs8.subarray(-32).toString("base64");
  const signature = await signModule(await readPrivateKey(seed), SHA);
  assert.ok(await signerOf(await readPublicKeys(raw), SHA, signature));
});

test("what is no key is refused without being shown", async () => {
  for (
    const [text, why] of [
      ["", /no public key/],
      ["# only a comment", /no public key/],
      ["nonsense!", /neither in a PEM PUBLIC KEY nor 32 bytes/],
      ["AAAA", /neither in a PEM PUBLIC KEY nor 32 bytes/],
      [ours.privatePem, /private key in it/],
      [ours.publicPem.replace("MCow", "M???"), /damaged/],
      [ours.publicPem.replace("MCow", "MAow"), /not an Ed25519 public key/],
      [ours.publicPem.slice(0, 60), /damaged/],
      ["x".repeat(70_000), /over 65536 bytes/],
    ] as const
  ) {
    const message = await failure(readPublicKeys(text));
    assert.match(message, why);
    assert.not.match(message, /MCow|MC4C/);
  }
  for (const text of ["", "AAAA", ours.publicPem, ours.privatePem.replace("MC4C", "MC4D")]) {
    const message = await failure(readPrivateKey(text));
    assert.match(message, /it is (neither|not)/);
    assert.not.match(message, /MC4/);
  }
});

test("requireSignature() names what is missing", async () => {
  const check = requireSignature(await readPublicKeys(ours.publicPem));
  await check(SHA, await signModule(key, SHA));
  for (const none of [undefined, null, new Uint8Array()]) {
    assert.match(await failure(check(SHA, none)), /module abababababab is not signed; .*trusted: /);
  }
  const foreign = await signModule(await readPrivateKey(theirs.privatePem), SHA);
  assert.match(
    await failure(check(SHA, foreign)),
    /not made by a key that is trusted \([0-9a-f]{8}\)/,
  );
});

test("signatureCheck() is nothing without keys", async () => {
  assert.is(await signatureCheck(null), null);
  assert.match(await failure(signatureCheck("nonsense!")), /neither in a PEM/);
  await (await signatureCheck(ours.publicPem))?.(SHA, await signModule(key, SHA));
});

test("parseSignature() reads what signatureText() writes, and nothing else", async () => {
  const signature = await signModule(key, SHA);
  assert.equal(parseSignature(signatureText(signature) + "\n"), signature);
  for (const text of ["", "AAAA", "?".repeat(88), signatureText(signature).slice(4)]) {
    assert.throws(() => parseSignature(text), /not 64 bytes as base64/);
  }
});

test("keys that are read anew are in force at once; what cannot be read leaves those before", async () => {
  const [one, two] = [await generateKeys(), await generateKeys()];
  let text = one.publicPem;
  let refused = 0;
  let changed = 0;
  const said: string[] = [];
  const say = (line: string) => void said.push(line);
  const log: Logger = { ...SILENT, info: say, warn: say, with: () => log };
  const keys = await openFreshKeys({
    read: () => readPublicKeys(text),
    log,
    refused: () => refused++,
    changed: () => changed++,
  });
  const sha256 = "ab".repeat(32);
  const by = async ({ privatePem }: typeof one) =>
    await signModule(await readPrivateKey(privatePem), sha256);
  const takes = async (signer: typeof one) =>
    await keys.check(sha256, await by(signer)).then(() => true, () => false);
  assert.equal([await takes(one), await takes(two)], [true, false]);
  text = two.publicPem;
  assert.equal([await takes(one), await takes(two), changed], [false, true, 1]);
  text = "no key\n";
  assert.equal([await takes(one), await takes(two)], [false, true]);
  assert.equal([refused, changed], [2, 1]);
  assert.is(said.filter((line) => line.includes("those before stay")).length, 1, "said once");
  text = one.publicPem + two.publicPem;
  await keys.refresh();
  assert.equal([await takes(one), await takes(two), changed], [true, true, 2]);
  await openFreshKeys({ read: () => readPublicKeys("none\n"), log, refused: () => {} })
    .then(() => assert.unreachable(), (e: Error) => assert.match(e.message, /neither in a PEM/));
});

test.run();
