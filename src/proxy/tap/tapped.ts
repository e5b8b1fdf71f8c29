// A request that somebody observes, wrapped for its way to one endpoint: tells of its head, of the
// response's head and of its end, and changes nothing. Made only while an observer wants it.

import type { MeshError } from "../../core/errors.ts";
import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import type { Head, ResponseHead } from "../../core/head.ts";
import type { SocketAddr } from "../../core/addr.ts";
import type { TapEvent, TapFields, TapSubject } from "../../model/tap.ts";
import { grpcStatusOf, NO_GRPC_STATUS } from "../http/grpc.ts";
import type { Observer, TapHub } from "./hub.ts";

/** Where a request goes, and what is known of its both ends. */
export type TapEnds =
  & Pick<
    TapSubject,
    "sourceLabels" | "destinationLabels" | "routeLabels"
  >
  & { readonly destination: SocketAddr };

/** HTTP/2's codes for a stream that ended early (RFC 9113 §7). */
const INTERNAL_ERROR = 2;
const CANCEL = 8;

/** Dispatches to `inner`, observed by whoever wants the request. `active` of the hub was tested. */
export function tapped(
  hub: TapHub,
  now: () => number,
  x: Exchange,
  reply: Reply,
  ends: TapEnds,
  inner: HttpService,
): Sink {
  const { request, conn } = x;
  const subject: TapSubject = {
    ...ends,
    direction: conn.direction,
    source: conn.remote,
    method: request.method,
    scheme: "http",
    authority: request.authority,
    path: request.path,
  };
  const observers = hub.wanting(subject);
  if (observers.length === 0) return inner(x, reply);
  const seen = new Tapped(observers, hub.nextStream(), subject, now, x, reply);
  seen.begin(request);
  seen.request = inner(x, seen);
  return seen.sink;
}

class Tapped implements Reply {
  /** The endpoint's side of the request's body. */
  request: Sink | null = null;
  readonly sink: Sink;
  readonly #observers: readonly Observer[];
  readonly #stream: number;
  readonly #subject: TapSubject;
  readonly #now: () => number;
  readonly #x: Exchange;
  readonly #outer: Reply;
  readonly #startedMs: number;
  #respondedMs = -1;
  /** `grpc-status` in the response's head, when there is nothing else. */
  #headCode = NO_GRPC_STATUS;
  #over = false;

  constructor(
    observers: readonly Observer[],
    stream: number,
    subject: TapSubject,
    now: () => number,
    x: Exchange,
    outer: Reply,
  ) {
    this.#observers = observers;
    this.#stream = stream;
    this.#subject = subject;
    this.#now = now;
    this.#x = x;
    this.#outer = outer;
    this.#startedMs = now();
    // deno-lint-ignore no-this-alias -- the two directions are two objects
    const self = this;
    this.sink = {
      get wake() {
        return self.request?.wake ?? null;
      },
      set wake(wake) {
        if (self.request !== null) self.request.wake = wake;
      },
      data: (buf, from, to) => self.request?.data(buf, from, to) ?? true,
      end: () => self.request?.end(),
      abort: (why) => {
        self.#end({ kind: "reset", code: CANCEL }, null);
        self.request?.abort(why);
      },
    };
  }

  get wake(): (() => void) | null {
    return this.#outer.wake;
  }

  set wake(wake: (() => void) | null) {
    this.#outer.wake = wake;
  }

  begin(head: Exchange["request"]): void {
    const { method, scheme, authority, path } = this.#subject;
    const pseudo = head.major === 2
      ? [[":method", method], [":scheme", scheme], [":authority", authority], [
        ":path",
        path,
      ]] as const
      : [];
    for (const o of this.#observers) {
      o.began();
      this.#tell(o, {
        kind: "request",
        fields: o.headers ? [...pseudo, ...fieldsOf(head)] : null,
      });
    }
  }

  informational(head: ResponseHead): void {
    this.#outer.informational(head);
  }

  head(head: ResponseHead): void {
    this.#respondedMs = this.#now();
    this.#headCode = grpcStatusOf(head);
    const { status } = head;
    const pseudo = head.major === 2 ? [[":status", String(status)]] as const : [];
    for (const o of this.#observers) {
      this.#tell(o, {
        kind: "response",
        sinceRequestMs: this.#respondedMs - this.#startedMs,
        status,
        fields: o.headers ? [...pseudo, ...fieldsOf(head)] : null,
      });
    }
    this.#outer.head(head);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    return this.#outer.data(buf, from, to);
  }

  end(): void {
    const { trailers } = this.#x;
    const code = trailers === null ? this.#headCode : grpcStatusOf(trailers);
    this.#end(code === NO_GRPC_STATUS ? null : { kind: "grpc", code }, trailers);
    this.#outer.end();
  }

  abort(why: MeshError): void {
    this.#end({ kind: "reset", code: INTERNAL_ERROR }, null);
    this.#outer.abort(why);
  }

  fail(why: MeshError): void {
    this.#end({ kind: "reset", code: INTERNAL_ERROR }, null);
    this.#outer.fail(why);
  }

  #end(eos: Extract<TapEvent["event"], { kind: "end" }>["eos"], trailers: Head | null): void {
    if (this.#over) return;
    this.#over = true;
    const now = this.#now();
    for (const o of this.#observers) {
      this.#tell(o, {
        kind: "end",
        sinceRequestMs: now - this.#startedMs,
        sinceResponseMs: this.#respondedMs < 0 ? 0 : now - this.#respondedMs,
        eos,
        trailers: o.headers && trailers !== null ? fieldsOf(trailers) : null,
      });
      o.ended();
    }
  }

  #tell(o: Observer, event: TapEvent["event"]): void {
    o.push({ id: { base: o.base, stream: this.#stream }, subject: this.#subject, event });
  }
}

function fieldsOf(head: Head): TapFields {
  return Array.from({ length: head.count }, (_, i) => [head.nameAt(i), head.valueAt(i)] as const);
}
