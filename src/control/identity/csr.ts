// What a certificate signing request may ask for: one DNS name, the identity, and nothing else.

import { KEY_ALGORITHM, x509 } from "./x509.ts";

/** Longer requests are refused unread: one for a P-256 key and one name has about 400 bytes. */
export const MAX_CSR_BYTES = 16 * 1024;

/** It cannot be read, or its signature is wrong. */
export class MalformedCsr extends Error {}
/** It can be read, and asks for something else than the identity. */
export class UnfitCsr extends Error {}

/** The public key of a request that asks for exactly this identity. Rejects with one of the above. */
export async function checkCsr(der: Uint8Array, identity: string): Promise<x509.PublicKey> {
  if (der.length > MAX_CSR_BYTES) throw new MalformedCsr("the request is over 16 KiB");
  let csr: x509.Pkcs10CertificateRequest;
  let genuine: boolean;
  try {
    csr = new x509.Pkcs10CertificateRequest(Uint8Array.from(der));
    genuine = await csr.verify();
  } catch {
    throw new MalformedCsr("the request is not PKCS#10 in DER, or not of a P-256 key");
  }
  if (!genuine) throw new MalformedCsr("the request is not signed by its own key");
  const key = csr.publicKey.algorithm as { name?: string; namedCurve?: string };
  if (key.name !== KEY_ALGORITHM.name || key.namedCurve !== KEY_ALGORITHM.namedCurve) {
    throw new UnfitCsr("the key is not ECDSA P-256");
  }
  const common = csr.subjectName.getField("CN");
  if (common.length > 1 || (common[0] ?? "") !== "" && common[0] !== identity) {
    throw new UnfitCsr("the common name is not the identity");
  }
  const names = csr.extensions
    .filter((e) => e instanceof x509.SubjectAlternativeNameExtension)
    .flatMap((e) => e.names.items);
  const [only, ...more] = names;
  if (only === undefined || more.length > 0) {
    throw new UnfitCsr(`the request has ${names.length} alternative names, not one`);
  }
  if (only.type !== "dns" || only.value !== identity) {
    throw new UnfitCsr("the alternative name is not the identity");
  }
  return csr.publicKey;
}
