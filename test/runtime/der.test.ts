// Names of certificates, read from DER: what an attacker puts into a name stays inside that name.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { readElement, subjectAltNames, writeElement } from "../../src/runtime/der.ts";
import { seeded } from "../support/random.ts";
import { createTestCa, derOf, newKeys } from "../support/test-ca.ts";

const NAME = "web.shop.serviceaccount.identity.linkerd.cluster.local";

async function leaf(names: { type: "dns" | "url"; value: string }[]): Promise<Uint8Array> {
  const ca = await createTestCa();
  return derOf(await ca.issue({ publicKey: (await newKeys()).publicKey, names }));
}

test("subjectAltNames() gives DNS and URI names in the certificate's order", async () => {
  const der = await leaf([
    { type: "url", value: "spiffe://root/ns/web" },
    { type: "dns", value: NAME },
  ]);
  assert.equal(subjectAltNames(der), ["spiffe://root/ns/web", NAME]);
});

test("subjectAltNames() gives nothing for a certificate without names", async () => {
  assert.equal(subjectAltNames(await leaf([])), []);
});

test("subjectAltNames() never splits a name that holds a comma and a space", async () => {
  const der = await leaf([{ type: "dns", value: "evil, DNS:admin.mesh" }]);
  assert.equal(subjectAltNames(der), [], "a name with a space names nobody");
  const comma = await leaf([{ type: "dns", value: "evil,DNS:admin.mesh" }]);
  assert.equal(subjectAltNames(comma), ["evil,DNS:admin.mesh"]);
});

test("subjectAltNames() gives nothing when a name holds NUL or what is not ASCII", async () => {
  const der = await leaf([{ type: "dns", value: NAME }]);
  const at = indexOf(der, NAME);
  for (const byte of [0x00, 0x0a, 0x20, 0x7f, 0xc3]) {
    const forged = der.slice();
    forged[at + 3] = byte;
    assert.equal(subjectAltNames(forged), []);
  }
});

test("subjectAltNames() gives nothing when the extension is there twice", async () => {
  const der = await leaf([{ type: "dns", value: NAME }]);
  // The basic constraints of the same certificate become a second extension of the same kind.
  const forged = der.slice();
  const at = indexOfBytes(forged, [0x06, 0x03, 0x55, 0x1d, 0x13]);
  assert.ok(at > 0);
  forged[at + 4] = 0x11;
  assert.equal(subjectAltNames(forged), []);
});

test("subjectAltNames() never throws and never reads past the end, whatever it is given", async () => {
  const random = seeded(0xde2);
  const der = await leaf([{ type: "dns", value: NAME }]);
  for (let cut = 0; cut < der.length; cut++) {
    assert.equal(subjectAltNames(der.subarray(0, cut)), []);
  }
  for (let i = 0; i < 20_000; i++) {
    const forged = der.slice();
    for (let n = random.int(1, 4); n > 0; n--) {
      forged[random.int(0, forged.length - 1)] = random.int(0, 255);
    }
    for (const name of subjectAltNames(forged)) assert.match(name, /^[\x21-\x7e]+$/);
  }
});

test("readElement() refuses indefinite, padded and too long lengths", () => {
  const refuse = (...bytes: number[]) =>
    assert.throws(() => readElement(Uint8Array.from(bytes), 0, bytes.length));
  refuse(0x30);
  refuse(0x30, 0x80, 0, 0);
  refuse(0x30, 0x81, 0x01, 0);
  refuse(0x30, 0x82, 0x00, 0x80);
  refuse(0x30, 0x02, 0x00);
  refuse(0x30, 0x85, 1, 1, 1, 1, 1);
  refuse(0x1f, 0x81, 0x01, 0x00);
  refuse(0x30, 0x84, 0xff, 0xff, 0xff, 0xff);
});

test("readElement() reads back what writeElement() wrote, at every size of the length", () => {
  for (const size of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
    const der = writeElement(0x04, new Uint8Array(size));
    const element = readElement(der, 0, der.length);
    assert.is(element.to - element.from, size);
    assert.is(element.to, der.length);
  }
});

function indexOf(der: Uint8Array, text: string): number {
  return indexOfBytes(der, [...text].map((c) => c.charCodeAt(0)));
}

function indexOfBytes(der: Uint8Array, bytes: readonly number[]): number {
  for (let at = 0; at + bytes.length <= der.length; at++) {
    if (bytes.every((b, i) => der[at + i] === b)) return at;
  }
  return -1;
}

test.run();
