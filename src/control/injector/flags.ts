// The injector's command line. Each bad flag is one line that names it.

import { parseSocketAddr, type SocketAddr } from "../../core/addr.ts";
import { errorText } from "../../core/errors.ts";
import { LOG_LEVELS, type LogLevel } from "../../core/log.ts";

/** How the injector is started. */
export interface InjectorFlags {
  readonly listen: SocketAddr;
  readonly admin: SocketAddr;
  /** File of the values, as JSON. */
  readonly values: string;
  /** File of the trust anchors. */
  readonly anchors: string;
  /** Folder of `tls.crt` and `tls.key`. */
  readonly tls: string;
  /** Of the API server; null: as a pod finds it. */
  readonly apiServer: string | null;
  /** Folder of `token` and `ca.crt`. */
  readonly account: string;
  readonly logLevel: LogLevel;
  readonly logFormat: "plain" | "json";
}

const DEFAULTS: Readonly<Record<string, string>> = {
  "--listen": "127.0.0.1:8443",
  "--admin-listen": "127.0.0.1:9995",
  "--values": "/var/run/linkerd/config/values",
  "--anchors": "/var/run/linkerd/identity/trust-roots/ca-bundle.crt",
  "--tls": "/var/run/linkerd/tls",
  "--api-server": "",
  "--service-account": "/var/run/secrets/kubernetes.io/serviceaccount",
  "--log-level": "info",
  "--log-format": "plain",
};

/** Printed by `--help`. */
export const USAGE = [
  "Usage: injector [flags]",
  "",
  "The mesh's mutating webhook. Flags with their defaults:",
  "",
  ...Object.entries(DEFAULTS).map(([flag, value]) => `  ${flag}=${value}`),
].join("\n");

/** Null: help is asked for. Throws one line. */
export function parseInjectorFlags(argv: readonly string[]): InjectorFlags | null {
  const given = new Map<string, string>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (word === "--help" || word === "-h") return null;
    const cut = word.indexOf("=");
    const name = cut < 0 ? word : word.slice(0, cut);
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw new Error(`Unknown flag ${JSON.stringify(name)}: run it with --help`);
    }
    const value = cut < 0 ? argv[++i] : word.slice(cut + 1);
    if (value === undefined || value === "") throw new Error(`${name} needs a value`);
    given.set(name, value);
  }
  const text = (name: string) => given.get(name) ?? DEFAULTS[name] ?? "";
  const address = (name: string): SocketAddr => {
    try {
      return parseSocketAddr(text(name));
    } catch (e) {
      throw new Error(`${name}: ${errorText(e)}`);
    }
  };
  const level = LOG_LEVELS.find((l) => l === text("--log-level"));
  if (level === undefined) throw new Error(`--log-level is not one of ${LOG_LEVELS.join(", ")}`);
  const format = text("--log-format");
  if (format !== "plain" && format !== "json") {
    throw new Error("--log-format is neither plain nor json");
  }
  const api = text("--api-server");
  if (api !== "" && !/^https?:\/\/[^/]+$/.test(api)) {
    throw new Error("--api-server is not https://HOST:PORT");
  }
  return {
    listen: address("--listen"),
    admin: address("--admin-listen"),
    values: text("--values"),
    anchors: text("--anchors"),
    tls: text("--tls"),
    apiServer: api === "" ? null : api,
    account: text("--service-account"),
    logLevel: level,
    logFormat: format,
  };
}
