// The certificate signing request of this proxy (PKCS#10, RFC 2986), in a page of DER: a P-256 key, one
// subject alternative name. The proxy does not load a certificate library for it, which would cost each
// start 170 ms.

import { createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import {
  DNS_NAME,
  OID_SUBJECT_ALT_NAME,
  readChildren,
  readElement,
  sameBytes,
  TAG,
  URI_NAME,
  writeElement,
} from "./der.ts";

/** 2.5.4.3 */
const OID_COMMON_NAME = [0x55, 0x04, 0x03];
/** 1.2.840.113549.1.9.14 */
const OID_EXTENSION_REQUEST = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
/** 1.2.840.10045.4.3.2 */
const OID_ECDSA_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/** X.520 ub-common-name: strict parsers refuse longer ones. */
const MAX_COMMON_NAME = 64;

/** A request for `name`, a DNS-like identity or a SPIFFE ID, signed with the P-256 private key. */
export function createCsr(key: KeyObject, name: string): Uint8Array {
  const info = requestInfo(publicKeyOf(key), name);
  const signature = sign("sha256", info, key);
  return writeElement(
    TAG.sequence,
    info,
    writeElement(TAG.sequence, writeElement(TAG.oid, OID_ECDSA_SHA256)),
    writeElement(TAG.bitString, [0], signature),
  );
}

/** Whether `csr` is such a request: for this key and this name, and rightly signed. Never throws. */
export function isCsrFor(csr: Uint8Array, key: KeyObject, name: string): boolean {
  try {
    const whole = readElement(csr, 0, csr.length);
    const [info, , bits] = readChildren(csr, whole);
    if (whole.to !== csr.length || info === undefined || bits?.tag !== TAG.bitString) return false;
    // Everything in front of the signature is determined by key and name.
    const expected = requestInfo(publicKeyOf(key), name);
    return sameBytes(csr.subarray(info.at, info.to), expected) &&
      verify("sha256", expected, createPublicKey(key), csr.subarray(bits.from + 1, bits.to));
  } catch {
    return false;
  }
}

function requestInfo(subjectPublicKeyInfo: Uint8Array, name: string): Uint8Array {
  const bytes = Uint8Array.from(name, (c) => c.charCodeAt(0));
  const uri = name.includes("://");
  const commonName = uri || bytes.length > MAX_COMMON_NAME ? [] : writeElement(
    TAG.set,
    writeElement(
      TAG.sequence,
      writeElement(TAG.oid, OID_COMMON_NAME),
      writeElement(TAG.utf8String, bytes),
    ),
  );
  const names = writeElement(TAG.sequence, writeElement(uri ? URI_NAME : DNS_NAME, bytes));
  // RFC 5280 §4.2.1.6: without a subject the names are critical.
  const critical = commonName.length === 0 ? writeElement(TAG.boolean, [0xff]) : [];
  const extension = writeElement(
    TAG.sequence,
    writeElement(TAG.oid, OID_SUBJECT_ALT_NAME),
    critical,
    writeElement(TAG.octetString, names),
  );
  const attributes = writeElement(
    TAG.sequence,
    writeElement(TAG.oid, OID_EXTENSION_REQUEST),
    writeElement(TAG.set, writeElement(TAG.sequence, extension)),
  );
  return writeElement(
    TAG.sequence,
    writeElement(TAG.integer, [0]),
    writeElement(TAG.sequence, commonName),
    subjectPublicKeyInfo,
    writeElement(0xa0, attributes),
  );
}

function publicKeyOf(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ type: "spki", format: "der" });
}
