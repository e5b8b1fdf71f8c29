// Call-outs of filters: requests that the proxy itself makes, through the same outbound stacks as the
// application's – discovery, balancing, mutual TLS, metrics. Bounded in number, size and time.

import type { Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import { type ConnInfo, Exchange, type Reply, type Sink } from "../../core/exchange.ts";
import type { CalloutAnswer, CalloutRequest, Callouts } from "../../core/filter.ts";
import type { ResponseHead } from "../../core/head.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { parseRequest } from "../http1/parse.ts";
import type { Targets } from "./targets.ts";

/** Call-outs at once, of all filters and of one. */
const MAX_AT_ONCE = 256;
const MAX_OF_ONE_FILTER = 64;
/** A longer answer is none. */
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_HEAD_BYTES = 64 * 1024;

const CONN: ConnInfo = {
  direction: "outbound",
  remote: { ip: "127.0.0.1", port: 0 },
  target: { ip: "127.0.0.1", port: 0 },
  tls: null,
};

/** The data plane's client for filters. `targets` is set once they are there. */
export class CalloutClient implements Callouts {
  readonly driver: Driver;
  targets: Targets | null = null;
  #active = 0;
  readonly #byFilter = new Map<string, number>();

  constructor(driver: Driver) {
    this.driver = driver;
  }

  /** Under way now. */
  get active(): number {
    return this.#active;
  }

  start(request: CalloutRequest, done: (answer: CalloutAnswer) => void): () => void {
    const ofFilter = this.#byFilter.get(request.filter) ?? 0;
    const { targets } = this;
    if (targets === null || this.#active >= MAX_AT_ONCE || ofFilter >= MAX_OF_ONE_FILTER) {
      done(failure(targets === null ? "there is no outbound side" : "too many call-outs at once"));
      return () => {};
    }
    this.#active++;
    this.#byFilter.set(request.filter, ofFilter + 1);
    const call = new Call(this.driver, request, done, () => {
      this.#active--;
      const left = (this.#byFilter.get(request.filter) ?? 1) - 1;
      if (left > 0) this.#byFilter.set(request.filter, left);
      else this.#byFilter.delete(request.filter);
    });
    call.send(targets);
    return () => call.cancel();
  }
}

function failure(error: string): CalloutAnswer {
  return { status: 0, error, header: () => null, body: new Uint8Array(0) };
}

class Call implements Reply {
  readonly #driver: Driver;
  readonly #request: CalloutRequest;
  readonly #done: (answer: CalloutAnswer) => void;
  readonly #ended: () => void;
  readonly #x = new Exchange(CONN);
  readonly #timer: Timer;
  readonly #headers = new Map<string, string>();
  readonly #pieces: Uint8Array[] = [];
  #bytes = 0;
  #status = 0;
  #sink: Sink | null = null;
  #over = false;
  wake: (() => void) | null = null;

  constructor(
    driver: Driver,
    request: CalloutRequest,
    done: (answer: CalloutAnswer) => void,
    ended: () => void,
  ) {
    this.#driver = driver;
    this.#request = request;
    this.#done = done;
    this.#ended = ended;
    this.#timer = createTimer(() => this.#fail(`no answer within ${request.timeoutMs} ms`));
  }

  send(targets: Targets): void {
    const { authority, method, path, headers, body, timeoutMs } = this.#request;
    const x = this.#x;
    x.isCallout = true;
    x.begin(this.#driver.now);
    let text = `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n`;
    for (const [name, value] of headers) text += `${name}: ${value}\r\n`;
    if (body !== "") text += `content-length: ${body.length}\r\n`;
    const head = Uint8Array.from(`${text}\r\n`, (c) => c.charCodeAt(0));
    if (parseRequest(x.request, head, 0, head.length, MAX_HEAD_BYTES) !== head.length) {
      this.#fail("it is not a well-formed request");
      return;
    }
    this.#driver.timers.arm(this.#timer, this.#driver.now + timeoutMs);
    const name = authority.toLowerCase();
    try {
      const sink = targets.get(name, { authority: name }).service(x, this);
      if (this.#over) return;
      this.#sink = sink;
      if (body !== "") {
        const bytes = Uint8Array.from(body, (c) => c.charCodeAt(0));
        sink.data(bytes, 0, bytes.length);
      }
      sink.end();
    } catch (e) {
      this.#fail(e instanceof MeshError ? e.message : "it cannot be sent");
    }
  }

  cancel(): void {
    this.#finish(new MeshError("client-gone", "the request that asked is over"));
  }

  informational(): void {}

  head(head: ResponseHead): void {
    this.#status = head.status;
    for (let i = 0; i < head.count; i++) {
      const name = head.nameAt(i);
      if (!this.#headers.has(name)) this.#headers.set(name, head.valueAt(i));
    }
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#over) return true;
    this.#bytes += to - from;
    if (this.#bytes > MAX_ANSWER_BYTES) {
      this.#fail(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    } else this.#pieces.push(buf.slice(from, to));
    return true;
  }

  end(): void {
    if (this.#over) return;
    const body = new Uint8Array(this.#bytes);
    let at = 0;
    for (const piece of this.#pieces) {
      body.set(piece, at);
      at += piece.length;
    }
    const status = this.#status;
    this.#x.status = status;
    this.#sink = null;
    this.#finish(null);
    this.#done({
      status,
      error: "",
      header: (name) => this.#headers.get(name.toLowerCase()) ?? null,
      body,
    });
  }

  abort(why: MeshError): void {
    this.#sink = null;
    this.#fail(why.message, why);
  }

  fail(why: MeshError): void {
    this.#sink = null;
    this.#fail(why.message, why);
  }

  #fail(text: string, why = new MeshError("response-timeout", text)): void {
    if (this.#over) return;
    this.#finish(why);
    this.#done(failure(text));
  }

  /** Once; whoever asked hears of it afterwards. */
  #finish(why: MeshError | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#driver.timers.cancel(this.#timer);
    const sink = this.#sink;
    this.#sink = null;
    if (why !== null) {
      this.#x.error = why;
      sink?.abort(why);
    }
    this.#ended();
    this.#x.finish();
  }
}
