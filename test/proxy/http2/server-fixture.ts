// An HTTP/2 server on a memory driver, with a service that a test steers: what each request was, and
// its reply, to be answered now or later.

import type { MeshError } from "../../../src/core/errors.ts";
import type { ConnInfo, Exchange, Reply, Sink } from "../../../src/core/exchange.ts";
import { ResponseHead } from "../../../src/core/head.ts";
import { parseResponse } from "../../../src/proxy/http1/parse.ts";
import { Http2Server, type Http2Settings } from "../../../src/proxy/http2/server.ts";
import { MemoryDriver } from "../../support/memory-driver.ts";
import { RawPeer } from "./raw-peer.ts";

/** One request as the service saw it. */
export class Call implements Sink {
  wake: (() => void) | null = null;
  readonly x: Exchange;
  readonly reply: Reply;
  readonly line: string;
  body = "";
  ends = 0;
  aborted: MeshError | null = null;
  /** What `data` answers. */
  ready = true;

  constructor(x: Exchange, reply: Reply) {
    this.x = x;
    this.reply = reply;
    this.line = `${x.request.method} ${x.request.authority} ${x.request.path}`;
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    for (let i = from; i < to; i++) this.body += String.fromCharCode(buf[i] as number);
    return this.ready;
  }

  end(): void {
    this.ends++;
  }

  abort(why: MeshError): void {
    this.aborted = why;
  }

  /** Answers with a head, and with `text` and an end unless it is null. */
  answer(text: string | null, head = `HTTP/1.1 200 OK\r\ncontent-length: ${text?.length}`): void {
    this.reply.head(responseHead(head));
    if (text === null) return;
    if (text !== "") this.send(text);
    this.reply.end();
  }

  send(text: string): boolean {
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    return this.reply.data(bytes, 0, bytes.length);
  }
}

/** A head as an endpoint of HTTP/1 would have sent it. */
export function responseHead(text: string, connect = false): ResponseHead {
  const head = new ResponseHead();
  const bytes = Uint8Array.from(text + "\r\n\r\n", (c) => c.charCodeAt(0));
  const n = parseResponse(head, bytes, 0, bytes.length, bytes.length, false, connect);
  if (n !== bytes.length) throw new Error(`not a response head: ${text}`);
  return head;
}

export interface ServerFixture {
  readonly driver: MemoryDriver;
  readonly server: Http2Server;
  readonly peer: RawPeer;
  readonly calls: Call[];
  readonly floods: string[];
  readonly refused: MeshError[];
  readonly ended: Exchange[];
  readonly inFlight: { count: number };
  call(i: number): Call;
  gone(): boolean;
}

const CONN: ConnInfo = {
  direction: "outbound",
  remote: { ip: "127.77.0.1", port: 50_000 },
  target: { ip: "127.77.0.1", port: 4140 },
  tls: null,
};

/** A connection that has not spoken yet. `serve` sees each request before the test does. */
export function server(
  o: Partial<Http2Settings> & {
    maxHeadBytes?: number;
    idleMs?: number;
    serve?: (call: Call) => void;
    driver?: MemoryDriver;
  } = {},
): ServerFixture {
  const driver = o.driver ?? new MemoryDriver();
  const calls: Call[] = [];
  const floods: string[] = [];
  const refused: MeshError[] = [];
  const ended: Exchange[] = [];
  const inFlight = { count: 0 };
  let gone = false;
  let made: Http2Server | null = null;
  const peer = driver.accept(() => {
    made = new Http2Server(driver, CONN, {
      service: (x, reply) => {
        const call = new Call(x, reply);
        x.onEnd = (over) => ended.push(over);
        calls.push(call);
        o.serve?.(call);
        return call;
      },
      maxHeadBytes: o.maxHeadBytes ?? 64 * 1024,
      headMs: 10_000,
      idleMs: o.idleMs ?? 600_000,
      tellMesh: () => true,
      refused: (why) => refused.push(why),
      draining: () => false,
      inFlight,
      http2: {
        streamWindowBytes: 65_535,
        connectionWindowBytes: 1_048_576,
        maxConcurrentStreams: 100,
        stallMs: 60_000,
        keepAlive: null,
        sessions: new Set(),
        flooded: (what) => floods.push(what),
        ...o,
      },
    });
    made.session.onGone = () => (gone = true);
    return made.session;
  });
  return {
    driver,
    server: made as unknown as Http2Server,
    peer: new RawPeer(driver, peer),
    calls,
    floods,
    refused,
    ended,
    inFlight,
    call: (i) => {
      const call = calls[i];
      if (call === undefined) throw new Error(`there were ${calls.length} requests`);
      return call;
    },
    gone: () => gone,
  };
}
