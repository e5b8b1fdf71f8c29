// The files of this proxy's identity: key and signing request in the identity folder, the token beside
// it. Made or read once at start, before the first `Certify`. Nothing here logs, and no error repeats
// what a file holds.

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { errorText } from "../core/errors.ts";
import { createCsr, isCsrFor } from "./csr.ts";
import { type Accepted, type Candidate, checkCandidate, parseAnchors } from "./trust.ts";

const MAX_TOKEN_BYTES = 64 * 1024;
const MAX_KEY_BYTES = 4096;

/** What `proxy/credentials.ts` needs of files and cryptography. */
export interface Secrets {
  readonly keyPem: string;
  readonly anchorsPem: string;
  /** DER PKCS#10, the same for the whole life of the process. */
  readonly csr: Uint8Array;
  /** The token, read anew on each call: a projected token is replaced under us. */
  token(): Promise<Uint8Array>;
  /** Throws a sentence that says why the certificate cannot be used. */
  check(candidate: Candidate, nowMs: number): Accepted;
}

/**
 * Opens the identity folder: takes its key and request when they belong together and to `name`, else
 * makes new ones (`key.p8`, DER PKCS#8, and `csr.der`, both readable by their owner only).
 *
 * Rejects when the folder cannot be written, the anchors cannot be parsed or the token cannot be read.
 */
export async function openSecrets(options: {
  dir: string;
  tokenFile: string;
  name: string;
  anchorsPem: string;
}): Promise<Secrets> {
  const { dir, tokenFile, name, anchorsPem } = options;
  const anchors = parseAnchors(anchorsPem);
  const token = () => readToken(tokenFile);
  await token();
  const { key, csr } = await load(dir, name) ?? await make(dir, name);
  return {
    keyPem: key.export({ type: "pkcs8", format: "pem" }).toString(),
    anchorsPem,
    csr,
    token,
    check: (candidate, nowMs) => checkCandidate(candidate, name, key, anchors, nowMs),
  };
}

interface Pair {
  readonly key: KeyObject;
  readonly csr: Uint8Array;
}

async function load(dir: string, name: string): Promise<Pair | null> {
  try {
    const path = join(dir, "key.p8");
    // A key that others could read is not one to go on with.
    const { mode, size } = await stat(path);
    if ((mode & 0o077) !== 0 || size > MAX_KEY_BYTES) return null;
    const key = createPrivateKey({ key: await readFile(path), format: "der", type: "pkcs8" });
    if (!isP256(key)) return null;
    const csr = new Uint8Array(await readFile(join(dir, "csr.der")));
    return isCsrFor(csr, key, name) ? { key, csr } : null;
  } catch {
    return null;
  }
}

async function make(dir: string, name: string): Promise<Pair> {
  const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const csr = createCsr(key, name);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writePrivate(join(dir, "key.p8"), key.export({ type: "pkcs8", format: "der" }));
    await writePrivate(join(dir, "csr.der"), csr);
  } catch (e) {
    throw new Error(`Cannot write the identity folder ${dir}: ${errorText(e)}`, { cause: e });
  }
  return { key, csr };
}

/** Whole or not at all, and never readable by others, not even for a moment. */
async function writePrivate(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(bytes);
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (e) {
    await rm(temporary, { force: true });
    throw e;
  }
}

async function readToken(path: string): Promise<Uint8Array> {
  let size: number;
  let bytes: Uint8Array;
  try {
    size = (await stat(path)).size;
    bytes = size > MAX_TOKEN_BYTES ? new Uint8Array() : new Uint8Array(await readFile(path));
  } catch (e) {
    throw new Error(`Cannot read the identity token ${path}: ${errorText(e)}`, { cause: e });
  }
  if (size > MAX_TOKEN_BYTES) throw new Error(`The identity token ${path} is over 64 KiB`);
  if (bytes.length === 0) throw new Error(`The identity token ${path} is empty`);
  return bytes;
}

function isP256(key: KeyObject): boolean {
  const curve = createPublicKey(key).asymmetricKeyDetails?.namedCurve;
  return key.asymmetricKeyType === "ec" && (curve === "prime256v1" || curve === "P-256");
}
