import { test } from "uvu";
import * as assert from "uvu/assert";
import { FilterRefused, type ModuleInfo, type ModuleInspector } from "../../../src/core/filter.ts";
import { signatureText } from "../../../src/core/signature.ts";
import {
  generateKeys,
  readPrivateKey,
  readPublicKeys,
  requireSignature,
  signModule,
} from "../../../wasm/host/signature.ts";
import { memoryStateDir } from "../../../src/control/state-dir.ts";
import { apply } from "../support/mesh-fixture.ts";
import { filter, setUp, SHA1, SHA2, V2, WEB } from "./registry-fixture.ts";

const KEYS = await generateKeys();
const SIGN = await readPrivateKey(KEYS.privatePem);
const TRUSTED = requireSignature(await readPublicKeys(KEYS.publicPem));
const [SIG1, SIG2] = [await signModule(SIGN, SHA1), await signModule(SIGN, SHA2)] as const;
const FOREIGN = await signModule(
  await readPrivateKey((await generateKeys()).privatePem),
  SHA1,
);
const signed = (sha256: string, signature: Uint8Array) =>
  filter(sha256).replace("file:", `signature: "${signatureText(signature)}", file:`);
const sigFile = (signature: Uint8Array) =>
  new TextEncoder().encode(signatureText(signature) + "\n");

test("where keys are configured, a module that its object has no signature for is refused", async () => {
  const inspected: number[] = [];
  const inspector: ModuleInspector = {
    inspect(module) {
      inspected.push(module.length);
      return Promise.resolve({} as ModuleInfo);
    },
  };
  const t = await setUp({ signatures: TRUSTED, inspector });
  assert.is(t.one()?.state, "refused");
  assert.match(t.one()!.reason, /^module [0-9a-f]{12} is not signed; keys that are trusted: /);
  assert.equal(inspected, [], "it was not looked at");
  assert.is(t.registry.refs(WEB, null)[0]?.size, 0, "closed: its requests are refused");
  apply(t.cluster, signed(SHA1, FOREIGN));
  await t.registry.settled();
  assert.match(t.one()!.reason, /was not made by a key that is trusted/);
  apply(t.cluster, signed(SHA1, SIG1));
  await t.registry.settled();
  assert.equal([t.one()?.state, t.one()?.reason], ["serving", ""]);
  assert.equal(t.registry.refs(WEB, null)[0]?.signature, SIG1);
  t.registry.close();
});

test("a new build without a signature is refused while the old one serves, until it is signed", async () => {
  const t = await setUp({ signatures: TRUSTED, yaml: signed(SHA1, SIG1) });
  assert.equal(t.serves(), [SHA1]);
  await t.edit(V2);
  assert.equal(t.serves(), [SHA1]);
  assert.match(t.one()!.reason, /is not signed/);
  assert.match(t.lines.at(-1)!, /stays in force/);
  t.files.write("/build/retry.wasm.sig", sigFile(SIG1));
  t.clock.advance(60);
  await t.registry.settled();
  assert.equal(t.serves(), [SHA1], "a signature of another module");
  assert.match(t.one()!.reason, /was not made by a key/);
  t.files.write("/build/retry.wasm.sig", sigFile(SIG2));
  t.clock.advance(60);
  await t.registry.settled();
  assert.equal(t.serves(), [SHA2]);
  assert.equal(t.registry.refs(WEB, null)[0]?.signature, SIG2);
  t.registry.close();
});

test("a roll-out brings its signature, which survives a restart", async () => {
  const state = memoryStateDir();
  const first = await setUp({ signatures: TRUSTED, yaml: signed(SHA1, SIG1), state });
  const refused = await first.registry.rollout("retry", { bytes: V2 });
  assert.not.ok(refused.ok);
  assert.match(refused.ok ? "" : refused.reason, /is not signed/);
  assert.equal(first.serves(), [SHA1]);
  const done = await first.registry.rollout("retry", { bytes: V2, signature: SIG2 });
  assert.ok(done.ok);
  assert.equal(first.serves(), [SHA2]);
  const wrong = await first.registry.rollout("retry", { bytes: V2, signature: FOREIGN });
  assert.not.ok(wrong.ok);
  assert.equal(first.registry.refs(WEB, null)[0]?.signature, SIG2, "the good one stays");
  first.registry.close();
  const second = await setUp({ signatures: TRUSTED, yaml: signed(SHA1, SIG1), state });
  assert.equal(second.serves(), [SHA2]);
  assert.equal(second.registry.refs(WEB, null)[0]?.signature, SIG2);
  second.registry.close();
});

test("without keys a signature is passed on to the proxies, and a damaged one is not", async () => {
  const t = await setUp({ yaml: signed(SHA1, FOREIGN) });
  assert.equal(t.registry.refs(WEB, null)[0]?.signature, FOREIGN);
  t.registry.close();
  const files = await setUp();
  files.files.write("/build/retry.wasm.sig", new TextEncoder().encode("nonsense"));
  await files.edit(V2);
  assert.equal(files.serves(), [SHA2]);
  assert.is(files.registry.refs(WEB, null)[0]?.signature, undefined);
  assert.ok(files.lines.some((l) => /retry\.wasm\.sig is not read: it is not 64 bytes/.test(l)));
  files.registry.close();
});

test("other keys are a reason to look at every filter anew; what is refused leaves the old build", async () => {
  let trusts = false;
  const { registry, serves } = await setUp({
    signatures: () => trusts ? Promise.resolve() : Promise.reject(new FilterRefused("not trusted")),
  });
  assert.match(registry.states()[0]?.reason ?? "", /not trusted/);
  trusts = true;
  registry.recheck();
  await registry.settled();
  assert.equal([serves(), registry.states()[0]?.state], [[SHA1], "serving"]);
  trusts = false;
  registry.recheck();
  await registry.settled();
  assert.equal(serves(), [SHA1]);
  assert.match(registry.states()[0]?.reason ?? "", /not trusted/);
});

test.run();
