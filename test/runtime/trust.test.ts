// Certificates that the identity service may send, good and bad.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { checkCandidate, parseAnchors } from "../../src/runtime/trust.ts";
import { createTestCa, derOf, keyObject, newKeys } from "../support/test-ca.ts";

const NAME = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const names = [{ type: "dns", value: NAME }] as const;
const now = Date.now();

const root = await createTestCa("root");
const keys = await newKeys();
const key = await keyObject(keys);
const anchors = parseAnchors(root.pem);
const check = (leaf: Uint8Array, intermediates: Uint8Array[] = [], at = now) =>
  checkCandidate({ leaf, intermediates }, NAME, key, anchors, at);

test("checkCandidate() accepts a leaf under an anchor and leaves the root out of the chain", async () => {
  const leaf = await root.issue({ publicKey: keys.publicKey, names });
  const accepted = check(derOf(leaf), [root.der]);
  assert.is(accepted.certPem.match(/BEGIN CERTIFICATE/g)?.length, 1);
  assert.is(accepted.expiresMs, Math.floor(leaf.notAfter.getTime() / 1000) * 1000);
});

test("checkCandidate() accepts a leaf under intermediates in any order, leaf first in the chain", async () => {
  const one = await root.intermediate("one");
  const two = await one.intermediate("two");
  const leaf = derOf(await two.issue({ publicKey: keys.publicKey, names }));
  const { certPem } = check(leaf, [root.der, one.der, two.der]);
  const order = parseAnchors(certPem).map((c) => c.subject);
  assert.equal(order.slice(1), ["CN=two", "CN=one"]);
});

test("checkCandidate() accepts an intermediate as the anchor and still sends what is below it", async () => {
  const one = await root.intermediate("one");
  const two = await one.intermediate("two");
  const leaf = derOf(await two.issue({ publicKey: keys.publicKey, names }));
  const { certPem } = checkCandidate(
    { leaf, intermediates: [two.der, one.der] },
    NAME,
    key,
    parseAnchors(one.pem),
    now,
  );
  assert.is(certPem.match(/BEGIN CERTIFICATE/g)?.length, 2);
});

test("checkCandidate() refuses another name, several names and no name", async () => {
  const other = { type: "dns", value: "db.shop" } as const;
  for (const wrong of [[other], [...names, other], []]) {
    const leaf = await root.issue({ publicKey: keys.publicKey, names: wrong });
    assert.throws(() => check(derOf(leaf)), /The certificate is for .*, not web\.shop/);
  }
});

test("checkCandidate() refuses a certificate for another key", async () => {
  const leaf = await root.issue({ publicKey: (await newKeys()).publicKey, names });
  assert.throws(() => check(derOf(leaf)), /for another key/);
});

test("checkCandidate() refuses what does not chain to the anchors", async () => {
  const stranger = await createTestCa("root"); // the same name, another key
  const leaf = derOf(await stranger.issue({ publicKey: keys.publicKey, names }));
  assert.throws(() => check(leaf), /does not chain/);
  assert.throws(() => check(leaf, [stranger.der]), /does not chain/);
  const one = await root.intermediate("one");
  const below = derOf(await one.issue({ publicKey: keys.publicKey, names }));
  assert.throws(() => check(below), /does not chain/, "the intermediate is missing");
});

test("checkCandidate() refuses an issuer that is no CA", async () => {
  const leafKeys = await newKeys();
  const mid = await root.issue({ publicKey: leafKeys.publicKey, names: [], ca: false });
  const fake = await (await root.intermediate("x")).issue({ publicKey: keys.publicKey, names });
  assert.throws(() => check(derOf(fake), [derOf(mid)]), /does not chain/);
});

test("checkCandidate() refuses expired and not yet valid certificates", async () => {
  const leaf = derOf(await root.issue({ publicKey: keys.publicKey, names }));
  assert.throws(() => check(leaf, [], now + 25 * 3_600_000), /check the clocks/);
  assert.throws(() => check(leaf, [], now - 2 * 3_600_000), /check the clocks/);
});

test("checkCandidate() refuses bytes that are no certificate", () => {
  assert.throws(() => check(new Uint8Array([1, 2, 3])), /is not a DER certificate/);
});

test("parseAnchors() names the anchor that cannot be read, without its text", () => {
  assert.throws(() => parseAnchors("nothing"), /hold no PEM certificate/);
  const bad = "-----BEGIN CERTIFICATE-----\nU0VDUkVU\n-----END CERTIFICATE-----\n";
  try {
    parseAnchors(root.pem + bad);
    assert.unreachable();
  } catch (e) {
    assert.is((e as Error).message, "Trust anchor 2 is not a certificate");
  }
});

test.run();
