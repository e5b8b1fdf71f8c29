// What the environment says, as one checked value. Read once, before anything else runs; nothing here
// touches the environment itself, a file or a clock.

import { Backoff } from "../core/clock.ts";
import type { SocketAddr } from "../core/addr.ts";
import type { LogLevel } from "../core/log.ts";
import {
  controlAddr,
  type ControlName,
  dnsTtl,
  identityConfig,
  logConfig,
  refuseOtherIdentities,
} from "./config/control.ts";
import { type CoresConfig, coresConfig } from "./config/cores.ts";
import { inboundConfig, outboundConfig } from "./config/directions.ts";
import { EnvReader } from "./config/reader.ts";
import {
  namespaceOf,
  parseAccessLog,
  parseDomain,
  parseIdentity,
  parseKeys,
  parsePath,
  parseWorkload,
} from "./config/values.ts";
import * as grammar from "./config/grammar.ts";
import type { PortSet } from "./config/grammar.ts";

/** Exponential back-off: the bounds of `core/clock.ts`'s `Backoff`. */
export interface BackoffConfig {
  readonly minMs: number;
  readonly maxMs: number;
  readonly jitter: number;
}

/** A control-plane service. */
export interface ControlAddr {
  /** An IP address or a DNS name, as configured. */
  readonly host: string;
  readonly port: number;
  /** The identity that must answer; null: on this pod's loopback, spoken to in clear text. */
  readonly identity: string | null;
  readonly backoff: BackoffConfig;
  /** Limits of its streams; null: none. Always null for all three on loopback. */
  readonly initialTimeoutMs: number | null;
  readonly idleTimeoutMs: number | null;
  readonly lifetimeMs: number | null;
}

/** Inbound policy until the controller answers. */
export type DefaultPolicy =
  | "deny"
  | "all-authenticated"
  | "all-unauthenticated"
  | "cluster-authenticated"
  | "cluster-unauthenticated"
  | "audit";

