// Who this control plane is to the API server, asked before each request: a token, a certificate, files
// that are replaced under us, or a program that hands one out. Nothing here logs, and no error repeats a
// secret.

import type { Clock } from "../../core/clock.ts";
import type { ExecPlugin, UserAccess } from "./kubeconfig.ts";

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface Credential {
  readonly token: string | null;
  readonly certificate: Certificate | null;
}

export interface Credentials {
  /** Rejects with one line when there is none to be had. */
  current(): Promise<Credential>;
  /** The API server did not accept it: what was remembered is forgotten. */
  refused(): void;
}

/** What credentials need of the machine. */
export interface CredentialHost {
  /** Rejects with one line when it cannot be read or is over `maxBytes`. */
  read(path: string, maxBytes: number): Promise<Uint8Array>;
  execute(what: {
    readonly command: string;
    readonly args: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly timeoutMs: number;
    readonly maxBytes: number;
  }): Promise<string>;
  readonly clock: Clock;
}

const MAX_TOKEN_BYTES = 64 * 1024;
const MAX_PEM_BYTES = 1024 * 1024;
const EXEC_TIMEOUT_MS = 30_000;
const EXEC_MAX_BYTES = 1024 * 1024;
/** A credential is replaced this long before it ends. */
const EARLY_MS = 10_000;

/** The credentials of a user of a kubeconfig, or of a pod. */
export function credentialsOf(user: UserAccess, host: CredentialHost): Credentials {
  if (user.exec !== null) return execCredentials(user.exec, host);
  const text = async (path: string, maxBytes: number) =>
    new TextDecoder().decode(await host.read(path, maxBytes));
  const pem = async (of: { data: string | null; file: string | null }) =>
    of.data ?? (of.file === null ? null : await text(of.file, MAX_PEM_BYTES));
  return {
    async current() {
      // Read each time: a projected token is replaced every hour, a certificate less often.
      const token = user.tokenFile === null
        ? user.token
        : (await text(user.tokenFile, MAX_TOKEN_BYTES)).trim();
      if (token !== null && !isToken(token)) {
        throw new Error(`${user.tokenFile ?? "the user's token"} does not hold a token`);
      }
      const [cert, key] = await Promise.all([pem(user.certificate), pem(user.key)]);
      return { token, certificate: cert === null || key === null ? null : { cert, key } };
    },
    refused() {},
  };
}

/** Bearer tokens (RFC 6750): what else is in the file must not end up in a header. */
function isToken(text: string): boolean {
  return /^[A-Za-z0-9\-._~+/]+=*$/.test(text);
}

function execCredentials(plugin: ExecPlugin, host: CredentialHost): Credentials {
  let held: { readonly credential: Credential; readonly untilMs: number } | null = null;
  let running: Promise<Credential> | null = null;
  const run = async (): Promise<Credential> => {
    const output = await host.execute({
      command: plugin.command,
      args: plugin.args,
      env: { ...plugin.env, KUBERNETES_EXEC_INFO: execInfo(plugin) },
      timeoutMs: EXEC_TIMEOUT_MS,
      maxBytes: EXEC_MAX_BYTES,
    }).catch((e: unknown) => {
      const hint = plugin.installHint === "" ? "" : ` (${plugin.installHint})`;
      throw new Error(
        `The credential plugin ${e instanceof Error ? e.message : plugin.command}${hint}`,
      );
    });
    held = readExecCredential(output, plugin);
    return held.credential;
  };
  return {
    async current() {
      if (held !== null && host.clock.wall() < held.untilMs - EARLY_MS) return held.credential;
      return await (running ??= run().finally(() => running = null));
    },
    refused() {
      held = null;
    },
  };
}

function execInfo({ apiVersion, cluster }: ExecPlugin): string {
  const spec = { interactive: false, ...(cluster === null ? {} : { cluster }) };
  return JSON.stringify({ apiVersion, kind: "ExecCredential", spec });
}

/** As in client.authentication.k8s.io: a token, a certificate, or both, and when they end. */
function readExecCredential(output: string, { command, apiVersion }: ExecPlugin) {
  const bad = (what: string) => new Error(`The credential plugin ${command} ${what}`);
  let answer: {
    kind?: unknown;
    apiVersion?: unknown;
    status?: Record<string, unknown> | null;
  } | null;
  try {
    answer = JSON.parse(output);
  } catch {
    throw bad("did not write JSON");
  }
  if (answer?.kind !== "ExecCredential" || answer.apiVersion !== apiVersion) {
    throw bad(`did not write an ExecCredential of ${apiVersion}`);
  }
  const status = answer.status ?? {};
  const text = (name: string) => {
    const value = status[name];
    return typeof value === "string" && value !== "" ? value : null;
  };
  const token = text("token");
  const cert = text("clientCertificateData");
  const key = text("clientKeyData");
  if ((cert === null) !== (key === null)) throw bad("gave half of a certificate and key");
  if (token === null && cert === null) throw bad("gave neither token nor certificate");
  if (token !== null && !isToken(token)) throw bad("gave a token that is none");
  const ends = text("expirationTimestamp");
  const untilMs = ends === null ? Infinity : Date.parse(ends);
  if (Number.isNaN(untilMs)) throw bad("gave an expirationTimestamp that is no time");
  const certificate = cert === null || key === null ? null : { cert, key };
  return { credential: { token, certificate }, untilMs };
}
