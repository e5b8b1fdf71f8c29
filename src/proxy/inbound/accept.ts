// Inbound connections: who comes, by mesh TLS or in plain text, and to which port. One that was
// redirected here is for the port that its client connected to. On the mesh port itself connections
// begin with a transport header that says so, and everything else is refused.

import type { Chan, Core, Peer } from "../../core/driver.ts";
import { formatSocketAddr, type SocketAddr } from "../../core/addr.ts";
import type { ConnInfo } from "../../core/exchange.ts";
import type { Client } from "../../model/policy.ts";
import { NO_FILTERS } from "../../core/filter.ts";
import type { Logger } from "../../core/log.ts";
import { Http1Server } from "../http1/server.ts";
import { Http2Server, type Http2ServerOptions } from "../http2/server.ts";
import { FilteredConnection } from "../http/connection-filters.ts";
import { counted } from "../tcp/counted.ts";
import { Detect, type EarlyForward, type Served } from "../tcp/detect-core.ts";
import { countTransportHeader } from "../tcp/detect-metrics.ts";
import { Refuse } from "../tcp/detect-refuse.ts";
import { Forward } from "../tcp/forward.ts";
import { targetLabels } from "../metrics/origins.ts";
import { AwaitHeader } from "./await-header.ts";
import type { Gateway } from "./gateway.ts";
import type { TransportHeader } from "../../api/transport-header.ts";
import { type InboundOptions, InboundPort } from "./port.ts";
import { inboundStack } from "./stack.ts";

export interface InboundAcceptOptions extends InboundOptions {
  readonly server: Omit<Http2ServerOptions, "service">;
  /**
   * `tulle proxy --inbound`: every connection is for this port, mesh TLS or not. Null: the mesh port,
   * where only mesh TLS with a client identity and a transport header is served.
   */
  readonly fixedPort: number | null;
  /** The pod's addresses: nothing else is forwarded to. Absent or empty: they are not known. */
  readonly podIps?: readonly string[] | null;
  /** Whether an address is one of this proxy's own; a connection to it is refused. */
  isOwn?(addr: SocketAddr): boolean;
  /** Serves connections for named services; absent or null: this proxy is no gateway. */
  readonly gateway?: Gateway | null;
  readonly log: Logger;
}

const MAX_PORTS = 1024;
/** A plain connection that says nothing for so long may be one whose server speaks first. */
const EARLY_MS = 20;
/** Until there is a policy that says how long. */
const DETECT_MS = 10_000;

/** What a connection is taken for; `detect`: its first bytes say. */
type Spoken = "detect" | "http1" | "http2" | "opaque";

/** The inbound side of a proxy: ports in use, and what a listener calls. */
export class Inbound {
  readonly #o: InboundAcceptOptions;
  readonly #ports = new Map<string, InboundPort>();

  constructor(o: InboundAcceptOptions) {
    this.#o = o;
  }

