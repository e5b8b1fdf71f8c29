// The issuer and the trust anchors as Kubernetes mounts them: the Secret `linkerd-identity-issuer` and
// the ConfigMap `linkerd-identity-trust-roots`. Looked at anew when they change; what cannot be used is
// said once, and the last good pair goes on signing. No key is ever logged.

import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { Counters } from "../counters.ts";
import type { FileSystem } from "../files/file-system.ts";
import { type Authority, authorityOf, readPair } from "./authority.ts";
import { x509 } from "./x509.ts";

/** Names of certificate and key in the Secret: Linkerd's own scheme, and kubernetes.io/tls. */
const SCHEMES = [
  { certificate: "crt.pem", key: "key.pem" },
  { certificate: "tls.crt", key: "tls.key" },
] as const;
const MAX_PEM_BYTES = 1024 * 1024;
const MAX_ANCHORS = 256;
/** Mounts are replaced by a link, which not every file system tells of. */
const POLL_MS = 10_000;
/** The two mounts change one after the other: what does not fit yet may fit soon. */
const QUIET_MS = 100;

export interface MountedIssuer {
  /** The last good one. */
  readonly current: Authority;
  close(): void;
}

export interface MountedIssuerOptions {
  /** The Secret's mount. */
  readonly dir: string;
  /** A PEM file: the bundle of trust anchors. */
  readonly anchors: string;
  readonly files: FileSystem;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Logger;
  readonly onChange: () => void;
}

/** Reads both and follows them. Rejects with one line when there is nothing good to begin with. */
export async function openMountedIssuer(options: MountedIssuerOptions): Promise<MountedIssuer> {
  const { dir, anchors, files, clock, counters, log, onChange } = options;
  let read = await readIssuer(options);
  let current = read.authority;
  let said = "";
  let closed = false;
  let cancelPoll = () => {};
  let cancelSoon = () => {};
  let looking: Promise<void> | null = null;

  const look = (): Promise<void> =>
    looking ??= (async () => {
      try {
        const next = await readIssuer(options);
        if (said !== "") log.info("the issuer can be read again");
        said = "";
        if (next.stamp === read.stamp || closed) return;
        read = next;
        current = next.authority;
        log.info("the issuer or the trust anchors changed", {
          anchors: current.anchors.length,
          issuerSerial: next.serial,
        });
        onChange();
      } catch (e) {
        const why = errorText(e);
        if (why === said || closed) return;
        said = why;
        counters.refused("issuer");
        log.warn(`${why}; the issuer before it goes on signing`);
      }
    })().finally(() => looking = null);
  const poll = () => {
    if (!closed) cancelPoll = clock.after(POLL_MS, () => void look().then(poll));
  };
  const soon = () => {
    cancelSoon();
    if (!closed) cancelSoon = clock.after(QUIET_MS, () => void look());
  };
  const ends = [dir, files.folderOf(anchors)].map((folder) => files.watch(folder, soon));
  poll();
  return {
    get current() {
      return current;
    },
    close() {
      closed = true;
      cancelPoll();
      cancelSoon();
      for (const end of ends) end();
    },
  };
}

async function readIssuer(options: MountedIssuerOptions) {
  const { dir, anchors: anchorsPath, files, clock } = options;
  const nowMs = clock.wall();
  const anchorsText = text(await files.read(anchorsPath, MAX_PEM_BYTES));
  const anchors = certificates(anchorsText, anchorsPath);
  const { names, certificate, key } = await readScheme(dir, files);
  const pair = await readPair(certificate, key, nowMs, names);
  const [, ...intermediates] = certificates(text(certificate), `${dir}/${names.certificate}`);
  await checkTrust([pair.certificate, ...intermediates], anchors, nowMs, anchorsPath);
  return {
    authority: authorityOf(pair, { anchors, intermediates }),
    serial: pair.certificate.serialNumber,
    stamp: `${anchorsText}\n${text(certificate)}`,
  };
}

async function readScheme(dir: string, files: FileSystem) {
  let first: unknown = null;
  for (const names of SCHEMES) {
    try {
      const [certificate, key] = await Promise.all([
        files.read(files.resolve(dir, names.certificate), MAX_PEM_BYTES),
        files.read(files.resolve(dir, names.key), MAX_PEM_BYTES),
      ]);
      return { names, certificate, key };
    } catch (e) {
      first ??= e;
    }
  }
  throw new Error(
    `The issuer cannot be read: ${errorText(first)}, and there is no tls.crt with tls.key either`,
  );
}

function certificates(pem: string, path: string): x509.X509Certificate[] {
  try {
    const all = x509.PemConverter.decode(pem).map((der) => new x509.X509Certificate(der));
    if (all.length === 0) throw new Error("it has no certificate");
    if (all.length > MAX_ANCHORS) throw new Error(`it has more than ${MAX_ANCHORS} certificates`);
    return all;
  } catch (e) {
    throw new Error(`${path} cannot be read: ${errorText(e)}`);
  }
}

/** Each certificate is signed by the next, and the last by an anchor, or is one. */
async function checkTrust(
  chain: readonly x509.X509Certificate[],
  anchors: readonly x509.X509Certificate[],
  nowMs: number,
  path: string,
): Promise<void> {
  const signedBy = (c: x509.X509Certificate, by: x509.X509Certificate) =>
    c.verify({ publicKey: by.publicKey, signatureOnly: true }).catch(() => false);
  for (const [i, certificate] of chain.entries()) {
    const next = chain[i + 1];
    if (next !== undefined && !await signedBy(certificate, next)) {
      throw new Error("The issuer's chain is not in order: each must be signed by the next");
    }
  }
  for (const certificate of chain) {
    for (const anchor of anchors) {
      if (anchor.notAfter.getTime() <= nowMs) continue;
      if (certificate.equal(anchor) || await signedBy(certificate, anchor)) return;
    }
  }
  throw new Error(`The issuer is not signed by a trust anchor of ${path} that is in force`);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
