// The certificate authority of the mesh: one self-signed CA, both trust anchor and issuer, made at the
// first start and kept in the state folder. Its key never leaves this file.

import { errorText } from "../../core/errors.ts";
import type { CertificateState } from "../admin/state.ts";
import type { StateDir } from "../state-dir.ts";
import { KEY_ALGORITHM, randomSerial, SIGNATURE_ALGORITHM, x509 } from "./x509.ts";

/** Where the CA's certificate is in the state folder: what proxies are given as trust anchors. */
export const CA_CERTIFICATE_FILE = "ca.crt";
const CA_KEY_FILE = "ca.key";

const DAY_MS = 86_400_000;
/** Of the CA that is made at the first start. */
const CA_LIFETIME_MS = 365 * DAY_MS;
const LEAF_LIFETIME_MS = DAY_MS;
/** How far clocks may differ. */
const SKEW_MS = 20_000;

/** A signed leaf. DER. */
export interface Issued {
  readonly leaf: Uint8Array;
  /** The issuer and what is above it. */
  readonly chain: readonly Uint8Array[];
  readonly notAfterMs: number;
  readonly serial: string;
}

export interface Authority {
  readonly anchors: readonly CertificateState[];
  /** PEM. */
  readonly anchorsPem: string;
  issue(identity: string, key: x509.PublicKey, nowMs: number): Promise<Issued>;
}

/**
 * Reads the CA from the state folder, or makes one when there is none.
 *
 * Rejects when what is there cannot be used: half of the pair is missing, they do not belong together,
 * or the certificate is expired. It is never replaced by itself: every proxy would have to know.
 */
export async function openAuthority(options: {
  readonly state: StateDir;
  /** Common name of a CA that is made. */
  readonly name: string;
  readonly nowMs: number;
}): Promise<Authority> {
  const { state, name, nowMs } = options;
  const [certificate, key] = await Promise.all([
    state.read(CA_CERTIFICATE_FILE),
    state.read(CA_KEY_FILE),
  ]);
  if (certificate === null && key === null) return authorityOf(await make(state, name, nowMs));
  if (certificate === null || key === null) {
    const missing = certificate === null ? CA_CERTIFICATE_FILE : CA_KEY_FILE;
    throw new Error(`The CA lacks its ${missing}: restore it, or remove both to make a new CA`);
  }
  const names = { certificate: CA_CERTIFICATE_FILE, key: CA_KEY_FILE };
  return authorityOf(await readPair(certificate, key, nowMs, names));
}

/** A CA's certificate with its key. */
export interface Pair {
  readonly certificate: x509.X509Certificate;
  readonly key: CryptoKey;
}

async function make(state: StateDir, name: string, nowMs: number): Promise<Pair> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: [{ CN: [name] }],
    notBefore: new Date(nowMs - SKEW_MS),
    notAfter: new Date(nowMs + CA_LIFETIME_MS),
    signingAlgorithm: SIGNATURE_ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  const text = (pem: string) => new TextEncoder().encode(`${pem}\n`);
  // The key first: a certificate without key would be an error at the next start.
  await state.write(CA_KEY_FILE, text(x509.PemConverter.encode(pkcs8, "PRIVATE KEY")));
  await state.write(CA_CERTIFICATE_FILE, text(certificate.toString("pem")));
  return { certificate, key: keys.privateKey };
}

/**
 * Reads a CA's certificate (the first of the file) and its P-256 key. Rejects with one line, which never
 * repeats the key, when they cannot be used together now.
 */
export async function readPair(
  certificatePem: Uint8Array,
  keyPem: Uint8Array,
  nowMs: number,
  names: { readonly certificate: string; readonly key: string },
): Promise<Pair> {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  let certificate: x509.X509Certificate;
  let key: CryptoKey;
  try {
    certificate = new x509.X509Certificate(text(certificatePem));
  } catch (e) {
    throw new Error(`The CA's ${names.certificate} cannot be read: ${errorText(e)}`, {
      cause: e,
    });
  }
  try {
    key = await crypto.subtle.importKey("pkcs8", pkcs8Of(text(keyPem)), KEY_ALGORITHM, false, [
      "sign",
    ]);
  } catch {
    // The cause could hold a part of the key.
    throw new Error(`The CA's ${names.key} cannot be read: it is not a P-256 key in PEM`);
  }
  const challenge = crypto.getRandomValues(new Uint8Array(32));
  const signature = await crypto.subtle.sign(SIGNATURE_ALGORITHM, key, challenge);
  const publicKey = await certificate.publicKey.export(KEY_ALGORITHM, ["verify"]).catch(() => null);
  const fits = publicKey !== null &&
    await crypto.subtle.verify(SIGNATURE_ALGORITHM, publicKey, signature, challenge);
  if (!fits) throw new Error(`The CA's ${names.key} does not belong to its ${names.certificate}`);
  if (certificate.notAfter.getTime() <= nowMs) {
    throw new Error(`The CA expired at ${certificate.notAfter.toISOString()}: replace it`);
  }
  const basic = certificate.getExtension(x509.BasicConstraintsExtension);
  if (basic?.ca !== true) throw new Error(`The CA's ${names.certificate} is not one of a CA`);
  return { certificate, key };
}

