// Signatures of modules: Ed25519 (RFC 8032) over a module's digest, by Web Crypto. Verified before a
// module is parsed; a signature says who built it, the digest in the reference says which one it is.

import { FilterRefused } from "../../src/core/filter.ts";
import { SIGNATURE_BYTES, type SignatureCheck, signatureText } from "../../src/core/signature.ts";

/** Bytes of a raw key. */
const KEY_BYTES = 32;
/** In front of the digest, so that no signature made for something else fits. */
const DOMAIN = "tulle filter module v1\0";
/** Before the 32 bytes of a key: RFC 8410, `PrivateKeyInfo` and `SubjectPublicKeyInfo`. */
const PRIVATE_PREFIX = "302e020100300506032b657004220420";
const PUBLIC_PREFIX = "302a300506032b6570032100";
const MAX_KEYS = 64;
const MAX_KEY_TEXT = 64 * 1024;

/** A key that modules may be signed with. */
export interface FilterKey {
  readonly key: CryptoKey;
  /** The first 8 hex digits of the raw key's SHA-256; tells keys apart in messages. */
  readonly id: string;
}

/** A pair, as texts for files. */
export interface KeyTexts {
  readonly privatePem: string;
  readonly publicPem: string;
  readonly id: string;
}

/** Makes a new pair. */
export async function generateKeys(): Promise<KeyTexts> {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  if (!("privateKey" in pair)) throw new Error("Web Crypto made no pair of Ed25519 keys");
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  return {
    privatePem: pem("PRIVATE KEY", pkcs8),
    publicPem: pem("PUBLIC KEY", spki),
    id: await keyId(spki.subarray(-KEY_BYTES)),
  };
}

/** A private key: PEM (PKCS #8), or the 32 bytes of its seed as base64. Messages never show it. */
export async function readPrivateKey(text: string): Promise<CryptoKey> {
  const [block] = blocks(text, "PRIVATE KEY");
  const raw = block === undefined ? base64(text.trim()) : null;
  const bytes = block ?? (raw?.length === KEY_BYTES ? join(hex(PRIVATE_PREFIX), raw) : null);
  if (bytes === null) {
    throw new Error("it is neither a PEM PRIVATE KEY nor 32 bytes as base64");
  }
  try {
    return await crypto.subtle.importKey("pkcs8", bytes, "Ed25519", false, ["sign"]);
  } catch {
    throw new Error("it is not an Ed25519 private key");
  }
}

/** Public keys: PEM blocks, one after the other, or raw keys as base64, one a line; `#` comments. */
export async function readPublicKeys(text: string): Promise<readonly FilterKey[]> {
  if (text.length > MAX_KEY_TEXT) throw new Error(`keys over ${MAX_KEY_TEXT} bytes`);
  if (text.includes("PRIVATE KEY")) {
    throw new Error("there is a private key in it: only public keys belong there");
  }
  const found = blocks(text, "PUBLIC KEY");
  if (found.length === 0) {
    for (const line of text.split(/\r?\n/).map((l) => l.trim())) {
      if (line === "" || line.startsWith("#")) continue;
      const raw = base64(line);
      if (raw?.length !== KEY_BYTES) {
        throw new Error("a line is neither in a PEM PUBLIC KEY nor 32 bytes as base64");
      }
      found.push(join(hex(PUBLIC_PREFIX), raw));
    }
  }
  if (found.length === 0) throw new Error("there is no public key in it");
  if (found.length > MAX_KEYS) throw new Error(`${found.length} keys: at most ${MAX_KEYS}`);
  return await Promise.all(found.map(async (spki): Promise<FilterKey> => {
    try {
      const key = await crypto.subtle.importKey("spki", spki, "Ed25519", true, ["verify"]);
      return { key, id: await keyId(spki.subarray(-KEY_BYTES)) };
    } catch {
      throw new Error("one of them is not an Ed25519 public key");
    }
  }));
}

/** Signs the module with this digest (64 hex digits). */
export async function signModule(key: CryptoKey, sha256: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign("Ed25519", key, message(sha256)));
}

/** The key that signed the module, or null. */
export async function signerOf(
  keys: readonly FilterKey[],
  sha256: string,
  signature: Uint8Array,
): Promise<FilterKey | null> {
  if (signature.length !== SIGNATURE_BYTES) return null;
  for (const key of keys) {
    const bytes = new Uint8Array(signature);
    if (await crypto.subtle.verify("Ed25519", key.key, bytes, message(sha256))) return key;
  }
  return null;
}

/** Verifies by `keys`: an unsigned module, or one that none of them signed, is refused. */
export function requireSignature(keys: readonly FilterKey[]): SignatureCheck {
  const ids = keys.map((key) => key.id).join(", ");
  return async (sha256, signature) => {
    const module = `module ${sha256.slice(0, 12)}`;
    if (signature === null || signature === undefined || signature.length === 0) {
      throw new FilterRefused(`${module} is not signed; keys that are trusted: ${ids}`);
    }
    if (await signerOf(keys, sha256, signature) === null) {
      throw new FilterRefused(
        `the signature of ${module} was not made by a key that is trusted (${ids})`,
      );
    }
  };
}

/** Verifies by the keys of `text`; null: by none, everything passes. */
export async function signatureCheck(text: string | null): Promise<SignatureCheck | null> {
  return text === null ? null : requireSignature(await readPublicKeys(text));
}

function message(sha256: string): Uint8Array<ArrayBuffer> {
  return join(new TextEncoder().encode(DOMAIN), hex(sha256));
}

async function keyId(raw: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(raw)));
  return Array.from(digest.subarray(0, 4), (b) => b.toString(16).padStart(2, "0")).join("");
}

function pem(label: string, der: Uint8Array): string {
  const lines = signatureText(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The contents of the PEM blocks with this label (RFC 7468). */
function blocks(text: string, label: string): Uint8Array<ArrayBuffer>[] {
  const found: Uint8Array<ArrayBuffer>[] = [];
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, at + 1)) {
    const to = text.indexOf(end, at);
    const bytes = to < 0 ? null : base64(text.slice(at + begin.length, to).replaceAll(/\s/g, ""));
    if (bytes === null) throw new Error(`a PEM ${label} in it is damaged`);
    found.push(bytes);
  }
  return found;
}

/** Null for what is no base64. */
function base64(text: string): Uint8Array<ArrayBuffer> | null {
  if (text === "" || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
}

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