/** PINGs that find a dead peer. */
export interface KeepAlive {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** What accepted HTTP/2 connections announce and bear; null: the codec's own default. */
export interface Http2Config {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly keepAlive: KeepAlive | null;
  readonly maxConcurrentStreams: number | null;
  readonly maxFrameBytes: number | null;
  readonly maxHeaderListBytes: number | null;
  readonly maxPendingResets: number | null;
  readonly maxSendBufferBytes: number | null;
}

/** How the access log is written. */
export type AccessLog = "apache" | "json";

/** What both directions have. */
export interface DirectionConfig {
  /** Connections that wait to be accepted; null: the system's choice. */
  readonly listenBacklog: number | null;
  readonly http2: Http2Config;
  readonly connectTimeoutMs: number;
  readonly connectBackoff: BackoffConfig;
  readonly detectTimeoutMs: number;
  readonly queueCapacity: number;
  readonly failfastMs: number;
  readonly maxInFlight: number;
  readonly poolIdleMs: number;
  readonly maxIdlePerEndpoint: number;
  readonly discoveryIdleMs: number;
  /** TCP keep-alive; null: off. */
  readonly acceptKeepaliveMs: number | null;
  readonly connectKeepaliveMs: number | null;
}

/** Connections from other pods to this one's application. */
export interface InboundConfig extends DirectionConfig {
  readonly listen: SocketAddr;
  /** Own addresses. Connections to others are refused; empty: all are allowed. */
  readonly ips: readonly string[];
  /** Ports whose policy is watched from the start, the admin port among them. */
  readonly ports: readonly number[];
  readonly defaultPolicy: DefaultPolicy;
  /** Opaque until the controller says otherwise. */
  readonly opaquePorts: PortSet;
  /** Whether `authority` is a label of inbound metrics. */
  readonly authorityLabels: boolean;
  /** Suffixes of names that this pod, a gateway, forwards to; empty: it is none. */
  readonly gatewaySuffixes: readonly string[];
}

/** Connections from this pod's application to others. */
export interface OutboundConfig extends DirectionConfig {
  /** One or two. */
  readonly listen: readonly SocketAddr[];
  readonly tcpQueueCapacity: number;
  readonly tcpFailfastMs: number;
  /** Whether `l5d-proxy-error` is shown to the local application. */
  readonly informationalHeaders: boolean;
  /** Requests go where `l5d-dst-override` says. */
  readonly ingress: boolean;
  /** Whether `hostname` is a label of route metrics. */
  readonly hostnameLabels: boolean;
  /** Windows of HTTP/2 connections to endpoints. */
  readonly http2Client: {
    readonly streamWindowBytes: number;
    readonly connectionWindowBytes: number;
  };
}

/** Everything, checked. */
export interface ProxyConfig {
  readonly inbound: InboundConfig;
  readonly outbound: OutboundConfig;
  readonly admin: { readonly listen: SocketAddr; readonly shutdownEndpoint: boolean };
  /** `name` is the identity that may tap; null: nobody may. */
  readonly tap: { readonly listen: SocketAddr; readonly name: string | null };
  readonly accessLog: AccessLog | null;
  readonly destination: {
    readonly svc: ControlAddr;
    readonly context: string;
    /** How long the first profile is waited for. */
    readonly profileInitialTimeoutMs: number;
    readonly profileSuffixes: readonly string[];
    readonly profileNetworks: readonly string[];
  };
  readonly policy: {
    readonly svc: ControlAddr;
    readonly workload: string;
    readonly clusterNetworks: readonly string[];
  };
  readonly identity: {
    readonly svc: ControlAddr;
    readonly dir: string;
    readonly anchorsPem: string;
    readonly tokenFile: string;
    /** The subject alternative name of our certificate. */
    readonly id: string;
    /** The SNI that clients send. */
    readonly serverName: string;
    readonly minRefreshMs: number;
    readonly maxRefreshMs: number;
  };
  /** Bounds of how long addresses of the control plane are kept; null: those of DNS. */
  readonly dnsTtl: { readonly minMs: number | null; readonly maxMs: number | null };
  /** How many threads serve. */
  readonly cores: CoresConfig;
  readonly log: { readonly filter: string; readonly level: LogLevel; readonly format: LogFormat };
  readonly metricsRetainIdleMs: number;
  readonly shutdownGraceMs: number;
  /** Bound for outgoing connections; null: the system's choice. */
  readonly sourceIp: string | null;
  readonly filterCacheDir: string | null;
  /** Public keys of which one must have signed each filter's module; null: none need be signed. */
  readonly filterKeys: string | null;
  readonly clusterDomain: string;
  /** The namespace that short names are completed with; null: not known. */
  readonly namespace: string | null;
  readonly replayMaxBytes: number;
}

/** How log lines are written. */
export type LogFormat = "plain" | "json";

/** All that is wrong with an environment. The proxy exits with 64. */
export class ConfigError extends Error {
  /** One sentence for each variable, beginning with its name. */
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`Invalid configuration: ${problems.join("; ")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Reads the whole configuration, or raises one `ConfigError` with every problem in it. */
export function parseConfig(env: ReadonlyMap<string, string>): ProxyConfig {
  const read = new EnvReader(env);
  refuseOtherIdentities(read);
  const adminListen = read.get("LINKERD2_PROXY_ADMIN_LISTEN_ADDR", grammar.parseListen, {
    ip: "127.0.0.1",
    port: 4191,
  });
  const clusterNetworks = read.get(
    "LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS",
    grammar.parseNetworks,
    [],
  );
  const inbound = inboundConfig(read, adminListen.port, clusterNetworks);
  const outbound = outboundConfig(read);
  const control = (base: ControlName) => controlAddr(read, base, inbound, outbound);
  const context = read.get("LINKERD2_PROXY_DESTINATION_CONTEXT", String, "");
  const workload = read.require("LINKERD2_PROXY_POLICY_WORKLOAD", parseWorkload, "");
  const config: ProxyConfig = {
    inbound,
    outbound,
    admin: {
      listen: adminListen,
      shutdownEndpoint: read.get(
        "LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED",
        grammar.parseBoolean,
        false,
      ),
    },
    tap: {
      listen: read.get("LINKERD2_PROXY_CONTROL_LISTEN_ADDR", grammar.parseListen, {
        ip: "0.0.0.0",
        port: 4190,
      }),
      name: read.get<string | null>("LINKERD2_PROXY_TAP_SVC_NAME", parseIdentity, null),
    },
    accessLog: read.get("LINKERD2_PROXY_ACCESS_LOG", parseAccessLog, null),
    destination: {
      svc: control("LINKERD2_PROXY_DESTINATION_SVC"),
      context,
      profileInitialTimeoutMs: read.get(
        "LINKERD2_PROXY_DESTINATION_PROFILE_INITIAL_TIMEOUT",
        grammar.parseDuration,
        500,
      ),
      profileSuffixes: read.get(
        "LINKERD2_PROXY_DESTINATION_PROFILE_SUFFIXES",
        grammar.parseSuffixes,
        ["svc.cluster.local"],
      ),
      profileNetworks: read.get(
        "LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS",
        grammar.parseNetworks,
        [],
      ),
    },
    policy: { svc: control("LINKERD2_PROXY_POLICY_SVC"), workload, clusterNetworks },
    identity: { svc: control("LINKERD2_PROXY_IDENTITY_SVC"), ...identityConfig(read) },
    dnsTtl: dnsTtl(read),
    cores: coresConfig(read),
    log: logConfig(read),
    metricsRetainIdleMs: read.get(
      "LINKERD2_PROXY_METRICS_RETAIN_IDLE",
      grammar.parseDuration,
      600_000,
    ),
    shutdownGraceMs: read.get(
      "LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD",
      grammar.parseDuration,
      120_000,
    ),
    sourceIp: read.get<string | null>("TULLE_PROXY_SOURCE_IP", grammar.parseIp, null),
    filterCacheDir: read.get<string | null>("TULLE_PROXY_FILTER_CACHE_DIR", parsePath, null),
    filterKeys: read.get<string | null>("TULLE_PROXY_FILTER_KEYS", parseKeys, null),
    clusterDomain: read.get("TULLE_PROXY_CLUSTER_DOMAIN", parseDomain, "cluster.local"),
    namespace: namespaceOf(context, workload),
    replayMaxBytes: read.get("TULLE_PROXY_REPLAY_MAX_BYTES", grammar.parseCount, 65_536),
  };
  read.checkRest();
  if (read.problems.length > 0) throw new ConfigError(read.problems);
  return config;
}

/** The configured back-off as a running one. */
export function backoffOf(config: BackoffConfig, random: () => number): Backoff {
  return new Backoff(config.minMs, config.maxMs, config.jitter, random);
}