/** PKCS#8 of a P-256 key in PEM; what OpenSSL and Go call `EC PRIVATE KEY` (RFC 5915) is wrapped. */
function pkcs8Of(pem: string): ArrayBuffer {
  const sec1 = /-----BEGIN EC PRIVATE KEY-----[^-]+-----END EC PRIVATE KEY-----/.exec(pem);
  const [der = new ArrayBuffer()] = x509.PemConverter.decode(sec1 === null ? pem : sec1[0]);
  if (sec1 === null) return der;
  const key = new Uint8Array(der);
  // INTEGER 0, SEQUENCE { id-ecPublicKey, prime256v1 }: what else the key says is checked on import.
  const head = [2, 1, 0, 48, 19, 6, 7, 42, 134, 72, 206, 61, 2, 1]
    .concat([6, 8, 42, 134, 72, 206, 61, 3, 1, 7], [4, ...derLength(key.length)]);
  const size = head.length + key.length;
  return Uint8Array.from([48, ...derLength(size), ...head, ...key]).buffer;
}

function derLength(n: number): number[] {
  return n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
}

/** What proxies verify the chain with, and what is between the issuer and those. */
export interface Trust {
  readonly anchors: readonly x509.X509Certificate[];
  /** Above the issuer, in order. */
  readonly intermediates: readonly x509.X509Certificate[];
}

/** How to show a certificate. */
function shown(certificate: x509.X509Certificate): CertificateState {
  return {
    name: certificate.subjectName.getField("CN")[0] ?? certificate.subject,
    serial: certificate.serialNumber,
    notAfter: certificate.notAfter.getTime(),
  };
}

/** An authority that signs with a pair; without `trust` the pair's certificate is the anchor itself. */
export function authorityOf({ certificate, key }: Pair, trust: Trust | null = null): Authority {
  const { anchors, intermediates } = trust ?? { anchors: [certificate], intermediates: [] };
  const chain = [certificate, ...intermediates].map((c) => new Uint8Array(c.rawData));
  return {
    anchorsPem: anchors.map((a) => `${a.toString("pem")}\n`).join(""),
    anchors: anchors.map(shown),
    async issue(identity, publicKey, nowMs) {
      const notAfterMs = Math.min(
        nowMs + LEAF_LIFETIME_MS + SKEW_MS,
        ...[certificate, ...intermediates].map((c) => c.notAfter.getTime()),
      );
      const serial = randomSerial();
      const leaf = await x509.X509CertificateGenerator.create({
        serialNumber: serial,
        issuer: certificate.subjectName,
        notBefore: new Date(nowMs - SKEW_MS),
        notAfter: new Date(notAfterMs),
        signingAlgorithm: SIGNATURE_ALGORITHM,
        publicKey,
        signingKey: key,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(
            x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
            true,
          ),
          new x509.ExtendedKeyUsageExtension([
            x509.ExtendedKeyUsage.serverAuth,
            x509.ExtendedKeyUsage.clientAuth,
          ]),
          // Critical, since the subject is empty (RFC 5280 §4.2.1.6).
          new x509.SubjectAlternativeNameExtension([{ type: "dns", value: identity }], true),
          await x509.SubjectKeyIdentifierExtension.create(publicKey),
          await x509.AuthorityKeyIdentifierExtension.create(certificate.publicKey),
        ],
      });
      // The wire has whole seconds, as the certificate.
      const whole = Math.floor(leaf.notAfter.getTime() / 1000) * 1000;
      return { leaf: new Uint8Array(leaf.rawData), chain, notAfterMs: whole, serial };
    },
  };
}
