// A request whose endpoint must be connected to first, and cannot: nothing of it left the process, so it
// goes to another endpoint, whatever its method. Made only where there is no connection yet, so that
// requests on open connections pay nothing.

import type { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import type { ResponseHead } from "../../core/head.ts";
import { BodyBuffer } from "../http/body-buffer.ts";

/** Endpoints that are tried after the first. */
const MAX_MOVES = 3;
/** What of the body is kept until the endpoint is known to be there; a longer one stays where it is. */
const MAX_KEPT_BODY_BYTES = 64 * 1024;

/** How one request may move. */
export interface ElsewhereOptions {
  /** Sends it to the endpoint that was picked first. */
  readonly first: HttpService;
  /** Picks again, and sends it there. */
  readonly again: HttpService;
  /** Whether there is another endpoint that may be reachable; counts the move when there is. */
  moves(why: MeshError): boolean;
}

/** Sends a request, and sends it again elsewhere while connections cannot be made. */
export function elsewhere(x: Exchange, reply: Reply, o: ElsewhereOptions): Sink {
  return new Elsewhere(x, reply, o).request;
}

class Elsewhere implements Reply {
  readonly request: Sink;
  readonly #x: Exchange;
  readonly #outer: Reply;
  readonly #o: ElsewhereOptions;
  readonly #body = new BodyBuffer(MAX_KEPT_BODY_BYTES);
  #sink: Sink | null = null;
  #requestEnded = false;
  /** The endpoint answered, or the request is over: it stays. */
  #stays = false;
  #moves = 0;
  wake: (() => void) | null = null;

  constructor(x: Exchange, reply: Reply, o: ElsewhereOptions) {
    this.#x = x;
    this.#outer = reply;
    this.#o = o;
    this.request = {
      wake: null,
      data: (buf, from, to) => {
        if (!this.#stays) this.#body.push(buf, from, to);
        return this.#sink?.data(buf, from, to) ?? true;
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
    this.#send(o.first);
  }

  #send(service: HttpService): void {
    const move = this.#moves;
    this.#sink = null;
    this.wake = null;
    const sink = service(this.#x, this);
    // It may have failed at once, and have been sent on.
    if (this.#moves !== move) return;
    this.#sink = sink;
    sink.wake = () => this.request.wake?.();
    if (move === 0) return;
    const ready = this.#body.bytes === 0 || this.#body.replay(sink);
    if (this.#requestEnded) sink.end();
    else if (ready) this.request.wake?.();
  }

  #stay(): void {
    this.#stays = true;
    this.#body.clear();
  }

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
    const may = !this.#stays && !this.#body.overflow && this.#moves < MAX_MOVES;
    if (may && why.kind === "connect" && this.#o.moves(why)) {
      this.#moves++;
      this.#send(this.#o.again);
      return;
    }
    this.#stay();
    this.#outer.fail(why);
  }
}
