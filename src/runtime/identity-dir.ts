// A folder with a key, a certificate and trust anchors, as cert-manager writes them into a Secret. For
// a proxy without a control plane; with one, `secrets.ts` and the identity service do this.

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { subjectAltNames } from "./der.ts";
import type { TlsMaterial } from "./mesh-tls.ts";

/** What is in the folder, and who that makes us. */
export interface DirIdentity extends TlsMaterial {
  readonly identity: string;
}

/** Reads `tls.key`, `tls.crt` (leaf first) and `ca.crt`. Rejects with one line that names the file. */
export async function readIdentityDir(dir: string): Promise<DirIdentity> {
  const keyPem = await read(dir, "tls.key", "PRIVATE KEY");
  const certPem = await read(dir, "tls.crt", "CERTIFICATE");
  const anchorsPem = await read(dir, "ca.crt", "CERTIFICATE");
  let names: readonly string[];
  try {
    names = subjectAltNames(new Uint8Array(new X509Certificate(certPem).raw));
  } catch {
    throw new Error(`${join(dir, "tls.crt")} holds no certificate that can be read`);
  }
  const identity = names[0];
  if (identity === undefined) {
    throw new Error(
      `${join(dir, "tls.crt")} has no subject alternative name, so it is no identity`,
    );
  }
  return { keyPem, certPem, anchorsPem, identity, serverName: identity };
}

async function read(dir: string, name: string, what: string): Promise<string> {
  const path = join(dir, name);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (e) {
    const code = (e as { code?: string }).code ?? "unreadable";
    throw new Error(`Cannot read ${path} (${code}): --identity wants tls.key, tls.crt and ca.crt`, {
      cause: e,
    });
  }
  if (!text.includes(`${what}-----`)) throw new Error(`${path} holds no PEM ${what}`);
  return text;
}
