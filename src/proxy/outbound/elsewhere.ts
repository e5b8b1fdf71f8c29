// A request whose endpoint must be connected to first, and cannot: nothing of it left the process, so it
// goes to another endpoint, whatever its method; over HTTP/2 it waits for one that can be connected to.
// So does one that an endpoint did not process. Made only where there is no connection, so that requests
// on open connections pay nothing.

import type { Driver } from "../../core/driver.ts";
import { type ErrorKind, MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import type { ResponseHead } from "../../core/head.ts";
import { BodyBuffer } from "../http/body-buffer.ts";
import type { ConnectQueue, Waiter } from "./connect-queue.ts";

/** Endpoints that are tried after the first. */
const MAX_MOVES = 3;
/** What of the body is kept until the endpoint is known to be there; a longer one stays where it is. Room
 * for what is sent again, and for a read that was under way when its sender was told to stop. */
const MAX_KEPT_BODY_BYTES = 128 * 1024;
/** Nothing was sent. */
const UNREACHABLE: ReadonlySet<ErrorKind> = new Set(["connect", "connect-timeout", "identity"]);

/** How one request may move. */
export interface ElsewhereOptions {
  readonly driver: Driver;
  /** Sends it to the endpoint that was picked first; null: it is too early to connect to that. */
  readonly first: HttpService | null;
  /** Picks again, and sends it there. */
  readonly again: HttpService;
  /** Whether there is another endpoint that may be reachable; counts the move when there is. */
  moves(why: MeshError): boolean;
  /** Whether it is one of those that wait from the beginning. */
  readonly isCold: boolean;
  /** Where it waits while no endpoint can be connected to; null: it fails. */
  readonly queue: ConnectQueue | null;
  /** It has an endpoint, or none in time; `Exchange.waitedMs` says how long it waited. Once. */
  settled(): void;
}

/** Sends a request, and sends it again elsewhere while connections cannot be made. */
export function elsewhere(x: Exchange, reply: Reply, o: ElsewhereOptions): Sink {
  return new Elsewhere(x, reply, o).request;
}

class Elsewhere implements Reply, Waiter {
  readonly request: Sink;
  readonly isHttp2: boolean;
  readonly #x: Exchange;
  readonly #outer: Reply;
  readonly #o: ElsewhereOptions;
  readonly #body = new BodyBuffer(MAX_KEPT_BODY_BYTES);
  #sink: Sink | null = null;
  #requestEnded = false;
  /** The endpoint answered, or the request is over: it stays. */
  #stays = false;
  /** No endpoint has it. */
  #isParked = false;
  #parkedMs = 0;
  #moves = 0;
  /** Grows with each sending. */
  #sent = 0;
  wake: (() => void) | null = null;

  constructor(x: Exchange, reply: Reply, o: ElsewhereOptions) {
    this.#x = x;
    this.#outer = reply;
    this.#o = o;
    this.isHttp2 = x.request.major === 2;
    this.request = {
      wake: null,
      data: (buf, from, to) => {
        if (!this.#stays) this.#body.push(buf, from, to);
        return this.#sink?.data(buf, from, to) ?? !this.#isParked;
      },
      end: () => {
        this.#requestEnded = true;
        this.#sink?.end();
      },
      abort: (why) => {
        const sink = this.#sink;
        this.#stay();
        sink?.abort(why);
      },
    };
    reply.wake = () => this.wake?.();
    const refused = o.isCold ? o.queue?.enter(this) ?? null : null;
    if (refused !== null) this.#over(refused);
    else if (o.first === null) this.#park(null);
    else this.#send(o.first);
  }

  #send(service: HttpService): void {
    const sent = ++this.#sent;
    this.#sink = null;
    this.wake = null;
    const sink = service(this.#x, this);
    // It may have failed at once, and have been sent on, or wait.
    if (this.#sent !== sent || this.#isParked) return;
    this.#sink = sink;
    sink.wake = () => this.request.wake?.();
    const ready = this.#body.bytes === 0 || this.#body.replay(sink);
    if (this.#requestEnded) sink.end();
    else if (ready) this.request.wake?.();
  }

  #stay(): void {
    if (this.#stays) return;
    this.#stays = true;
    if (this.#isParked) this.#unpark();
    this.#body.clear();
    this.#o.queue?.leave(this);
    this.#o.settled();
  }

  #over(why: MeshError): void {
    const sink = this.#sink;
    this.#sink = null;
    this.#stay();
    // Whoever was being connected to failed nothing.
    sink?.abort(new MeshError("client-gone", "no connection came in time"));
    this.#outer.fail(why);
  }

  // --- the queue says -----------------------------------------------------------------------------

  #park(why: MeshError | null): void {
    const { queue, driver } = this.#o;
    this.#sink = null;
    if (queue === null) return;
    queue.wait(why);
    this.#isParked = true;
    this.#parkedMs = driver.now;
  }

  #unpark(): void {
    this.#isParked = false;
    this.#x.waitedMs += this.#o.driver.now - this.#parkedMs;
  }

  /** Somebody has a connection. Where this one is being connected to it stays for now. */
  retry(): void {
    if (!this.#isParked) return;
    this.#unpark();
    this.#moves = 0;
    this.#send(this.#o.again);
  }

  expired(why: MeshError): void {
    if (!this.#stays) this.#over(why);
  }

  // --- the endpoint says --------------------------------------------------------------------------

  informational(head: ResponseHead): void {
    this.#outer.informational(head);
  }

  head(head: ResponseHead): void {
    this.#stay();
    this.#outer.head(head);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    return this.#outer.data(buf, from, to);
  }

  end(): void {
    this.#outer.end();
  }

  abort(why: MeshError): void {
    this.#stay();
    this.#outer.abort(why);
  }

  fail(why: MeshError): void {
    const { queue } = this.#o;
    const isUnreachable = queue === null ? why.kind === "connect" : UNREACHABLE.has(why.kind);
    if (this.#stays || this.#body.overflow || !isUnreachable) return this.#failed(why);
    if (this.#moves < MAX_MOVES && this.#o.moves(why)) {
      this.#moves++;
      this.#send(this.#o.again);
      return;
    }
    if (queue === null) return this.#failed(why);
    const refused = queue.enter(this);
    if (refused !== null) return this.#failed(refused);
    this.#park(why);
  }

  #failed(why: MeshError): void {
    this.#sink = null;
    this.#stay();
    this.#outer.fail(why);
  }
}
