// Endpoints ↔ destination.proto: one address, and the additions and removals of a `Get` stream.
// Between `control/destination` (which computes differences) and `proxy/discovery` (which folds them).

import { create } from "@bufbuild/protobuf";
import type { SocketAddr } from "../core/addr.ts";
import type { Labels } from "../core/sheet.ts";
import {
  type Endpoint,
  type EndpointHttp2,
  endpointKey,
  type EndpointSet,
} from "../model/endpoint.ts";
import { isDnsLike } from "../model/identity.ts";
import { addrFromWire, addrToWire } from "./addr.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import {
  type Http2ClientParams,
  type ProtocolHint,
  type TlsIdentity,
  type Update,
  UpdateSchema,
  type WeightedAddr,
  WeightedAddrSchema,
} from "./gen/destination_pb.ts";
import { type OnSkip, shown, WireError } from "./wire-error.ts";

/** Endpoints of one destination; what goes over is left out and said. */
export const MAX_ENDPOINTS = 16_384;
/** Labels of one endpoint, those of its set included. */
const MAX_LABELS = 64;
/** What may stand in Host and in a transport header. */
const AUTHORITY = /^[A-Za-z0-9._-]{1,253}(:[1-9][0-9]{0,4})?$/;
/** The bounds of a window (RFC 9113 §6.5.2, §6.9.1). */
const MIN_CONNECTION_WINDOW = 65_535;
const MAX_WINDOW = 2 ** 31 - 1;
/** More PINGs are a flood. */
const MIN_KEEP_ALIVE_MS = 1000;

function portOf(authority: string): number {
  return Number(authority.split(":")[1] ?? 0);
}

/** Labels of the endpoint alone: those of the whole set travel once, beside it. */
export function endpointToWire(endpoint: Endpoint): WeightedAddr {
  const { addr, weight, labels, identity, transportPort, hint, http2, authority } = endpoint;
  return create(WeightedAddrSchema, {
    addr: addrToWire(addr),
    weight,
    metricLabels: { ...labels },
    ...(identity === null ? {} : { tlsIdentity: tlsToWire(identity) }),
    ...(hint === "none" && transportPort === 0 ? {} : {
      protocolHint: {
        ...(hint === "none" ? {} : { protocol: { case: hint, value: {} } }),
        ...(transportPort === 0 ? {} : { opaqueTransport: { inboundPort: transportPort } }),
      },
    }),
    ...(http2 === undefined ? {} : { http2: http2ToWire(http2) }),
    ...(authority === undefined ? {} : { authorityOverride: { authorityOverride: authority } }),
  });
}

function http2ToWire({ keepAlive, windows }: EndpointHttp2) {
  return {
    ...(keepAlive === null ? {} : {
      keepAlive: {
        interval: durationToWire(keepAlive.intervalMs),
        timeout: durationToWire(keepAlive.timeoutMs),
        whileIdle: true,
      },
    }),
    ...(windows === null ? {} : {
      flowControl: {
        initialStreamWindowSize: windows.stream,
        initialConnectionWindowSize: windows.connection,
      },
    }),
  };
}

function tlsToWire({ name, serverName }: { name: string; serverName: string }) {
  const strategy = name.includes("://")
    ? { case: "uriLikeIdentity" as const, value: { uri: name } }
    : { case: "dnsLikeIdentity" as const, value: { name } };
  return { strategy, serverName: { name: serverName } };
}

/** `setLabels` are those of the set around it; the endpoint's own win. */
export function endpointFromWire(
  wire: WeightedAddr,
  setLabels: Labels,
  field: string,
): Endpoint {
  const labels = { ...setLabels, ...wire.metricLabels };
  if (Object.keys(labels).length > MAX_LABELS) {
    throw new WireError(`${field}.metric_labels`, `has more than ${MAX_LABELS} entries`);
  }
  const transportPort = wire.protocolHint?.opaqueTransport?.inboundPort ?? 0;
  if (transportPort > 65535) {
    throw new WireError(`${field}.protocol_hint.opaque_transport.inbound_port`, "is over 65535");
  }
  const authority = wire.authorityOverride?.authorityOverride ?? "";
  if (authority !== "" && (!AUTHORITY.test(authority) || !(portOf(authority) <= 65_535))) {
    throw new WireError(
      `${field}.authority_override`,
      `is no name with a port: ${shown(authority)}`,
    );
  }
  return {
    addr: addrFromWire(wire.addr, `${field}.addr`),
    weight: wire.weight,
    labels,
    identity: wire.tlsIdentity === undefined
      ? null
      : tlsFromWire(wire.tlsIdentity, `${field}.tls_identity`),
    transportPort,
    hint: hintFromWire(wire.protocolHint),
    ...(wire.http2 === undefined ? {} : { http2: http2FromWire(wire.http2, `${field}.http2`) }),
    ...(authority === "" ? {} : { authority }),
  };
}

/**
 * Keep-alive needs both of its times, flow control both windows, as in Linkerd. PINGs that are not to be
 * sent on idle connections are not sent at all: a server may take them for a flood.
 */
