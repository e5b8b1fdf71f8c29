// The HTTP/2 connections to one endpoint: one as long as it has room for streams, more when the peer
// allows fewer at once than there are requests. Requests wait here for a connection, within a bound.

import type { Chan, ChanError, ConnectTo, Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import type { ExchangeOutcome } from "../http1/client.ts";
import type { LoadListener } from "../http1/endpoint-client.ts";
import { Http2Client, type Http2ClientOwner } from "./client.ts";
import { ClientStream, type StreamOwner } from "./client-stream.ts";
import type { Flood, SessionOptions } from "./session-options.ts";

/** How connections to an endpoint are made. */
export interface Http2EndpointOptions {
  readonly driver: Driver;
  readonly connect: ConnectTo;
  readonly name: string;
  /** Stands for the authority of a request that names none. */
  readonly authority: string;
  readonly preface: Uint8Array | null;
  readonly session: SessionOptions;
  /** Connections at once. */
  readonly maxOpen: number;
  /** Requests that wait for a connection; more are refused. */
  readonly maxWaiting: number;
  /** Requests of HTTP/1 say what they were, for a proxy that makes HTTP/1 of them again. */
  readonly origProto: boolean;
  /** The endpoint ran into a bound; its connection ends. */
  flooded(what: Flood): void;
  /** Sends a request again that was not processed; null: it had better stay with this endpoint. */
  again(x: Exchange, reply: Reply): Sink | null;
}

/** What a connection is expected to take until its peer's SETTINGS are known (RFC 9113 §6.5.2). */
const ASSUMED_STREAMS = 100;
/** Streams kept for the next requests; more after a burst are let go. */
const MAX_FREE = 256;

export class Http2EndpointClient implements Http2ClientOwner, StreamOwner {
  readonly name: string;
  readonly authority: string;
  readonly preface: Uint8Array | null;
  readonly session: SessionOptions;
  readonly origProto: boolean;
  readonly maxHeadBytes: number;
  readonly #o: Http2EndpointOptions;
  readonly #load: LoadListener;
  /** Those that may take streams, and those that are being made. */
  readonly #clients: Http2Client[] = [];
  /** Requests without a connection, oldest first. */
  readonly #waiting = new Set<ClientStream>();
  readonly #free: ClientStream[] = [];
  #connecting = 0;
  #open = 0;
  /** Streams that the newest connection took at once. */
  #perConnection = ASSUMED_STREAMS;
  /** What the newest connection said of extended CONNECT. */
  #extends: boolean | null = null;
  /** Who waits to know it. */
  readonly #asking: (() => void)[] = [];
  #closed = false;
  #placing = false;

  constructor(options: Http2EndpointOptions, load: LoadListener) {
    this.#o = options;
    this.#load = load;
    this.name = options.name;
    this.authority = options.authority;
    this.preface = options.preface;
    this.session = options.session;
    this.origProto = options.origProto;
    this.maxHeadBytes = options.session.maxHeadBytes;
  }

  /** Open connections. */
  get open(): number {
    return this.#open;
  }

  /** Whether the next request has a connection. */
  get hasRoom(): boolean {
    if (this.#waiting.size > 0) return false;
    for (const client of this.#clients) if (client.isOpen && client.available > 0) return true;
    return false;
  }

  /** Whether there is a connection that takes streams, if not now then when others are over. */
  get isOpen(): boolean {
    for (const client of this.#clients) if (client.isOpen && !client.session.closing) return true;
    return false;
  }

  /** Requests that wait for a connection. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether the endpoint takes extended CONNECT (RFC 8441); null: `learn` tells when it is known. */
  get extends(): boolean | null {
    return this.#extends;
  }

  /** Calls once the endpoint's SETTINGS are in, or it turned out that they will not be. */
  learn(known: () => void): void {
    this.#asking.push(known);
    if (this.#clients.length === 0) this.#connect();
  }

  /** Begins a connection before there is a request for it, unless there is one, or one is begun. */
  dial(): void {
    if (this.#clients.length === 0 && !this.#closed) this.#connect();
  }

  /** Sends a request to the endpoint. */
  dispatch(x: Exchange, reply: Reply): Sink {
    if (this.#waiting.size >= this.#o.maxWaiting) {
      const text = `${this.#waiting.size} requests wait for a connection to ${this.name}`;
      reply.fail(new MeshError("overload", `${text}, which is the limit`));
      return NOTHING_MORE;
    }
    const stream = this.#free.pop() ?? new ClientStream(this.#o.driver, this);
    this.#load.started();
    stream.begin(x, reply);
    this.place(stream);
    return stream;
  }

  // --- streams say --------------------------------------------------------------------------------

  /** Finds a connection for a request, or lets it wait. */
  place(stream: ClientStream): void {
    if (this.#waiting.size === 0) {
      for (const client of this.#clients) {
        if (!client.takes(stream)) continue;
        client.take(stream);
        return;
      }
    }
    this.#waiting.add(stream);
    this.#connectMore();
  }

  again(x: Exchange, reply: Reply): Sink | null {
    return this.#o.again(x, reply);
  }

  forget(stream: ClientStream): void {
    this.#waiting.delete(stream);
  }

  answered(ms: number): void {
    this.#load.answered(ms);
  }

  ended(status: number, ms: number, outcome: ExchangeOutcome, grpcStatus: number): void {
    this.#load.ended(status, ms, outcome, grpcStatus);
  }

  recycle(stream: ClientStream): void {
    if (!this.#closed && this.#free.length < MAX_FREE) this.#free.push(stream);
  }

  // --- connections say ----------------------------------------------------------------------------

  connected(_client: Http2Client, ch: Chan): void {
    this.#connecting--;
    this.#open++;
    this.#load.connected(ch);
  }

  unreachable(client: Http2Client, why: ChanError | null): void {
    this.#connecting--;
    this.#remove(client);
    this.#load.unreachable(why);
    // Others may still take what waits.
    if (this.#clients.length > 0) return;
    this.#tell();
    const kind = why === null || why.kind === "reset" ? "connect" : why.kind;
    const error = new MeshError(
      kind,
      `Connect to ${this.name} failed: ${why?.message ?? "closed"}`,
    );
    for (const stream of [...this.#waiting]) stream.unreachable(error);
  }

  changed(client: Http2Client): void {
    const { session } = client;
    if (session.closing) this.#remove(client);
    else if (client.isOpen) this.#perConnection = session.available + session.streams;
    if (session.extends !== null) {
      this.#extends = session.extends;
      if (this.#asking.length > 0) this.#tell();
    }
    this.#settle();
  }

  flooded(what: Flood): void {
    this.#o.flooded(what);
  }

  disconnected(client: Http2Client): void {
    this.#open--;
    this.#remove(client);
    this.#load.disconnected();
    if (this.#open === 0) this.#forgetSettings();
    this.#settle();
  }

  /** The endpoint left its set: connections end with their last request. */
  close(): void {
    this.#closed = true;
    this.#free.length = 0;
    this.#settle();
  }

  /** The last connection is gone: the next may be to another process. A no is kept until then. */
  #forgetSettings(): void {
    if (this.#extends === true) this.#extends = null;
    else this.#extends = false;
    if (this.#connecting === 0) this.#tell();
  }

  #tell(): void {
    for (const known of this.#asking.splice(0)) known();
  }

  #remove(client: Http2Client): void {
    const at = this.#clients.indexOf(client);
    if (at >= 0) this.#clients.splice(at, 1);
  }

  /** Gives what waits to the connections that have room, and makes more where that is not enough. */
  #settle(): void {
    if (this.#placing) return; // a stream that ends while it is placed brings us here again
    this.#placing = true;
    for (let i = 0; i < this.#clients.length && this.#waiting.size > 0; i++) {
      const client = this.#clients[i] as Http2Client;
      for (const stream of this.#waiting) {
        if (!client.takes(stream)) {
          if (client.available === 0) break;
          continue;
        }
        this.#waiting.delete(stream);
        client.take(stream);
      }
    }
    this.#placing = false;
    if (this.#waiting.size > 0) this.#connectMore();
    else if (this.#closed && this.#asking.length === 0) {
      for (const client of this.#clients.splice(0)) {
        if (!client.isOpen) this.#connecting--;
        client.drain();
      }
    }
  }

  #connectMore(): void {
    const { maxOpen } = this.#o;
    const per = Math.max(1, Math.min(ASSUMED_STREAMS, this.#perConnection));
    while (
      this.#waiting.size > this.#connecting * per && this.#open + this.#connecting < maxOpen
    ) {
      this.#connect();
    }
  }

  #connect(): void {
    const { driver, connect } = this.#o;
    const client = new Http2Client(driver, this);
    this.#connecting++;
    this.#clients.push(client);
    client.begin(driver.connect(connect, client));
  }
}
