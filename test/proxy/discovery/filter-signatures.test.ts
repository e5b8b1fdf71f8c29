import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  generateKeys,
  readPrivateKey,
  readPublicKeys,
  requireSignature,
  signModule,
} from "../../../wasm/host/signature.ts";
import { parts, plan, settle, setUp } from "./filter-fixture.ts";

test("where keys are configured, an unsigned module is refused before a byte of it is fetched", async () => {
  const keys = await generateKeys();
  const key = await readPrivateKey(keys.privatePem);
  const trusted = requireSignature(await readPublicKeys(keys.publicPem));
  let checking = 0;
  const s = setUp(null, (sha256, signature) => {
    checking++;
    return trusted(sha256, signature).finally(() => checking--);
  });
  const settled = async () => {
    do {
      await settle();
    } while (checking > 0);
    await settle();
  };
  const { chains } = s.target();
  const v1 = await s.ref("hdr", "v1");
  chains.set([plan("a", { ...v1, signature: await signModule(key, v1.sha256) })]);
  await settled();
  assert.equal(parts(chains), [["hdr@v1"]]);

  const v2 = await s.ref("hdr", "v2");
  const foreign = await readPrivateKey((await generateKeys()).privatePem);
  for (
    const [signature, why] of [
      [null, /is not signed; keys that are trusted: [0-9a-f]{8}$/],
      [await signModule(foreign, v2.sha256), /not made by a key that is trusted/],
      [await signModule(key, v1.sha256), /not made by a key that is trusted/],
    ] as const
  ) {
    chains.set([plan("a", signature === null ? v2 : { ...v2, signature })]);
    await settled();
    assert.equal(parts(chains), [["hdr@v1"]], "the old version goes on serving");
    const status = s.store.status().find((row) => row.wantedSha256 === v2.sha256);
    assert.is(status?.servingSha256, v1.sha256);
    assert.match(status!.lastError, why);
  }
  assert.equal(s.control.fetched, [v1.sha256], "nothing else was fetched");
  assert.equal(s.engine.prepared, ["v1"]);

  chains.set([plan("a", { ...v2, signature: await signModule(key, v2.sha256) })]);
  await settled();
  assert.equal(parts(chains), [["hdr@v2"]]);
  await s.done();
});

test.run();