function http2FromWire(wire: Http2ClientParams, field: string): EndpointHttp2 {
  const { keepAlive, flowControl } = wire;
  const { interval, timeout, whileIdle } = keepAlive ?? {};
  const stream = flowControl?.initialStreamWindowSize ?? 0;
  const connection = flowControl?.initialConnectionWindowSize ?? 0;
  if (stream > MAX_WINDOW || connection > MAX_WINDOW) {
    throw new WireError(`${field}.flow_control`, `has a window over ${MAX_WINDOW}`);
  }
  return {
    keepAlive: interval === undefined || timeout === undefined || whileIdle !== true ? null : {
      intervalMs: Math.max(
        MIN_KEEP_ALIVE_MS,
        durationFromWire(interval, `${field}.keep_alive.interval`),
      ),
      timeoutMs: durationFromWire(timeout, `${field}.keep_alive.timeout`),
    },
    windows: stream === 0 || connection === 0
      ? null
      : { stream, connection: Math.max(MIN_CONNECTION_WINDOW, connection) },
  };
}

// An identity that cannot be read is an error of its endpoint, never a reason to speak plain text.
function tlsFromWire(wire: TlsIdentity, field: string): { name: string; serverName: string } {
  const { strategy } = wire;
  const serverName = wire.serverName?.name ?? "";
  const [name, sni] = strategy.case === "dnsLikeIdentity"
    ? [strategy.value.name, serverName === "" ? strategy.value.name : serverName]
    : [strategy.value?.uri ?? "", serverName];
  const uri = strategy.case === "uriLikeIdentity";
  if (uri ? !/^spiffe:\/\/[^\s/]+\/\S+$/.test(name) || name.length > 2048 : !isDnsLike(name)) {
    throw new WireError(field, `${shown(name)} is not an identity`);
  }
  if (!isDnsLike(sni)) {
    throw new WireError(`${field}.server_name`, `${shown(sni)} is not a name`);
  }
  return { name, serverName: sni };
}

function hintFromWire(wire: ProtocolHint | undefined): Endpoint["hint"] {
  return wire?.protocol.case ?? "none";
}

/** A message that adds or replaces these endpoints. */
export function addUpdate(endpoints: readonly Endpoint[], setLabels: Labels): Update {
  const value = { addrs: endpoints.map(endpointToWire), metricLabels: { ...setLabels } };
  return create(UpdateSchema, { update: { case: "add", value } });
}

/** A message that removes these addresses. */
export function removeUpdate(addrs: readonly SocketAddr[]): Update {
  return create(UpdateSchema, {
    update: { case: "remove", value: { addrs: addrs.map(addrToWire) } },
  });
}

/** A message that empties the set; `exists` false: there is no such destination. */
export function noEndpointsUpdate(exists: boolean): Update {
  return create(UpdateSchema, { update: { case: "noEndpoints", value: { exists } } });
}

/**
 * Folds the updates of a `Get` stream to whole sets.
 *
 * The first `add` after a (re)connect replaces everything, and a `remove` before it is ignored; until
 * then the set of the previous connection stays. An endpoint that cannot be used is left out and told
 * to `skip`; if its address was known before, it goes.
 */
export class EndpointFold {
  readonly #skip: OnSkip;
  #known = new Map<string, Endpoint>();
  #fresh = true;

  constructor(skip: OnSkip) {
    this.#skip = skip;
  }

  /** A new stream begins. */
  reconnected(): void {
    this.#fresh = true;
  }

  /** The whole set after this message, or null when it changes nothing. */
  apply({ update }: Update): EndpointSet | null {
    switch (update.case) {
      case "add": {
        const known = this.#fresh ? new Map<string, Endpoint>() : new Map(this.#known);
        this.#fresh = false;
        update.value.addrs.forEach((wire, i) => {
          const field = `add.addrs[${i}]`;
          try {
            if (known.size >= MAX_ENDPOINTS) {
              throw new WireError(field, `is over the bound of ${MAX_ENDPOINTS} endpoints`);
            }
            const endpoint = endpointFromWire(wire, update.value.metricLabels, field);
            known.set(endpointKey(endpoint), endpoint);
          } catch (e) {
            this.#leftOut(e, wire, known);
          }
        });
        return this.#publish(known);
      }
      case "remove": {
        if (this.#fresh) return null;
        const known = new Map(this.#known);
        for (const wire of update.value.addrs) {
          try {
            const { ip, port } = addrFromWire(wire, "remove.addrs");
            known.delete(`${ip}|${port}`);
          } catch (e) {
            this.#tell(e);
          }
        }
        return this.#publish(known);
      }
      case "noEndpoints":
        this.#fresh = false;
        this.#known = new Map();
        return { exists: update.value.exists, endpoints: [] };
      default:
        this.#skip(new WireError("update", "is of a kind that is not known here"));
        return null;
    }
  }

  #publish(known: Map<string, Endpoint>): EndpointSet {
    this.#known = known;
    return { exists: true, endpoints: [...known.values()] };
  }

  #leftOut(e: unknown, wire: WeightedAddr, known: Map<string, Endpoint>): void {
    this.#tell(e);
    try {
      const { ip, port } = addrFromWire(wire.addr, "add.addrs");
      known.delete(`${ip}|${port}`);
    } catch {
      // It has no address that could be known.
    }
  }

  #tell(e: unknown): void {
    if (!(e instanceof WireError)) throw e;
    this.#skip(e);
  }
}
