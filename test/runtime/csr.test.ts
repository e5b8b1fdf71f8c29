// Our signing request, read by a certificate library that knows nothing of it.

import { test } from "uvu";
import * as assert from "uvu/assert";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { generateKeyPairSync } from "node:crypto";
import { createCsr, isCsrFor } from "../../src/runtime/csr.ts";

const NAME = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const newKey = () => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;

function parse(csr: Uint8Array) {
  const request = new x509.Pkcs10CertificateRequest(Uint8Array.from(csr));
  const san = request.extensions.find((e) => e.type === "2.5.29.17");
  assert.instance(san, x509.SubjectAlternativeNameExtension);
  const { names } = san as x509.SubjectAlternativeNameExtension;
  return { request, names: names.items.map((n) => `${n.type}:${n.value}`), san };
}

test("createCsr() is a valid PKCS#10 request with one DNS name equal to the common name", async () => {
  const { request, names } = parse(createCsr(newKey(), NAME));
  assert.ok(await request.verify(), "the signature is right");
  assert.is(request.subject, `CN=${NAME}`);
  assert.equal(names, [`dns:${NAME}`]);
  assert.equal(request.publicKey.algorithm.name, "ECDSA");
});

test("createCsr() leaves the subject empty and the names critical when the name is over 64 bytes", async () => {
  const long = `a-service-account-with-a-long-name.a-namespace.${NAME}`;
  const { request, names, san } = parse(createCsr(newKey(), long));
  assert.ok(await request.verify());
  assert.is(request.subject, "");
  assert.equal(names, [`dns:${long}`]);
  assert.is(san?.critical, true);
});

test("createCsr() puts a SPIFFE ID into a URI name", async () => {
  const { request, names } = parse(createCsr(newKey(), "spiffe://root/ns/web"));
  assert.ok(await request.verify());
  assert.equal(names, ["url:spiffe://root/ns/web"]);
});

test("isCsrFor() tells whether a request is for this key and this name", () => {
  const key = newKey();
  const csr = createCsr(key, NAME);
  assert.ok(isCsrFor(csr, key, NAME));
  assert.not.ok(isCsrFor(csr, key, "other.name"));
  assert.not.ok(isCsrFor(csr, newKey(), NAME));
  assert.not.ok(isCsrFor(new Uint8Array(), key, NAME));
  assert.not.ok(isCsrFor(csr.subarray(0, csr.length - 1), key, NAME));
  const forged = csr.slice();
  forged[forged.length - 5] = (forged[forged.length - 5] as number) ^ 1;
  assert.not.ok(isCsrFor(forged, key, NAME));
});

test.run();
