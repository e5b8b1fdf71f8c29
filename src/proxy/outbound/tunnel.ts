// CONNECT: bytes between the application and one endpoint of the target, over mesh TLS. The request
// is the tunnel's opening; everything after it is opaque.

import type { Chan, ChanError, Core, Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import { tunnelHead } from "../http/local-reply.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { BodyBuffer } from "../http/body-buffer.ts";
import { queued } from "./balance.ts";
import { type EndpointState, prefaceFor } from "./endpoint.ts";
import { byteRoute, refusalOf } from "./byte-route.ts";
import { pickLeastLoaded } from "./least-load.ts";
import type { Target } from "./target.ts";

const MAX_EARLY_BYTES = 256 * 1024;

/** The service of CONNECT requests to a target; the layers before it have waited for readiness. */
export function tunnel(target: Target, random: () => number): HttpService {
  const { driver } = target.reach;
  return (x, reply) => {
    const { snapshot } = target;
    const refusal = snapshot === null ? null : refusalOf(snapshot, x.conn.serverName);
    if (refusal !== null) {
      reply.fail(refusal);
      return NOTHING_MORE;
    }
    const route = byteRoute(target.routes, x.conn.serverName);
    if (route === undefined) {
      const { serverName } = x.conn;
      // What a client sent is shown only where it is a name.
      const name = /^[\w.-]{1,253}$/.test(serverName ?? "") ? serverName : "no host name";
      reply.fail(
        new MeshError("no-route", `No route of ${target.snapshot?.authority} is for ${name}`),
      );
      return NOTHING_MORE;
    }
    const endpoint = pickLeastLoaded(target, route, random);
    if (endpoint === null) {
      reply.fail(
        new MeshError("failfast", `No endpoint of ${target.snapshot?.authority} is ready`),
      );
      return NOTHING_MORE;
    }
    queued(target.connections(), x);
    const client = new TunnelClient(driver, endpoint, x, reply);
    client.begin(driver.connect(endpoint.connect, client));
    return client;
  };
}

class TunnelClient implements Core, Sink {
  wake: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #endpoint: EndpointState;
  readonly #x: Exchange;
  readonly #early = new BodyBuffer(MAX_EARLY_BYTES);
  readonly #startedMs: number;
  #reply: Reply | null;
  #ch: Chan = 0;
  #open = false;
  #earlyEnd = false;
  #ended = false;

  constructor(driver: Driver, endpoint: EndpointState, x: Exchange, reply: Reply) {
    this.#driver = driver;
    this.#endpoint = endpoint;
    this.#x = x;
    this.#reply = reply;
    this.#startedMs = driver.now;
    endpoint.ewma.pending++;
    endpoint.tunnels++;
  }

  begin(ch: Chan): void {
    this.#ch = ch;
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#open) return this.#driver.send(this.#ch, buf, from, to);
    this.#early.push(buf, from, to);
    return false;
  }

  end(): void {
    // The end of the CONNECT request itself; in the tunnel, the client's half-close.
    if (this.#open) this.#driver.shutdown(this.#ch);
    else if (this.#x.status !== 0) this.#earlyEnd = true;
  }

  abort(): void {
    if (this.#reply === null) return;
    this.#over();
    this.#driver.close(this.#ch, "reset");
  }

  opened(ch: Chan): void {
    this.#ch = ch;
    this.#open = true;
    const { ewma, endpoint, connect } = this.#endpoint;
    ewma.pending--;
    ewma.observe(this.#driver.now - this.#startedMs, this.#driver.now);
    this.#endpoint.connected(ch);
    const preface = prefaceFor(endpoint, connect, "opaque");
    if (preface !== null) this.#driver.send(ch, preface, 0, preface.length);
    const reply = this.#reply as Reply;
    reply.wake = () => this.#driver.resume(this.#ch);
    reply.head(tunnelHead());
    const had = this.#early.bytes > 0;
    this.#early.replay(this);
    this.#early.clear();
    if (this.#earlyEnd) this.#driver.shutdown(ch);
    else if (had) this.wake?.();
  }

  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number {
    if (this.#reply !== null && !this.#reply.data(buf, from, to)) this.#driver.pause(ch);
    return to - from;
  }

  writable(): void {
    this.wake?.();
  }

  ended(): void {
    this.#ended = true;
    this.#reply?.end();
  }

  closed(_ch: Chan, why: ChanError | null): void {
    const reply = this.#reply;
    if (reply === null) return;
    const wasOpen = this.#open;
    this.#over();
    const { name } = this.#endpoint;
    if (!wasOpen) {
      this.#endpoint.unreachable(why);
      const kind = why === null || why.kind === "reset" ? "connect" : why.kind;
      reply.fail(new MeshError(kind, `Connect to ${name} failed: ${why?.message ?? "closed"}`));
    } else if (why !== null) {
      reply.abort(new MeshError("upstream-closed", `${name} reset the tunnel`));
    } else if (!this.#ended) reply.end();
  }

  #over(): void {
    this.#reply = null;
    this.#endpoint.tunnels--;
    if (this.#open) this.#endpoint.disconnected();
    else this.#endpoint.ewma.pending--;
    this.#open = false;
  }
}
