// Requests over HTTP/2 to an application that does not listen, yet or again, wait a moment for it, as they
// do for endpoints on the outbound side. One for each port; requests on an open connection pass by.

import type { Backoff } from "../../core/clock.ts";
import type { ChanError, Driver } from "../../core/driver.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import type { EndpointClients } from "../http/endpoint-clients.ts";
import { ConnectQueue, type Dialled } from "../outbound/connect-queue.ts";
import { elsewhere } from "../outbound/elsewhere.ts";

/** What is configured of waiting for the application. */
export interface ApplicationWait {
  /** How long a request waits; past it, requests fail at once until the application listens. */
  readonly failfastMs: number;
  /** Requests that wait at once, for each port. */
  readonly capacity: number;
  /** Of dialling; one for each port. */
  backoff(): Backoff;
}

const NOTHING = () => {};
const NOBODY_ELSE = () => false;

export class AwaitApplication implements Dialled {
  awayUntilMs = 0;
  readonly #driver: Driver;
  readonly #client: EndpointClients;
  readonly #queue: ConnectQueue;
  readonly #backoff: Backoff;

  /** `name` is the application's, as in the middle of a sentence. */
  constructor(driver: Driver, name: string, client: EndpointClients, o: ApplicationWait) {
    this.#driver = driver;
    this.#client = client;
    this.#backoff = o.backoff();
    const self: readonly Dialled[] = [this];
    this.#queue = new ConnectQueue({
      driver,
      failfastMs: o.failfastMs,
      capacity: o.capacity,
      trouble: () => `${name} cannot be connected to`.replace(/^t/, "T"),
      members: () => self,
      gate: NOTHING,
    });
  }

  get isOpen(): boolean {
    return this.#client.http2.isOpen;
  }

  dial(isHttp2: boolean): boolean {
    return this.#client.dial(isHttp2);
  }

  /** Sends a request that has no connection yet, now or when there is one. */
  send(x: Exchange, reply: Reply, dispatch: HttpService): Sink {
    return elsewhere(x, reply, {
      driver: this.#driver,
      first: this.#driver.now < this.awayUntilMs ? null : dispatch,
      again: dispatch,
      moves: NOBODY_ELSE,
      isCold: true,
      queue: this.#queue,
      settled: NOTHING,
    });
  }

  /** The application took a connection. */
  connected(): void {
    this.#backoff.reset();
    this.awayUntilMs = 0;
    this.#queue.connected();
  }

  /** It took none. */
  unreachable(why: ChanError | null): void {
    this.awayUntilMs = this.#driver.now + this.#backoff.next();
    this.#queue.failed(`Connect to the application failed: ${why?.message ?? "closed"}`);
  }

  /** The port is not used any more. */
  close(): void {
    this.#queue.close();
  }
}
