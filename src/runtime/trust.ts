// Whether a certificate that the identity service sent may be used: chain to the trust anchors, key,
// name, dates. The same questions that a peer's TLS will ask, asked before anything is replaced.

import { createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { sameBytes, subjectAltNames } from "./der.ts";

const MAX_CHAIN = 10;

/** Parsed trust anchors. */
export type Anchors = readonly X509Certificate[];

/** Parses a bundle of PEM certificates. Throws a sentence without its text when one cannot be read. */
export function parseAnchors(pem: string): Anchors {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error("The trust anchors hold no PEM certificate");
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new Error(`Trust anchor ${i + 1} is not a certificate`);
    }
  });
}

/** A certificate with what it is checked against. All DER. */
export interface Candidate {
  readonly leaf: Uint8Array;
  /** In any order; the self-signed root may be among them. */
  readonly intermediates: readonly Uint8Array[];
}

/** What TLS gets of a certificate that passed. */
export interface Accepted {
  /** PEM, leaf first, without self-signed certificates: a peer has those or does not trust them. */
  readonly certPem: string;
  /** When the first certificate of the chain expires, in milliseconds since the epoch. */
  readonly expiresMs: number;
}

/** Checks a candidate for `name` and `key`; throws a sentence that says what is wrong with it. */
export function checkCandidate(
  candidate: Candidate,
  name: string,
  key: KeyObject,
  anchors: Anchors,
  nowMs: number,
): Accepted {
  if (candidate.intermediates.length > MAX_CHAIN) {
    throw new Error(`The certificate comes with more than ${MAX_CHAIN} intermediates`);
  }
  const leaf = parse(candidate.leaf, "The certificate");
  const names = subjectAltNames(candidate.leaf);
  if (names.length !== 1 || names[0] !== name) {
    throw new Error(
      `The certificate is for ${names.slice(0, 3).join(", ") || "nobody"}, not ${name}`,
    );
  }
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
  if (!sameBytes(leaf.publicKey.export({ type: "spki", format: "der" }), publicKey)) {
    throw new Error("The certificate is for another key");
  }
  const given = candidate.intermediates.map((der, i) => parse(der, `Intermediate ${i + 1}`));
  const chain = chainOf(leaf, given, anchors, nowMs);
  return {
    certPem: chain.map((c) => c.toString().trim() + "\n").join(""),
    expiresMs: Math.min(...chain.map((c) => Date.parse(c.validTo))),
  };
}

/** Leaf first, up to below the anchor. */
function chainOf(
  leaf: X509Certificate,
  given: readonly X509Certificate[],
  anchors: Anchors,
  nowMs: number,
): readonly X509Certificate[] {
  const chain = [leaf];
  requireCurrent(leaf, "The certificate", nowMs);
  for (;;) {
    const top = chain[chain.length - 1] as X509Certificate;
    const anchor = anchors.find((a) => issued(a, top) && isCurrent(a, nowMs));
    // An anchor need not be self-signed: what is below it is sent in any case.
    if (anchor !== undefined) return chain;
    const next = given.find((c) => !chain.includes(c) && !issued(c, c) && issued(c, top));
    if (next === undefined || chain.length > MAX_CHAIN) {
      throw new Error("The certificate does not chain to the trust anchors");
    }
    requireCurrent(next, "An intermediate certificate", nowMs);
    chain.push(next);
  }
}

function issued(issuer: X509Certificate, subject: X509Certificate): boolean {
  try {
    return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

function isCurrent(c: X509Certificate, nowMs: number): boolean {
  return Date.parse(c.validFrom) <= nowMs && nowMs < Date.parse(c.validTo);
}

function requireCurrent(c: X509Certificate, what: string, nowMs: number): void {
  if (isCurrent(c, nowMs)) return;
  throw new Error(`${what} is valid from ${c.validFrom} to ${c.validTo} only: check the clocks`);
}

function parse(der: Uint8Array, what: string): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch {
    throw new Error(`${what} is not a DER certificate`);
  }
}