  /** The core of a new connection. */
  readonly accept = (ch: Chan, peer: Peer): Core => {
    const { metrics, fixedPort } = this.#o;
    if (peer.tls !== null) metrics.mtlsConnections++;
    else metrics.plaintextConnections++;
    if (fixedPort !== null && peer.tls?.alpn == null) {
      return this.#serve(ch, fixedPort, "detect", peer);
    }
    if (fixedPort === null && peer.original !== undefined) {
      return this.#redirected(ch, peer, peer.original);
    }
    if (peer.tls === null) {
      return this.#refuse(peer, "not mesh TLS");
    }
    if (peer.tls.identity === null) return this.#refuse(peer, "no client certificate");
    if (peer.tls.alpn === null) return this.#refuse(peer, "no transport header was negotiated");
    return new AwaitHeader(this.#o.driver, (header) => {
      if (typeof header === "string") return this.#refuse(peer, header);
      countTransportHeader(metrics, { ...header, clientId: peer.tls?.identity ?? "" });
      if (header.name !== "") return this.#toService(ch, header, peer);
      const port = fixedPort ?? header.port;
      return this.#serve(ch, port, header.protocol, peer);
    });
  };

  /**
   * The core of a plain connection that has said nothing yet and may still turn out to be mesh TLS: where
   * such a client may come as it is and no request decides, else null. Nothing is refused here, since
   * who waits may yet show who it is.
   */
  readonly acceptSilent = (ch: Chan, peer: Peer): Core | null => {
    const { fixedPort, podIps, isOwn, application } = this.#o;
    const { original } = peer;
    const number = fixedPort ?? original?.port;
    if (number === undefined) return null;
    const to = fixedPort === null ? original ?? application(number) : application(number);
    if (fixedPort === null && podIps != null && podIps.length > 0 && !podIps.includes(to.ip)) {
      return null;
    }
    if (isOwn?.(to) === true) return null;
    const port = this.#port(number, to);
    const protocol = port?.watched.value?.policy.protocol;
    if (port === null || (protocol !== "detect" && protocol !== "opaque")) return null;
    if (port.decidesByRequest || (this.#o.protocol ?? "same") !== "same") return null;
    const client = { ip: peer.remote.ip, meshed: false, identity: null };
    if (port.decide(client)?.authorization == null) return null;
    this.#o.metrics.plaintextConnections++;
    return this.#serve(ch, number, "detect", peer, fixedPort === null ? to : null);
  };

  /** A handshake that failed; called by the listener. */
  readonly refused = (why: string, detail: string, to: SocketAddr | null = null): void => {
    const { metrics, log } = this.#o;
    const target = to === null ? {} : targetLabels(to);
    metrics.countPassing(metrics.inboundTcpErrors, { ...target, error: why });
    log.warn("refused a connection", { why, detail });
  };

  /** For a port of the application, in plain text or with TLS of a mesh that knows no header. */
  #redirected(ch: Chan, peer: Peer, original: SocketAddr): Core {
    const { podIps } = this.#o;
    if (podIps != null && podIps.length > 0 && !podIps.includes(original.ip)) {
      return this.#refuse(peer, `${original.ip} is no address of this pod`);
    }
    return this.#serve(ch, original.port, "detect", peer, original);
  }

  /** For a service that the header names, by the policy of the mesh port itself. */
  #toService(ch: Chan, header: TransportHeader, peer: Peer): Core {
    const { gateway = null, driver } = this.#o;
    if (gateway === null) return this.#refuse(peer, "this proxy is no gateway");
    const { local: target, remote, tls } = peer;
    const mesh = this.#port(target.port, target);
    if (mesh === null) return this.#refuse(peer, `over the limit of ${MAX_PORTS} ports`);
    const served = gateway.serve(header, { direction: "inbound", remote, target, tls }, mesh);
    if (typeof served === "string") {
      this.refused(served, `${remote.ip}: ${JSON.stringify(header.name)}`);
      return new Refuse(driver);
    }
    const series = mesh.connections(tls);
    driver.meter(ch, series);
    return counted(series, served);
  }

  #refuse(peer: Peer, why: string): Refuse {
    this.refused("not meshed", `${peer.remote.ip}: ${why}`);
    return new Refuse(this.#o.driver);
  }

  #serve(
    ch: Chan,
    portNumber: number,
    protocol: Spoken,
    peer: Peer,
    original: SocketAddr | null = null,
  ): Core {
    const to = original ?? this.#o.application(portNumber);
    if (this.#o.isOwn?.(to) === true) {
      this.refused("loop", `${peer.remote.ip}: ${formatSocketAddr(to)} is this proxy itself`, to);
      return new Refuse(this.#o.driver);
    }
    const port = this.#port(portNumber, to);
    if (port === null) {
      return this.#refuse(peer, `port ${portNumber} is over the limit of ${MAX_PORTS} ports`);
    }
    const conn: ConnInfo = {
      direction: "inbound",
      remote: peer.remote,
      target: port.application,
      tls: peer.tls,
    };
    const series = port.connections(peer.tls, peer.serverName);
    this.#o.driver.meter(ch, series);
    const core = protocol === "detect"
      ? this.#detect(ch, port, conn, peer)
      : this.#served(ch, port, conn, peer, protocol);
    // One that is refused was never open.
    return core instanceof Refuse ? core : counted(series, core);
  }

  #served(
    ch: Chan,
    port: InboundPort,
    conn: ConnInfo,
    peer: Peer,
    protocol: "http1" | "http2" | "opaque",
  ): Served {
    if (protocol === "opaque") return this.#forward(ch, port, conn, peer);
    const options = { ...this.#o.server, service: inboundStack(port, conn) };
    return protocol === "http1"
      ? new Http1Server(this.#o.driver, conn, options)
      : new Http2Server(this.#o.driver, conn, options).session;
  }

  #detect(ch: Chan, port: InboundPort, conn: ConnInfo, peer: Peer): Served {
    const policy = port.watched.value?.policy ?? null;
    switch (policy?.protocol) {
      case "opaque":
        return this.#served(ch, port, conn, peer, "opaque");
      case "http2":
      case "grpc":
        return this.#served(ch, port, conn, peer, "http2");
    }
    // The policy says so, or `tulle proxy` was told what its target speaks, whatever clients do.
    const httpOnly = policy?.protocol === "http1" || (this.#o.protocol ?? "same") !== "same";
    return new Detect(this.#o.driver, {
      // Where policy names the protocol, the wire has no time for detection, and it is not none.
      detectMs: policy === null || policy.protocol === "http1" ? DETECT_MS : policy.detectMs,
      earlyMs: EARLY_MS,
      silentMs: peer.silentMs ?? 0,
      early: () => port.decidesByRequest || httpOnly ? null : this.#early(ch, port, conn),
      serve: (found, early) => {
        if (early !== null) return early;
        if (found === "http1" || found === "http2") {
          return this.#served(ch, port, conn, peer, found);
        }
        if (httpOnly) {
          this.refused(
            "not HTTP",
            `${peer.remote.ip}: the application speaks HTTP only`,
            port.application,
          );
          return new Refuse(this.#o.driver, "flush");
        }
        return this.#served(ch, port, conn, peer, "opaque");
      },
      detected: (result, ms) => port.detected(result, ms),
    });
  }

  /** The way to the application, for a client that the policy allows as it is. */
  #early(ch: Chan, port: InboundPort, conn: ConnInfo): EarlyForward | null {
    if (port.decide(clientOf(conn))?.authorization == null) return null;
    const made = this.#forwarding(ch, port, conn);
    return typeof made === "string" ? null : made;
  }

  #forward(ch: Chan, port: InboundPort, conn: ConnInfo, peer: Peer): Served {
    const made = this.#forwarding(ch, port, conn);
    if (typeof made !== "string") return made;
    // What the policy denies is counted by it, and is no error.
    this.#o.log.warn("refused a connection", { why: made, client: peer.remote.ip });
    return new Refuse(this.#o.driver);
  }

  /** Opaque bytes, or why not. */
  #forwarding(ch: Chan, port: InboundPort, conn: ConnInfo): Forward | string {
    const { metrics, driver } = this.#o;
    const client = clientOf(conn);
    const decision = port.decide(client);
    if (decision?.authorization == null) {
      metrics.countPassing(metrics.tcpAuthzDeny, decision?.labels ?? {});
      return `not authorized on port ${port.port}`;
    }
    metrics.countPassing(metrics.tcpAuthzAllow, decision.labels);
    const chain = port.watched.value?.routes.at(-1)?.chain ?? NO_FILTERS;
    const filtered = FilteredConnection.accept(chain, conn, driver.now);
    if (filtered instanceof Error) return filtered.message;
    if (filtered !== null) driver.meter(ch, filtered.meter(port.connections(conn.tls)));
    // A policy that changes is applied to connections that are open.
    const end = port.watched.subscribe(() => {
      if (port.decide(client)?.authorization != null) return;
      metrics.countPassing(metrics.tcpAuthzTerminate, decision.labels);
      core.terminate("no longer authorized");
    });
    const core = new Forward(driver, port.connect, null, port.forwarded(end, filtered));
    return core;
  }

  /** The port with its application at `to`: a pod has an address of each family. */
  #port(number: number, to: SocketAddr): InboundPort | null {
    const key = `${number} ${formatSocketAddr(to)}`;
    let port = this.#ports.get(key);
    if (port === undefined) {
      if (this.#ports.size >= MAX_PORTS) return null;
      port = new InboundPort(number, { ...this.#o, application: () => to });
      this.#ports.set(key, port);
    }
    return port;
  }

  /** Ends streams and idle connections to the application. */
  release(): void {
    for (const port of this.#ports.values()) {
      port.watched.release();
      port.awaits?.close();
      port.client.close();
    }
    this.#ports.clear();
  }
}

function clientOf(conn: ConnInfo): Client {
  return {
    ip: conn.remote.ip,
    meshed: conn.tls !== null,
    identity: conn.tls?.identity ?? null,
  };
}
