// The inbound and the outbound side of the configuration: what both have, and what only one has.

import type { BackoffConfig, DirectionConfig, InboundConfig, OutboundConfig } from "../config.ts";
import * as grammar from "./grammar.ts";
import type { EnvReader } from "./reader.ts";
import { http2ClientWindows, http2Config } from "./http2.ts";
import { parseAuthorityLabels, parseDefaultPolicy } from "./values.ts";

/** The inbound side. `adminPort` is always among the watched ports. */
export function inboundConfig(
  read: EnvReader,
  adminPort: number,
  clusterNetworks: readonly string[],
): InboundConfig {
  const ports = read.get(
    "LINKERD2_PROXY_INBOUND_PORTS",
    (text) => grammar.listPorts(grammar.parsePorts(text), MAX_INBOUND_PORTS),
    [],
  );
  const listen = read.get("LINKERD2_PROXY_INBOUND_LISTEN_ADDR", grammar.parseListen, {
    ip: "0.0.0.0",
    port: 4143,
  });
  const gatewaySuffixes = read.get(
    "LINKERD2_PROXY_INBOUND_GATEWAY_SUFFIXES",
    grammar.parseSuffixes,
    [],
  );
  // A gateway authorizes by the policy of the mesh port.
  const own = gatewaySuffixes.length === 0 ? [adminPort] : [adminPort, listen.port];
  return {
    listen,
    ips: read.get("LINKERD2_PROXY_INBOUND_IPS", grammar.parseIps, []),
    ports: [...ports, ...own.filter((port) => !ports.includes(port))],
    defaultPolicy: read.get(
      "LINKERD2_PROXY_INBOUND_DEFAULT_POLICY",
      (text) => parseDefaultPolicy(text, clusterNetworks),
      "all-unauthenticated",
    ),
    opaquePorts: read.get(
      "LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION",
      grammar.parsePorts,
      { ranges: [] },
    ),
    authorityLabels: read.get(
      "LINKERD2_PROXY_INBOUND_METRICS_AUTHORITY_LABELS",
      parseAuthorityLabels,
      false,
    ),
    gatewaySuffixes,
    ...directionConfig(read, "INBOUND", {
      connectTimeoutMs: 300,
      backoffMaxMs: 10_000,
      failfastMs: 1000,
      discoveryIdleMs: 90_000,
    }),
  };
}

/** Each watched port is a stream; a pod has a handful. */
const MAX_INBOUND_PORTS = 1000;

/** The outbound side. */
export function outboundConfig(read: EnvReader): OutboundConfig {
  const single = read.get("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR", grammar.parseListen, {
    ip: "127.0.0.1",
    port: 4140,
  });
  const ingress = read.get("LINKERD2_PROXY_INGRESS_MODE", grammar.parseBoolean, false);
  return {
    ingress,
    hostnameLabels: read.get(
      "LINKERD2_PROXY_OUTBOUND_METRICS_HOSTNAME_LABELS",
      grammar.parseBoolean,
      false,
    ),
    http2Client: http2ClientWindows(read),
    listen: read.get("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS", grammar.parseListens, [single]),
    tcpQueueCapacity: read.get(
      "LINKERD2_PROXY_OUTBOUND_TCP_QUEUE_CAPACITY",
      grammar.parseCount,
      10_000,
    ),
    tcpFailfastMs: read.get(
      "LINKERD2_PROXY_OUTBOUND_TCP_FAILFAST_TIMEOUT",
      grammar.parseDuration,
      3000,
    ),
    informationalHeaders: !read.get(
      "LINKERD2_PROXY_OUTBOUND_DISABLE_INFORMATIONAL_HEADERS",
      grammar.parseBoolean,
      ingress,
    ),
    ...directionConfig(read, "OUTBOUND", {
      connectTimeoutMs: 1000,
      backoffMaxMs: 60_000,
      failfastMs: 3000,
      discoveryIdleMs: 5000,
    }),
  };
}

function directionConfig(
  read: EnvReader,
  side: "INBOUND" | "OUTBOUND",
  or: {
    connectTimeoutMs: number;
    backoffMaxMs: number;
    failfastMs: number;
    discoveryIdleMs: number;
  },
): DirectionConfig {
  const { parseCount, parseDuration } = grammar;
  return {
    http2: http2Config(read, side),
    listenBacklog: read.get<number | null>(
      `LINKERD2_PROXY_${side}_TCP_LISTEN_BACKLOG`,
      grammar.parseBacklog,
      null,
    ),
    connectTimeoutMs: read.get(
      `LINKERD2_PROXY_${side}_CONNECT_TIMEOUT`,
      parseDuration,
      or.connectTimeoutMs,
    ),
    connectBackoff: backoffConfig(read, side, or.backoffMaxMs),
    detectTimeoutMs: read.get(`LINKERD2_PROXY_${side}_DETECT_TIMEOUT`, parseDuration, 10_000),
    queueCapacity: read.get(`LINKERD2_PROXY_${side}_HTTP_QUEUE_CAPACITY`, parseCount, 10_000),
    failfastMs: read.get(
      `LINKERD2_PROXY_${side}_HTTP_FAILFAST_TIMEOUT`,
      parseDuration,
      or.failfastMs,
    ),
    maxInFlight: read.get(`LINKERD2_PROXY_${side}_MAX_IN_FLIGHT`, parseCount, 100_000),
    poolIdleMs: read.get(
      `LINKERD2_PROXY_${side}_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT`,
      parseDuration,
      3000,
    ),
    maxIdlePerEndpoint: read.get(
      side === "INBOUND"
        ? "LINKERD2_PROXY_MAX_IDLE_CONNS_PER_ENDPOINT"
        : "LINKERD2_PROXY_OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT",
      parseCount,
      10_000,
    ),
    discoveryIdleMs: read.get(
      `LINKERD2_PROXY_${side}_DISCOVERY_IDLE_TIMEOUT`,
      parseDuration,
      or.discoveryIdleMs,
    ),
    acceptKeepaliveMs: read.get<number | null>(
      `LINKERD2_PROXY_${side}_ACCEPT_KEEPALIVE`,
      parseDuration,
      null,
    ),
    connectKeepaliveMs: read.get<number | null>(
      `LINKERD2_PROXY_${side}_CONNECT_KEEPALIVE`,
      parseDuration,
      null,
    ),
  };
}

function backoffConfig(
  read: EnvReader,
  side: "INBOUND" | "OUTBOUND",
  maxMs: number,
): BackoffConfig {
  const base = `LINKERD2_PROXY_${side}_CONNECT_EXP_BACKOFF` as const;
  const min = read.get<number | null>(`${base}_MIN`, grammar.parseDuration, null);
  const max = read.get<number | null>(`${base}_MAX`, grammar.parseDuration, null);
  const jitter = read.get(`${base}_JITTER`, grammar.parseRatio, 0.1);
  if (min === null && max === null) return { minMs: 100, maxMs, jitter };
  // A value that did not parse has its own problem already.
  if (min === null && !read.has(`${base}_MIN`)) {
    read.problem(`${base}_MIN`, "must be set with _MAX");
  }
  if (max === null && !read.has(`${base}_MAX`)) {
    read.problem(`${base}_MAX`, "must be set with _MIN");
  }
  if (min !== null && max !== null && (min > max || max === 0)) {
    read.problem(`${base}_MAX`, "must be more than 0 and at least _MIN");
  }
  return { minMs: min ?? 100, maxMs: max ?? maxMs, jitter };
}
