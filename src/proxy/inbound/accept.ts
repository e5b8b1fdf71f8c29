// Inbound connections: who comes, by mesh TLS or in plain text, and to which port. Mesh connections
// begin with a transport header that says so; everything else is refused on the mesh port.

import type { Chan, ChanError, Core, Driver, Peer } from "../../core/driver.ts";
import type { ConnInfo } from "../../core/exchange.ts";
import { NO_FILTERS } from "../../core/filter.ts";
import type { Logger } from "../../core/log.ts";
import { Http1Server, type ServerOptions } from "../http1/server.ts";
import { FilteredConnection } from "../http/connection-filters.ts";
import { counted } from "../tcp/counted.ts";
import { Forward } from "../tcp/forward.ts";
import { decodeTransportHeader, type TransportHeader } from "../../api/transport-header.ts";
import { errorText } from "../../core/errors.ts";
import { type InboundOptions, InboundPort } from "./port.ts";
import { inboundStack } from "./stack.ts";

export interface InboundAcceptOptions extends InboundOptions {
  readonly server: Omit<ServerOptions, "service">;
  /**
   * `tulle proxy --inbound`: every connection is for this port, mesh TLS or not. Null: the mesh port,
   * where only mesh TLS with a client identity and a transport header is served.
   */
  readonly fixedPort: number | null;
  readonly log: Logger;
}

const MAX_PORTS = 1024;

/** The inbound side of a proxy: ports in use, and what a listener calls. */
export class Inbound {
  readonly #o: InboundAcceptOptions;
  readonly #ports = new Map<number, InboundPort>();

  constructor(o: InboundAcceptOptions) {
    this.#o = o;
  }

  /** The core of a new connection. */
  readonly accept = (ch: Chan, peer: Peer): Core => {
    const { metrics, fixedPort } = this.#o;
    if (peer.tls !== null) metrics.mtlsConnections++;
    else metrics.plaintextConnections++;
    if (fixedPort !== null && peer.tls?.alpn == null) {
      return this.#serve(ch, fixedPort, "http1", peer);
    }
    if (peer.tls === null) {
      return this.#refuse(peer, "not mesh TLS");
    }
    if (peer.tls.identity === null) return this.#refuse(peer, "no client certificate");
    if (peer.tls.alpn === null) return this.#refuse(peer, "no transport header was negotiated");
    return new AwaitHeader(this.#o.driver, (header) => {
      if (typeof header === "string") return this.#refuse(peer, header);
      if (header.name !== "") return this.#refuse(peer, "this proxy is no gateway");
      if (header.protocol === "http2") return this.#refuse(peer, "HTTP/2 is not spoken yet");
      const port = fixedPort ?? header.port;
      return this.#serve(ch, port, header.protocol, peer);
    });
  };

  /** A handshake that failed; called by the listener. */
  readonly refused = (why: string, detail: string): void => {
    const { metrics, log } = this.#o;
    metrics.count(metrics.inboundTcpErrors, { error: why });
    log.warn("refused a connection", { why, detail });
  };

  #refuse(peer: Peer, why: string): Core {
    this.refused("not meshed", `${peer.remote.ip}: ${why}`);
    return new Refuse(this.#o.driver);
  }

  #serve(ch: Chan, portNumber: number, protocol: "http1" | "opaque", peer: Peer): Core {
    const port = this.#port(portNumber);
    if (port === null) {
      return this.#refuse(peer, `port ${portNumber} is over the limit of ${MAX_PORTS} ports`);
    }
    const conn: ConnInfo = {
      direction: "inbound",
      remote: peer.remote,
      target: port.application,
      tls: peer.tls,
    };
    const series = port.connections(peer.tls);
    this.#o.driver.meter(ch, series);
    if (protocol === "http1") {
      const service = inboundStack(port, conn);
      return counted(series, new Http1Server(this.#o.driver, conn, { ...this.#o.server, service }));
    }
    return this.#forward(ch, port, conn, peer);
  }

  #forward(ch: Chan, port: InboundPort, conn: ConnInfo, peer: Peer): Core {
    const { metrics, driver } = this.#o;
    const client = {
      ip: conn.remote.ip,
      meshed: conn.tls !== null,
      identity: conn.tls?.identity ?? null,
    };
    const decision = port.decide(client);
    if (decision?.authorization == null) {
      metrics.count(metrics.tcpAuthzDeny, decision?.labels ?? {});
      return this.#refuse(peer, `not authorized on port ${port.port}`);
    }
    metrics.count(metrics.tcpAuthzAllow, decision.labels);
    const chain = port.watched.value?.routes.at(-1)?.chain ?? NO_FILTERS;
    const filtered = FilteredConnection.accept(chain, conn, driver.now);
    if (filtered instanceof Error) return this.#refuse(peer, filtered.message);
    if (filtered !== null) driver.meter(ch, filtered.meter(port.connections(peer.tls)));
    // A policy that changes is applied to connections that are open.
    const end = port.watched.subscribe(() => {
      if (port.decide(client)?.authorization == null) core.terminate("no longer authorized");
    });
    const core = new Forward(driver, port.connect, null, {
      connected: () => {},
      ended: () => {
        end();
        filtered?.end(driver.now);
      },
    });
    return counted(port.connections(peer.tls), core);
  }

  #port(number: number): InboundPort | null {
    let port = this.#ports.get(number);
    if (port === undefined) {
      if (this.#ports.size >= MAX_PORTS) return null;
      port = new InboundPort(number, this.#o);
      this.#ports.set(number, port);
    }
    return port;
  }

  /** Ends streams and idle connections to the application. */
  release(): void {
    for (const port of this.#ports.values()) {
      port.watched.release();
      port.client.close();
    }
    this.#ports.clear();
  }
}

/** Reads the transport header, then hands the channel to what it asks for. */
class AwaitHeader implements Core {
  readonly #driver: Driver;
  readonly #next: (header: TransportHeader | string) => Core;

  constructor(driver: Driver, next: (header: TransportHeader | string) => Core) {
    this.#driver = driver;
    this.#next = next;
  }

  opened(): void {}

  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number {
    let found: ReturnType<typeof decodeTransportHeader>;
    let wrong = "";
    try {
      found = decodeTransportHeader(buf, from, to);
    } catch (e) {
      found = null;
      wrong = `transport header: ${errorText(e)}`;
    }
    if (found === null && wrong === "") return 0;
    const core = this.#next(found === null ? wrong : found.header);
    this.#driver.adopt(ch, core);
    core.opened(ch);
    return found === null ? to - from : found.bytes;
  }

  writable(): void {}

  ended(ch: Chan): void {
    this.#driver.close(ch, "flush");
  }

  closed(_ch: Chan, _why: ChanError | null): void {}
}

/** Ends a connection that is not served. */
class Refuse implements Core {
  readonly #driver: Driver;
  constructor(driver: Driver) {
    this.#driver = driver;
  }
  opened(ch: Chan): void {
    this.#driver.close(ch, "reset");
  }
  feed(_ch: Chan, _buf: Uint8Array, from: number, to: number): number {
    return to - from;
  }
  writable(): void {}
  ended(): void {}
  closed(): void {}
}
