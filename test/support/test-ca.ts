// A certificate authority for tests, made with @peculiar/x509: independent of the DER that the proxy
// reads and writes itself. Keys are P-256.

import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createPrivateKey, type KeyObject } from "node:crypto";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A CA: issues leaves and further CAs. */
export interface TestCa {
  readonly certificate: x509.X509Certificate;
  readonly pem: string;
  readonly der: Uint8Array;
  /** For the public key of a CSR or of `keys`, with these names. */
  issue(options: IssueOptions): Promise<x509.X509Certificate>;
  intermediate(name: string): Promise<TestCa>;
}

export interface IssueOptions {
  readonly publicKey: CryptoKey | x509.PublicKey;
  readonly names: readonly { type: "dns" | "url"; value: string }[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly ca?: boolean;
}

const HOUR = 3_600_000;

export async function createTestCa(name = "root", nowMs = Date.now()): Promise<TestCa> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    notBefore: new Date(nowMs - HOUR),
    notAfter: new Date(nowMs + 1000 * HOUR),
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  return asCa(certificate, keys, nowMs);
}

function asCa(certificate: x509.X509Certificate, keys: CryptoKeyPair, nowMs: number): TestCa {
  const issue = async (o: IssueOptions, subject = "") =>
    await x509.X509CertificateGenerator.create({
      subject,
      issuer: certificate.subject,
      notBefore: o.notBefore ?? new Date(nowMs - HOUR),
      notAfter: o.notAfter ?? new Date(nowMs + 24 * HOUR),
      publicKey: o.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(o.ca ?? false, undefined, true),
        ...(o.names.length === 0
          ? []
          : [new x509.SubjectAlternativeNameExtension([...o.names], subject === "")]),
      ],
    });
  return {
    certificate,
    pem: certificate.toString("pem") + "\n",
    der: new Uint8Array(certificate.rawData),
    issue,
    async intermediate(name) {
      const own = await newKeys();
      const made = await issue({ publicKey: own.publicKey, names: [], ca: true }, `CN=${name}`);
      return asCa(made, own, nowMs);
    },
  };
}

export async function newKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair;
}

/** The same private key for `node:crypto`. */
export async function keyObject(keys: CryptoKeyPair): Promise<KeyObject> {
  const der = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
}

/** DER of an issued certificate. */
export function derOf(certificate: x509.X509Certificate): Uint8Array {
  return new Uint8Array(certificate.rawData);
}
