// The tap service (4190): gRPC `io.linkerd.proxy.tap.Tap/Observe` as a service of our own HTTP/2, so that
// its connections have the mesh's TLS and its one decision of identity. Who may observe is the one
// identity that is configured, and whoever is inside the pod. One message in, events out.

import { tapEventToBytes, type TapRequest, tapRequestFromBytes } from "../../api/tap.ts";
import { errorText } from "../../core/errors.ts";
import type { ConnInfo, Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import { ResponseHead } from "../../core/head.ts";
import { writeLatin1 } from "../../core/intern.ts";
import { isPodLocal } from "../../model/loopback.ts";
import { parseTrailers } from "../http1/trailers.ts";
import { parseResponse } from "../http1/parse.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import { replyLocally } from "../http/local-reply.ts";
import type { Observer, TapHub } from "./hub.ts";

const PATH = "/io.linkerd.proxy.tap.Tap/Observe";
/** A match is a few hundred bytes. */
const MAX_REQUEST_BYTES = 64 * 1024;
/** Length-prefixed message (gRPC over HTTP/2): a flag and a big-endian length. */
const PREFIX_BYTES = 5;

/** gRPC codes of the answers made here. */
const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const UNAUTHENTICATED = 16;

/** Who may observe. */
export interface TapOptions {
  /** The client identity that may. */
  readonly name: string;
  readonly podIps: readonly string[];
}

/** The service of every connection to the tap address. */
export function tapService(hub: TapHub, o: TapOptions): HttpService {
  return (x, reply) => {
    const { path, method } = x.request;
    if (path !== PATH || method !== "POST") {
      return refuse(reply, UNIMPLEMENTED, `${method} ${path.slice(0, 100)} is not served here`);
    }
    if (!mayObserve(x.conn, o)) {
      return refuse(reply, UNAUTHENTICATED, "the client's identity may not observe this proxy");
    }
    return new Call(hub, x, reply);
  };
}

function mayObserve({ tls, remote }: ConnInfo, o: TapOptions): boolean {
  if (tls !== null) return tls.identity === o.name;
  return isPodLocal(remote.ip, o.podIps);
}

/** A trailers-only answer. */
function refuse(reply: Reply, code: number, message: string): Sink {
  replyLocally({
    status: 200,
    headers: [
      ["content-type", "application/grpc"],
      ["grpc-status", String(code)],
      // Percent-encoded, as gRPC over HTTP/2 wants it.
      ["grpc-message", encodeURIComponent(message).replaceAll("%20", " ")],
    ],
    body: "",
  }, reply);
  return NOTHING_MORE;
}

/** One `Observe`: its request is read whole, then its events are written as they come. */
class Call implements Sink {
  wake: (() => void) | null = null;
  readonly #hub: TapHub;
  readonly #x: Exchange;
  readonly #reply: Reply;
  readonly #body: Uint8Array[] = [];
  #bytes = 0;
  #observer: Observer | null = null;
  #blocked = false;
  #over = false;

  constructor(hub: TapHub, x: Exchange, reply: Reply) {
    this.#hub = hub;
    this.#x = x;
    this.#reply = reply;
    reply.wake = () => {
      this.#blocked = false;
      this.#flush();
    };
    x.onEnd = () => this.#close();
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#over || this.#observer !== null) return true;
    this.#bytes += to - from;
    if (this.#bytes > MAX_REQUEST_BYTES) {
      this.#refuse(RESOURCE_EXHAUSTED, `the request is over ${MAX_REQUEST_BYTES} bytes`);
      return true;
    }
    this.#body.push(buf.slice(from, to));
    this.#begin();
    return true;
  }

  end(): void {
    if (this.#observer === null && !this.#over) {
      this.#refuse(INVALID_ARGUMENT, "the request ended before its message");
    }
  }

  abort(): void {
    this.#close();
  }

  /** Once the message is whole. Clients may keep their side open: nothing more is expected. */
  #begin(): void {
    const bytes = concat(this.#body, this.#bytes);
    if (bytes.length < PREFIX_BYTES) return;
    const length = new DataView(bytes.buffer).getUint32(1);
    if (length > MAX_REQUEST_BYTES) {
      this.#refuse(RESOURCE_EXHAUSTED, `the request is over ${MAX_REQUEST_BYTES} bytes`);
      return;
    }
    if (bytes.length < PREFIX_BYTES + length) return;
    let request: TapRequest;
    try {
      if (bytes[0] !== 0) throw new Error("compressed messages are not taken");
      request = tapRequestFromBytes(bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + length));
    } catch (e) {
      this.#refuse(INVALID_ARGUMENT, errorText(e));
      return;
    }
    const observer = this.#hub.observe(request);
    if (observer === null) {
      this.#refuse(RESOURCE_EXHAUSTED, "too many observers: try again when one has left");
      return;
    }
    this.#observer = observer;
    this.#body.length = 0;
    this.#reply.head(streamHead());
    observer.ready = () => this.#flush();
    this.#flush();
  }

  #flush(): void {
    const observer = this.#observer;
    if (observer === null || this.#over) return;
    while (!this.#blocked) {
      const event = observer.take();
      if (event === null) break;
      const message = tapEventToBytes(event);
      const frame = new Uint8Array(PREFIX_BYTES + message.length);
      new DataView(frame.buffer).setUint32(1, message.length);
      frame.set(message, PREFIX_BYTES);
      this.#blocked = !this.#reply.data(frame, 0, frame.length);
    }
    if (this.#blocked || !observer.done) return;
    this.#close();
    this.#x.trailers = parseTrailers(OK);
    this.#reply.end();
  }

  #refuse(code: number, message: string): void {
    this.#over = true;
    this.#body.length = 0;
    refuse(this.#reply, code, message);
  }

  #close(): void {
    this.#over = true;
    this.#observer?.close();
  }
}

const OK = [...new TextEncoder().encode("grpc-status: 0\r\n")];

/** Of a body whose length nobody knows. */
function streamHead(): ResponseHead {
  const text =
    "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n";
  const bytes = new Uint8Array(text.length);
  writeLatin1(text, bytes, 0);
  const head = new ResponseHead();
  parseResponse(head, bytes, 0, bytes.length, bytes.length, false, false);
  return head;
}

function concat(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
