// A gateway: connections of other clusters' proxies whose transport header names a service of this one.
// They are authorized as the mesh port itself is, and go on through the outbound targets by that name.
// `inbound/accept.ts` comes before, `outbound/stack.ts` after.

import type { Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { ConnInfo, Exchange, HttpService } from "../../core/exchange.ts";
import { type Head, headerName } from "../../core/head.ts";
import type { TransportHeader } from "../../api/transport-header.ts";
import { hasSuffix } from "../config/grammar.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { Http1Server } from "../http1/server.ts";
import { downgrade } from "../http2/orig-proto.ts";
import { Http2Server, type Http2ServerOptions } from "../http2/server.ts";
import { HTTP_ERRORS } from "../metrics/errors.ts";
import { OpaqueServer } from "../outbound/opaque-server.ts";
import type { Targets, TargetStack } from "../outbound/targets.ts";
import type { Served } from "../tcp/detect-core.ts";
import type { InboundPort } from "./port.ts";

const FORWARDED = headerName("forwarded");

export interface GatewayOptions {
  readonly driver: Driver;
  readonly targets: Targets;
  /** Names that are forwarded to: those below one of these; the empty one is everything. */
  readonly suffixes: readonly string[];
  /** Who this gateway is in `forwarded`: its identity. */
  readonly id: string;
  readonly server: Omit<Http2ServerOptions, "service">;
}

/** What a connection with a name in its transport header becomes. */
export class Gateway {
  readonly #o: GatewayOptions;

  constructor(o: GatewayOptions) {
    this.#o = o;
  }

  /**
   * The core of a connection, or why there is none: bytes for a name that is not served here, or from who
   * may not use the mesh port. HTTP gets an answer instead. `mesh` is the mesh port with its policy.
   */
  serve(header: TransportHeader, conn: ConnInfo, mesh: InboundPort): Served | string {
    const { driver, suffixes, server } = this.#o;
    const name = header.name.toLowerCase().replace(/\.$/, "");
    const isServed = hasSuffix(suffixes, name);
    if (header.protocol === "opaque") {
      if (!isServed) return "gateway domain invalid";
      if (!isAllowed(mesh, conn)) return `not authorized on port ${mesh.port}`;
      const service = this.#target(`${name}:${header.port}`);
      return new OpaqueServer(driver, conn, { ...server, service });
    }
    const inner = isServed ? this.#target(`${name}:${header.port}`) : notServed(name);
    const options = { ...server, service: this.#entry(conn, mesh, inner) };
    return header.protocol === "http1"
      ? new Http1Server(driver, conn, options)
      : new Http2Server(driver, conn, options).session;
  }

  /** What is decided before the request is anybody else's. */
  #entry(conn: ConnInfo, mesh: InboundPort, inner: HttpService): HttpService {
    const { metrics } = mesh.options;
    const client = conn.tls?.identity ?? "";
    const by = `by=${this.#o.id}`;
    // Until the target's stack takes the exchange over, its end is counted here.
    const ended = (x: Exchange) => {
      const error = x.error === null ? null : HTTP_ERRORS[x.error.kind];
      if (error !== null) metrics.count(metrics.inboundErrors, { error });
    };
    return (x, reply) => {
      x.onEnd = ended;
      if (downgrade(x.request) === null) x.request.keepForm();
      if (!isAllowed(mesh, conn)) {
        reply.fail(
          new MeshError("unauthorized", `${client} is not authorized on port ${mesh.port}`),
        );
        return NOTHING_MORE;
      }
      if (wasHere(x.request, by)) {
        reply.fail(new MeshError("gateway-loop", `The request came through ${this.#o.id} before`));
        return NOTHING_MORE;
      }
      const host = x.request.authority;
      x.request.add(FORWARDED, `${by};for=${client};host=${host};proto=https`);
      return inner(x, reply);
    };
  }

  #target(authority: string): HttpService {
    const { targets } = this.#o;
    let last: TargetStack | null = null;
    return (x, reply) => {
      if (last === null || !last.live) {
        try {
          last = targets.get(authority, { authority });
        } catch (e) {
          reply.fail(
            e instanceof MeshError
              ? e
              : new MeshError("internal", "The destination cannot be looked up"),
          );
          return NOTHING_MORE;
        }
      }
      return last.service(x, reply);
    };
  }
}

function notServed(name: string): HttpService {
  return (_x, reply) => {
    const shown = name.replace(/[^\x21-\x7e]/g, "?").slice(0, 253);
    reply.fail(new MeshError("gateway-name", `This gateway does not forward to ${shown}`));
    return NOTHING_MORE;
  };
}

function isAllowed(mesh: InboundPort, conn: ConnInfo): boolean {
  const client = { ip: conn.remote.ip, meshed: true, identity: conn.tls?.identity ?? null };
  return mesh.decide(client)?.authorization != null;
}

/** Whether one of the gateways that a request came through is this one (RFC 7239 §4). */
function wasHere(head: Head, by: string): boolean {
  for (let i = head.find(FORWARDED); i >= 0; i = head.find(FORWARDED, i + 1)) {
    for (const pair of head.valueAt(i).split(/[,;]/)) {
      const text = pair.trim();
      const cut = text.indexOf("=") + 1;
      if (`${text.slice(0, cut).toLowerCase()}${text.slice(cut).replaceAll('"', "")}` === by) {
        return true;
      }
    }
  }
  return false;
}
