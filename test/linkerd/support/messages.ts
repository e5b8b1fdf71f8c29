// The messages of Linkerd's control plane in the JSON form of protobuf, with the fields that version 2.20
// sets and none of ours. What a test does not say is as for a plain Service.

import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import {
  type DestinationProfile,
  DestinationProfileSchema,
  type Update,
  UpdateSchema,
} from "../../../src/api/gen/destination_pb.ts";
import { type Server, ServerSchema } from "../../../src/api/gen/inbound_pb.ts";
import { type OutboundPolicy, OutboundPolicySchema } from "../../../src/api/gen/outbound_pb.ts";

export type Json = JsonObject;

/** `ip:port` of IPv4. */
export function tcpAddress(at: string): Json {
  const [ip = "", port = "0"] = at.split(":");
  const ipv4 = ip.split(".").reduce((n, part) => n * 256 + Number(part), 0);
  return { ip: { ipv4 }, port: Number(port) };
}

/** What an endpoint may have beside its address. */
export interface Of {
  readonly identity?: string;
  readonly hint?: "h2" | "opaque";
  /** Where its proxy takes transport headers. */
  readonly inboundPort?: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** What a gateway goes on to. */
  readonly authority?: string;
}

export function weightedAddr(at: string, of: Of = {}): Json {
  const { identity, hint, inboundPort, labels = {}, authority } = of;
  const protocolHint = {
    ...(hint === undefined ? {} : { [hint]: {} }),
    ...(inboundPort === undefined ? {} : { opaqueTransport: { inboundPort } }),
  };
  return {
    addr: tcpAddress(at),
    weight: 10_000,
    metricLabels: { ...labels },
    ...(identity === undefined ? {} : {
      tlsIdentity: { dnsLikeIdentity: { name: identity }, serverName: { name: identity } },
    }),
    ...(Object.keys(protocolHint).length === 0 ? {} : { protocolHint }),
    ...(authority === undefined ? {} : { authorityOverride: { authorityOverride: authority } }),
  };
}

const update = (json: Json): Update => fromJson(UpdateSchema, json);

/** Endpoints, by `ip:port` or with more. `labels` are those of the set. */
export function add(
  endpoints: readonly (string | readonly [at: string, of: Of])[],
  labels: Readonly<Record<string, string>> = {},
): Update {
  const addrs = endpoints.map((e) =>
    typeof e === "string" ? weightedAddr(e) : weightedAddr(e[0], e[1])
  );
  return update({ add: { addrs, metricLabels: { ...labels } } });
}

export function remove(...endpoints: readonly string[]): Update {
  return update({ remove: { addrs: endpoints.map(tcpAddress) } });
}

export function noEndpoints(exists: boolean): Update {
  return update({ noEndpoints: { exists } });
}

export const BUDGET: Json = { retryRatio: 0.2, minRetriesPerSecond: 10, ttl: "10s" };

/** A profile; of a plain Service unless `more` says otherwise. */
export function profile(name: string, more: Json = {}): DestinationProfile {
  return fromJson(DestinationProfileSchema, {
    fullyQualifiedName: name,
    retryBudget: BUDGET,
    ...more,
  });
}

/** One route of a ServiceProfile for every request. */
export function profileRoute(more: Json = {}): Json {
  return { condition: { path: { regex: ".*" } }, metricsLabels: { route: "all" }, ...more };
}

/** `from` to `to`, both included, is a failure or not. */
export function responseClass(min: number, max: number, isFailure: boolean): Json {
  return { condition: { status: { min, max } }, isFailure };
}

const resource = (kind: string, name: string, group: string, more: Json = {}): Json => ({
  resource: { group, kind, name, namespace: "test", ...more },
});
const QUEUE: Json = { capacity: 100, failfastTimeout: "3s" };

/** A backend with a balancer over a destination. */
export function balancer(path: string): Json {
  const [host = "", port = "80"] = path.split(":");
  return {
    metadata: resource("Service", host.split(".")[0] ?? "", "core", { port: Number(port) }),
    queue: QUEUE,
    balancer: {
      discovery: { dst: { path } },
      peakEwma: { defaultRtt: "0.030s", decay: "10s" },
    },
  };
}

/** All requests go to the first of these destinations that has an endpoint. */
export function first(...paths: readonly string[]): Json {
  return { firstAvailable: { backends: paths.map((path) => ({ backend: balancer(path) })) } };
}

/** By weight. */
export function random(weights: Readonly<Record<string, number>>): Json {
  return {
    randomAvailable: {
      backends: Object.entries(weights).map(([path, weight]) => ({
        backend: { backend: balancer(path) },
        weight,
      })),
    },
  };
}

/** A route of one rule that takes every path, unless `rule` says otherwise. */
export function httpRoute(name: string, backends: Json, rule: Json = {}): Json {
  return {
    metadata: name === "http" ? { default: name } : resource("HTTPRoute", name, "gateway.api"),
    rules: [{ matches: [{ path: { prefix: "/" } }], backends, ...rule }],
  };
}

export function opaqueRoute(backends: Json, rule: Json = {}): Json {
  return { metadata: { default: "opaq" }, rules: [{ backends, ...rule }] };
}

/** A Service without routes of its own, or with these. */
export function policy(path: string, routes: readonly Json[] | null = null): OutboundPolicy {
  const http = routes === null ? [httpRoute("http", first(path))] : [...routes];
  return policyOf(path, {
    detect: {
      timeout: "10s",
      opaque: { routes: [opaqueRoute(first(path))] },
      http1: { routes: http },
      http2: { routes: http },
    },
  });
}

/** A policy of any protocol. */
export function policyOf(path: string, protocol: JsonValue): OutboundPolicy {
  return fromJson(OutboundPolicySchema, {
    metadata: balancer(path)["metadata"] as Json,
    protocol,
  });
}

/** Everybody, wherever from. */
export const ANYBODY: Json = {
  networks: [{ net: { ip: { ipv4: 0 }, prefixLen: 0 } }],
  authentication: { unauthenticated: {} },
  metadata: { default: "all-unauthenticated" },
};

/** Only these identities. */
export function only(...names: readonly string[]): Json {
  return {
    networks: [{ net: { ip: { ipv4: 0 }, prefixLen: 0 } }],
    authentication: { meshTLS: { identities: { identities: names.map((name) => ({ name })) } } },
    metadata: resource("authorizationpolicy", "some", "policy.linkerd.io"),
  };
}

/** A Server's policy; `protocol` as on the wire. */
export function server(protocol: Json, authorizations: readonly Json[] = [ANYBODY]): Server {
  return fromJson(ServerSchema, {
    protocol,
    authorizations: [...authorizations],
    labels: { group: "policy.linkerd.io", kind: "server", name: "test" },
  });
}

/** A Server whose protocol is detected. */
export function detecting(more: Json = {}, authorizations?: readonly Json[]): Server {
  return server({ detect: { timeout: "10s", ...more } }, authorizations);
}
