// The HTTP/1 connections to one endpoint: idle ones are kept and taken newest first, so that the
// warm ones stay warm and the others age out.

import type { Chan, ChanError, ConnectTo, Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import type { Exchange, Reply, Sink } from "../../core/exchange.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { type ClientOwner, type ExchangeOutcome, Http1Client } from "./client.ts";

/** How connections to an endpoint are made and kept. */
export interface EndpointClientOptions {
  readonly driver: Driver;
  readonly connect: ConnectTo;
  readonly name: string;
  readonly preface: Uint8Array | null;
  readonly maxHeadBytes: number;
  /** An idle connection is closed after this long. */
  readonly idleMs: number;
  readonly maxIdle: number;
  /** Connections at once; more requests are refused. */
  readonly maxOpen: number;
  /** Sends a request again that a kept connection lost; null: it had better stay with this endpoint. */
  again(x: Exchange, reply: Reply): Sink | null;
}

/** What happens to an endpoint's load; the balancer listens. */
export interface LoadListener {
  connected(ch: Chan): void;
  disconnected(): void;
  /** No connection could be made; null: it was closed before it was open. */
  unreachable(why: ChanError | null): void;
  /** A request was given to a connection. */
  started(): void;
  /** Its response head arrived after `ms`. */
  answered(ms: number): void;
  /** It is over: status 0 without a response, `ms` since it was started; gRPC's code, if any. */
  ended(status: number, ms: number, outcome: ExchangeOutcome, grpcStatus?: number): void;
}

const NOTHING_MORE: Sink = { data: () => true, end: () => {}, abort: () => {}, wake: null };

export class EndpointClient implements ClientOwner {
  readonly name: string;
  readonly preface: Uint8Array | null;
  readonly maxHeadBytes: number;
  readonly #o: EndpointClientOptions;
  readonly #load: LoadListener;
  readonly #idle: Http1Client[] = [];
  #busy = 0;
  readonly #reaper: Timer;
  #closed = false;

  constructor(options: EndpointClientOptions, load: LoadListener) {
    this.#o = options;
    this.#load = load;
    this.name = options.name;
    this.preface = options.preface;
    this.maxHeadBytes = options.maxHeadBytes;
    this.#reaper = createTimer(() => this.#reap());
  }

  /** Open connections, idle ones included. */
  get open(): number {
    return this.#idle.length + this.#busy;
  }

  /** Whether the next request has a connection. */
  get hasIdle(): boolean {
    return this.#idle.length > 0;
  }

  /** Sends a request to the endpoint. */
  dispatch(x: Exchange, reply: Reply): Sink {
    const idle = this.#idle.pop();
    if (idle === undefined) return this.fresh(x, reply);
    this.#took(idle);
    return idle.start(x, reply);
  }

  /** Sends a request on a new connection, which cannot have been given up meanwhile. */
  fresh(x: Exchange, reply: Reply): Sink {
    if (this.open >= this.#o.maxOpen) {
      reply.fail(
        new MeshError("overload", `${this.name} has ${this.open} connections, which is the limit`),
      );
      return NOTHING_MORE;
    }
    const client = new Http1Client(this.#o.driver, this);
    this.#took(client);
    const sink = client.start(x, reply);
    client.begin(this.#o.driver.connect(this.#o.connect, client));
    return sink;
  }

  #took(client: Http1Client): void {
    client.isBusy = true;
    this.#busy++;
    this.#load.started();
  }

  answered(ms: number): void {
    this.#load.answered(ms);
  }

  connected(ch: Chan): void {
    this.#load.connected(ch);
  }

  disconnected(): void {
    this.#load.disconnected();
  }

  unreachable(why: ChanError | null): void {
    this.#load.unreachable(why);
  }

  released(
    client: Http1Client,
    reusable: boolean,
    status: number,
    ms: number,
    outcome: ExchangeOutcome,
  ): void {
    if (client.isBusy) {
      client.isBusy = false;
      this.#busy--;
      this.#load.ended(status, ms, outcome);
    } else {
      const at = this.#idle.indexOf(client);
      if (at >= 0) this.#idle.splice(at, 1);
    }
    if (!reusable) return;
    if (this.#closed || this.#idle.length >= this.#o.maxIdle) {
      client.discard();
      return;
    }
    this.#idle.push(client);
    if (this.#idle.length === 1) {
      this.#o.driver.timers.arm(this.#reaper, this.#o.driver.now + this.#o.idleMs);
    }
  }

  again(x: Exchange, reply: Reply): Sink {
    x.replays++;
    return this.#o.again(x, reply) ?? this.fresh(x, reply);
  }

  /** Closes those that were idle too long; the oldest are at the bottom. */
  #reap(): void {
    const { now } = this.#o.driver;
    let old = 0;
    while (
      old < this.#idle.length &&
      now - (this.#idle[old] as Http1Client).idleSinceMs >= this.#o.idleMs
    ) old++;
    for (const client of this.#idle.splice(0, old)) client.discard();
    const oldest = this.#idle[0];
    if (oldest !== undefined) {
      this.#o.driver.timers.arm(this.#reaper, oldest.idleSinceMs + this.#o.idleMs);
    }
  }

  /** The endpoint left its set: idle connections end, busy ones finish. */
  close(): void {
    this.#closed = true;
    for (const client of this.#idle.splice(0)) client.discard();
    this.#o.driver.timers.cancel(this.#reaper);
  }
}
