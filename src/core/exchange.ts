// One request and its response, pushed through layers by synchronous calls.

import type { SocketAddr } from "./addr.ts";
import type { MeshError } from "./errors.ts";
import type { CalloutRequest, FilterChain } from "./filter.ts";
import { NO_FILTERS } from "./filter.ts";
import { type Head, RequestHead, ResponseHead } from "./head.ts";
import type { PeerTls } from "./driver.ts";

/** Facts of the accepted connection: once per connection. */
export interface ConnInfo {
  readonly direction: "inbound" | "outbound";
  /** The client's address. */
  readonly remote: SocketAddr;
  /** Where the client wanted to go: the original destination, or the address it connected to. */
  readonly target: SocketAddr;
  /** Mesh TLS, or null for plain text. */
  readonly tls: PeerTls | null;
  /** The name that the client's own TLS asks for, which passes through; absent: not looked at. */
  readonly serverName?: string | null;
}

/** A response made here, by a filter. */
export interface LocalReply {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** Endpoints with this label. */
export interface EndpointChoice {
  readonly label: string;
  readonly value: string;
  /** No other endpoint will do. */
  readonly strict: boolean;
}

/** One direction of an exchange. */
export interface Sink {
  /** Bytes lent for the call, always taken; false: send no more until `wake`. */
  data(buf: Uint8Array, from: number, to: number): boolean;
  /** The end of the body; in a tunnel, half-close. */
  end(): void;
  /** Legal in every state, also after `end`; idempotent. */
  abort(why: MeshError): void;
  /** Set by the sender; called by the receiver when it can take more. */
  wake: (() => void) | null;
}

/** The response side. Exactly one of `end`, `abort`, `fail` ends it. */
export interface Reply extends Sink {
  /** 1xx other than 101. */
  informational(head: ResponseHead): void;
  /** Once. With `head.tunnel` both sinks carry raw bytes from here on. */
  head(head: ResponseHead): void;
  /** Only before `head`. */
  fail(why: MeshError): void;
}

/** A request and what the layers know of it. Owned by its connection and used again. */
export class Exchange {
  conn: ConnInfo;
  readonly request = new RequestHead();
  /** The driver's clock when the head was read. */
  startedMs = 0;
  /** When the response's head went to the client, where that is measured; 0: it did not. */
  respondedMs = 0;
  /** What its content-length says; -1: nothing. */
  responseBytes = -1;
  /** When its body ended, for who measures it; 0: it has not. */
  requestEndedMs = 0;
  /** When the route's time-out ends it; Infinity: never. */
  deadlineMs = Infinity;
  /** 0 for the first. */
  attempt = 0;
  /** Grows with each request; a late call with an old one is ignored. */
  generation = 0;
  /** What the route put here; a request keeps the chain that it started with. */
  chain: FilterChain = NO_FILTERS;
  /** The chain saw this request, so that it must see its end. */
  filtered = false;
  /** The fields after the request's body, set before its end and kept for every attempt. */
  requestTrailers: Head | null = null;
  /** The fields after the response's body, set before its end; null: there are none. */
  trailers: ResponseHead | null = null;
  /** How many filters of the chain saw the request; -1: all. */
  filtersSeen = -1;
  /** What a filter asks whose verdict is `PAUSED`. */
  callout: CalloutRequest | null = null;
  /** Call-outs so far. */
  callouts = 0;
  /** This is a call-out itself, which makes none. */
  isCallout = false;
  /** Set by a chain whose verdict is `REPLY`. */
  local: LocalReply | null = null;
  /** Why the chain's verdict is `FAILED`, in one line. */
  filterError = "";
  /** Labels of the endpoint that served the attempt; for filters and metrics. */
  endpointLabels: Readonly<Record<string, string>> = NO_LABELS;
  /** The matched route's state; its owner knows the type. */
  route: unknown = null;
  /** The route of the ServiceProfile that the client's proxy names; its owner knows the type. */
  profileRoute: unknown = null;
  /** The matched route's name, for filters. */
  routeName = "";
  /** A filter's time-out until the response's head, retries included; 0: none. */
  timeoutMs = 0;
  /** Filters' time limits that go on after the response's head: of the whole exchange, of the response
   * from the request's end on, and without a byte in either direction; 0: none. */
  exchangeLimitMs = 0;
  responseLimitMs = 0;
  idleLimitMs = 0;
  /** A filter's time-out for the attempt that begins; 0: none. */
  attemptTimeoutMs = 0;
  /** The series of the backend that the attempt goes to; its owner knows the type. */
  backend: unknown = null;
  /** How long it waited for an endpoint. */
  waitedMs = 0;
  /** How often it was sent again because nothing of it was processed, over all attempts. */
  replays = 0;
  /** The head of an endpoint's response went to the client. */
  answered = false;
  /** Which endpoints a filter wants asked, or null. */
  choice: EndpointChoice | null = null;
  /** The cookie that the client is given, by which the balancer knows it again; empty: none. */
  givenCookie = "";
  /** What the request was for before an endpoint's own name took its place; undefined: it still is. */
  ownAuthority: string | null | undefined = undefined;
  /** The final status sent to the client; 0 when it got none. */
  status = 0;
  /** The endpoint's proxy asks that the client's connection ends with this response. */
  endsClient = false;
  /** The response's `grpc-status`, once its head or trailers said one; -1: none. */
  grpcStatus = -1;
  /** Why the exchange failed, or null. */
  error: MeshError | null = null;
  /** Called once by the connection when the exchange is over, however it ended. Set by the stack. */
  onEnd: ((x: Exchange) => void) | null = null;

  #ownTrailers: ResponseHead | null = null;

  constructor(conn: ConnInfo) {
    this.conn = conn;
  }

  /** A head of the exchange's own for a codec to read trailers into; it lives as long as the exchange. */
  ownTrailers(): ResponseHead {
    return this.#ownTrailers ??= new ResponseHead();
  }

  /** Begins the next request on the connection. */
  begin(nowMs: number): void {
    this.startedMs = nowMs;
    this.respondedMs = 0;
    this.responseBytes = -1;
    this.requestEndedMs = 0;
    this.deadlineMs = Infinity;
    this.attempt = 0;
    this.generation++;
    this.chain = NO_FILTERS;
    this.filtered = false;
    this.requestTrailers = null;
    this.trailers = null;
    this.filtersSeen = -1;
    this.callout = null;
    this.callouts = 0;
    this.local = null;
    this.filterError = "";
    this.endpointLabels = NO_LABELS;
    this.route = null;
    this.profileRoute = null;
    this.routeName = "";
    this.timeoutMs = 0;
    this.exchangeLimitMs = 0;
    this.responseLimitMs = 0;
    this.idleLimitMs = 0;
    this.attemptTimeoutMs = 0;
    this.backend = null;
    this.waitedMs = 0;
    this.replays = 0;
    this.answered = false;
    this.choice = null;
    this.givenCookie = "";
    this.ownAuthority = undefined;
    this.status = 0;
    this.endsClient = false;
    this.grpcStatus = -1;
    this.error = null;
    this.onEnd = null;
  }

  /** Ends the exchange; idempotent. */
  finish(): void {
    const hook = this.onEnd;
    this.onEnd = null;
    hook?.(this);
  }
}

const NO_LABELS: Readonly<Record<string, string>> = Object.freeze({});

/** Takes an exchange and says where its request body goes. */
export type HttpService = (x: Exchange, reply: Reply) => Sink;
/** Wraps a service. */
export type HttpLayer = (inner: HttpService) => HttpService;
