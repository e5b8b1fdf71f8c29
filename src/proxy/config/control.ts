// The control plane's addresses, this proxy's identity and its log: what a proxy needs before it serves.

import { isPodLocal } from "../../model/loopback.ts";
import type {
  ControlAddr,
  InboundConfig,
  LogFormat,
  OutboundConfig,
  ProxyConfig,
} from "../config.ts";
import * as grammar from "./grammar.ts";
import { parseLogFilter } from "./log-filter.ts";
import type { EnvName } from "./names.ts";
import type { EnvReader } from "./reader.ts";
import { parseIdentity, parseLogFormat, parsePath, parsePem, parseServerId } from "./values.ts";

/** What comes before `_ADDR` and `_NAME` of a control-plane service. */
export type ControlName =
  | "LINKERD2_PROXY_DESTINATION_SVC"
  | "LINKERD2_PROXY_POLICY_SVC"
  | "LINKERD2_PROXY_IDENTITY_SVC";

/** Where a control-plane service is and who must answer there. */
export function controlAddr(
  read: EnvReader,
  base: ControlName,
  inbound: InboundConfig,
  outbound: OutboundConfig,
): ControlAddr {
  const addr = read.require(`${base}_ADDR`, grammar.parseHostPort, { host: "127.0.0.1", port: 0 });
  const identity = read.get<string | null>(`${base}_NAME`, parseIdentity, null);
  const limits = streamLimits(read);
  if (isLocalHost(addr.host, inbound.ips)) {
    return {
      ...addr,
      identity: null,
      backoff: inbound.connectBackoff,
      initialTimeoutMs: null,
      idleTimeoutMs: null,
      lifetimeMs: null,
    };
  }
  if (identity === null && !read.has(`${base}_NAME`)) {
    read.problem(`${base}_NAME`, `must name the identity of ${addr.host}, which is not loopback`);
  }
  return { ...addr, identity: identity ?? "", backoff: outbound.connectBackoff, ...limits };
}

/** Whether a control address is inside the pod, where no other proxy terminates TLS. */
function isLocalHost(host: string, podIps: readonly string[]): boolean {
  return isPodLocal(host, podIps) || /^localhost\.?$/i.test(host);
}

function streamLimits(read: EnvReader) {
  const limit = (name: EnvName) =>
    read.get<number | null>(name, grammar.parseOptionalDuration, null);
  return {
    initialTimeoutMs: limit("LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT"),
    idleTimeoutMs: limit("LINKERD2_PROXY_CONTROL_STREAM_IDLE_TIMEOUT"),
    lifetimeMs: limit("LINKERD2_PROXY_CONTROL_STREAM_LIFETIME"),
  };
}

/** How long an answer of DNS is kept at least and at most; what was set wins over its own time. */
export function dnsTtl(read: EnvReader): ProxyConfig["dnsTtl"] {
  const bound = (name: EnvName) => read.get<number | null>(name, grammar.parseDuration, null);
  return {
    minMs: bound("LINKERD2_PROXY_DNS_MIN_TTL"),
    maxMs: bound("LINKERD2_PROXY_DNS_MAX_TTL"),
  };
}

/** This proxy's own identity. `LOCAL_NAME` gives both identity and server name. */
export function identityConfig(read: EnvReader) {
  const localName = read.get<string | null>(
    "LINKERD2_PROXY_IDENTITY_LOCAL_NAME",
    parseIdentity,
    null,
  );
  const serverId = read.get<string | null>(
    "LINKERD2_PROXY_IDENTITY_SERVER_ID",
    parseServerId,
    null,
  );
  const serverName = read.get<string | null>(
    "LINKERD2_PROXY_IDENTITY_SERVER_NAME",
    parseIdentity,
    null,
  );
  if (!read.has("LINKERD2_PROXY_IDENTITY_LOCAL_NAME")) {
    const both = "LINKERD2_PROXY_IDENTITY_SERVER_ID";
    if (!read.has(both) && !read.has("LINKERD2_PROXY_IDENTITY_SERVER_NAME")) {
      read.problem("LINKERD2_PROXY_IDENTITY_LOCAL_NAME", "must be set");
    } else if (!read.has(both)) {
      read.problem(both, "must be set with _SERVER_NAME");
    } else if (!read.has("LINKERD2_PROXY_IDENTITY_SERVER_NAME")) {
      read.problem("LINKERD2_PROXY_IDENTITY_SERVER_NAME", "must be set with _SERVER_ID");
    }
  }
  const minRefreshMs = read.get(
    "LINKERD2_PROXY_IDENTITY_MIN_REFRESH",
    grammar.parseDuration,
    10_000,
  );
  const maxRefreshMs = read.get(
    "LINKERD2_PROXY_IDENTITY_MAX_REFRESH",
    grammar.parseDuration,
    86_400_000,
  );
  if (minRefreshMs > maxRefreshMs) {
    read.problem("LINKERD2_PROXY_IDENTITY_MAX_REFRESH", "must be at least _MIN_REFRESH");
  }
  return {
    dir: read.require("LINKERD2_PROXY_IDENTITY_DIR", parsePath, ""),
    anchorsPem: read.require("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", parsePem, ""),
    tokenFile: read.require("LINKERD2_PROXY_IDENTITY_TOKEN_FILE", parsePath, ""),
    id: localName ?? serverId ?? "",
    serverName: localName ?? serverName ?? "",
    minRefreshMs,
    maxRefreshMs,
  };
}

/** What is logged, and how. */
export function logConfig(read: EnvReader): ProxyConfig["log"] {
  const filter = read.get("LINKERD2_PROXY_LOG", String, "").trim() || "warn,linkerd=info";
  return {
    filter,
    level: read.get("LINKERD2_PROXY_LOG", (t) => parseLogFilter(t.trim() || filter), "info"),
    format: read.get<LogFormat>("LINKERD2_PROXY_LOG_FORMAT", parseLogFormat, "plain"),
  };
}

/**
 * Switches that choose another identity, or none. Ignoring one would give a proxy another name than its
 * owner thinks, so each is refused.
 */
export function refuseOtherIdentities(read: EnvReader): void {
  const refuse = (name: EnvName, why: string) =>
    read.get(name, (text) => {
      if (text !== "") throw new Error(`must not be set: ${why}`);
      return "";
    }, "");
  refuse("LINKERD2_PROXY_IDENTITY_DISABLED", "every proxy has an identity");
  const spire = "identities come from the control plane, not from SPIRE";
  refuse("LINKERD2_PROXY_IDENTITY_SPIRE_WORKLOAD_API_ADDRESS", spire);
  refuse("LINKERD2_PROXY_IDENTITY_SPIRE_SOCKET", spire);
}
