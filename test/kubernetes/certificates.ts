// The certificates of a cluster that lives as long as a test: a CA, and leaves for servers and users.

import "reflect-metadata";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR = 3_600_000;

/** PEM of a certificate and its key (PKCS#8). */
export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

export interface ClusterCa extends PemPair {
  /** A server's, for 127.0.0.1. */
  server(): Promise<PemPair>;
  /** A user's, by name and groups. */
  user(name: string, groups: readonly string[]): Promise<PemPair>;
  /** A CA below this one. */
  issuer(name: string): Promise<PemPair>;
}

export async function createClusterCa(name: string): Promise<ClusterCa> {
  const keys = await newKeys();
  const at = (hours: number) => new Date(Date.now() + hours * HOUR);
  const subject = [{ CN: [name] }];
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: subject,
    keys,
    notBefore: at(-1),
    notAfter: at(100),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const issue = async (of: x509.JsonName, extensions: x509.Extension[]): Promise<PemPair> => {
    const own = await newKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      subject: of,
      issuer: ca.subjectName,
      notBefore: at(-1),
      notAfter: at(50),
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions,
    });
    return { cert: certificate.toString("pem") + "\n", key: await pemOf(own) };
  };
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  return {
    cert: ca.toString("pem") + "\n",
    key: await pemOf(keys),
    server: () =>
      issue([{ CN: ["kube-apiserver"] }], [
        new x509.ExtendedKeyUsageExtension([serverAuth]),
        new x509.SubjectAlternativeNameExtension([
          { type: "ip", value: "127.0.0.1" },
          { type: "dns", value: "kubernetes.default.svc" },
        ]),
      ]),
    user: (user, groups) =>
      issue([{ CN: [user] }, ...groups.map((group) => ({ O: [group] }))], [
        new x509.ExtendedKeyUsageExtension([clientAuth]),
      ]),
    issuer: (of) =>
      issue([{ CN: [of] }], [new x509.BasicConstraintsExtension(true, undefined, true)]),
  };
}

export async function newKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair;
}

async function pemOf(keys: CryptoKeyPair): Promise<string> {
  const der = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return x509.PemConverter.encode(der, "PRIVATE KEY") + "\n";
}

/** PKCS#10 in DER for one DNS name, with a new key. */
export async function csrFor(name: string): Promise<Uint8Array> {
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    keys: await newKeys(),
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }], true)],
  });
  return new Uint8Array(csr.rawData);
}
