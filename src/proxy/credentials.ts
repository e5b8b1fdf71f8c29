// This proxy's certificate: asked of the identity service (`Certify`), checked, published, and renewed
// before it expires. `main.ts` waits for the first one, then hands each to the driver's TLS. Keys and
// tokens pass through here and are never logged.

import { createClient, type Transport } from "@connectrpc/connect";
import { Identity } from "../api/gen/identity_pb.ts";
import { type Clock, delay } from "../core/clock.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { type Watch, WatchSource } from "../core/watch.ts";
import { type BackoffConfig, backoffOf } from "./config.ts";

/** What mutual TLS needs, all of one certificate. */
export interface Credentials {
  /** PEM, leaf first. */
  readonly certPem: string;
  /** PEM, PKCS#8. Never logged. */
  readonly keyPem: string;
  readonly anchorsPem: string;
  /** The one name in the certificate. */
  readonly identity: string;
  /** The SNI under which this proxy is a server. */
  readonly serverName: string;
  /** Milliseconds since the epoch. */
  readonly expiresMs: number;
}

/** Files and cryptography, handed in by `main.ts` from `runtime/secrets.ts`. */
export interface IdentitySecrets {
  readonly keyPem: string;
  readonly anchorsPem: string;
  readonly csr: Uint8Array;
  /** Read anew for each request. */
  token(): Promise<Uint8Array>;
  /** Throws a sentence when the certificate must not be used: chain, key, name or dates. */
  check(
    candidate: { leaf: Uint8Array; intermediates: readonly Uint8Array[] },
    nowMs: number,
  ): { certPem: string; expiresMs: number };
}

/** Figures for `/metrics`. */
export interface CredentialStats {
  readonly refreshes: number;
  readonly failures: number;
  /** When the current certificate was taken and when it expires; 0: there is none. */
  readonly refreshedMs: number;
  readonly expiresMs: number;
  /** Why the last try failed, in one line; empty after a success. */
  readonly lastError: string;
}

/** A running renewal. */
export interface CredentialKeeper {
  /** Null until the first certificate; then the newest good one, for ever. */
  readonly credentials: Watch<Credentials | null>;
  stats(): CredentialStats;
  close(): void;
}

export interface CredentialOptions {
  readonly identity: {
    readonly id: string;
    readonly serverName: string;
    readonly minRefreshMs: number;
    readonly maxRefreshMs: number;
    readonly svc: { readonly backoff: BackoffConfig };
  };
  readonly secrets: IdentitySecrets;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** Renewed when this share of the remaining lifetime has passed. */
const REFRESH_AT = 0.7;
/** One answer of the identity service. */
const CERTIFY_TIMEOUT_MS = 30_000;
/** How long without a first certificate until that is said. */
const WARN_AFTER_MS = 15_000;
/** What the service says is not ours to trust, also not in length. */
const MAX_ERROR_TEXT = 500;
/** The date is looked at this often, since a machine that slept has another one. */
const LOOK_MS = 60_000;

/** Starts to ask, at once and until `close`. */
export function keepCredentials(options: CredentialOptions): CredentialKeeper {
  const { identity, secrets, clock, random, log } = options;
  const client = createClient(Identity, options.transport);
  const backoff = backoffOf(identity.svc.backoff, random);
  const source = new WatchSource<Credentials | null>(null);
  const closed = new AbortController();
  const stats = { refreshes: 0, failures: 0, refreshedMs: 0, expiresMs: 0, lastError: "" };
  const cancelWarning = clock.after(WARN_AFTER_MS, () => {
    log.warn("No certificate yet: nothing is served before the identity service answers", {
      identity: identity.id,
      last_error: stats.lastError,
    });
  });

  const certify = async (): Promise<Credentials> => {
    const token = await secrets.token();
    const call = new AbortController();
    const onClose = () => call.abort(closed.signal.reason);
    closed.signal.addEventListener("abort", onClose, { once: true });
    const cancel = clock.after(CERTIFY_TIMEOUT_MS, () => {
      call.abort(new Error(`no answer after ${CERTIFY_TIMEOUT_MS} ms`));
    });
    try {
      const answer = await client.certify(
        { identity: identity.id, token, certificateSigningRequest: secrets.csr },
        { signal: call.signal },
      );
      const candidate = {
        leaf: answer.leafCertificate,
        intermediates: answer.intermediateCertificates,
      };
      const { certPem, expiresMs } = secrets.check(candidate, clock.wall());
      const validUntil = answer.validUntil === undefined
        ? expiresMs
        : Number(answer.validUntil.seconds) * 1000;
      const { keyPem, anchorsPem } = secrets;
      return {
        certPem,
        keyPem,
        anchorsPem,
        identity: identity.id,
        serverName: identity.serverName,
        expiresMs: Math.min(expiresMs, validUntil),
      };
    } finally {
      cancel();
      closed.signal.removeEventListener("abort", onClose);
    }
  };

  /** How long to wait before the next try. */
  const tryOnce = async (): Promise<number> => {
    try {
      const credentials = await certify();
      if (closed.signal.aborted) return 0;
      cancelWarning();
      backoff.reset();
      const nowMs = clock.wall();
      stats.refreshes++;
      stats.refreshedMs = nowMs;
      stats.expiresMs = credentials.expiresMs;
      stats.lastError = "";
      log.info("Took a certificate", {
        identity: identity.id,
        expires: new Date(credentials.expiresMs).toISOString(),
      });
      source.set(credentials);
      return refreshAfterMs(credentials.expiresMs - nowMs, identity);
    } catch (e) {
      if (closed.signal.aborted) return 0;
      const waitMs = backoff.next();
      stats.failures++;
      stats.lastError = errorText(e).slice(0, MAX_ERROR_TEXT);
      log.warn("Could not renew the certificate", {
        identity: identity.id,
        error: stats.lastError,
        retry_ms: Math.round(waitMs),
        expired: stats.expiresMs > 0 && stats.expiresMs <= clock.wall(),
      });
      return waitMs;
    }
  };

  const run = async (): Promise<void> => {
    while (!closed.signal.aborted) {
      const waitMs = await tryOnce();
      try {
        await sleep(clock, waitMs, closed.signal);
      } catch {
        return; // closed
      }
    }
  };
  void run();

  return {
    credentials: source,
    stats: () => ({ ...stats }),
    close: () => {
      cancelWarning();
      closed.abort(new Error("closed"));
    },
  };
}

/** Until `ms` have passed by the clock or by the date, whichever comes first. */
async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  const endMs = clock.now() + ms;
  const dueMs = clock.wall() + ms;
  for (;;) {
    const restMs = Math.min(endMs - clock.now(), dueMs - clock.wall());
    if (restMs <= 0) return;
    await delay(clock, Math.min(restMs, LOOK_MS), signal);
  }
}

/** 70 % of what remains, within the configured bounds. */
export function refreshAfterMs(
  remainingMs: number,
  bounds: { readonly minRefreshMs: number; readonly maxRefreshMs: number },
): number {
  const wanted = Math.max(0, remainingMs) * REFRESH_AT;
  return Math.min(bounds.maxRefreshMs, Math.max(bounds.minRefreshMs, wanted));
}
