// An outbound proxy in memory whose client and endpoints speak HTTP/2, for requests that wait for a
// connection: the test says which endpoint takes one, and when.

import * as assert from "uvu/assert";
import {
  ACK,
  DATA,
  END_HEADERS,
  END_STREAM,
  HEADERS,
  PREFACE,
  RST_STREAM,
  SETTINGS,
} from "../../../src/proxy/http2/frames.ts";
import type { OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { outboundFixture } from "../../support/outbound-fixture.ts";
import type { TestPeer } from "../../support/memory-driver.ts";
import { body, type Fields, frame, type Got, RawPeer } from "../http2/raw-peer.ts";

export const REFUSED = { kind: "connect", message: "ECONNREFUSED" } as const;

const head = (method: string): Fields => [
  [":method", method],
  [":scheme", "http"],
  [":authority", "web"],
  [":path", "/a"],
];

/** A stream's end, as its client saw it: a status or a reset, and the reason. */
export interface Ended {
  readonly status: string;
  readonly why: string;
  readonly body: string;
}

export function waitFixture(
  value: OutboundSnapshot,
  more: Parameters<typeof outboundFixture>[1] = {},
) {
  const f = outboundFixture(value, more);
  const { driver } = f;
  let client = new RawPeer(driver, f.client()).hello();
  const ended = new Map<number, Ended>();
  const peers = new Map<TestPeer, RawPeer>();
  let last = -1;
  const look = () => {
    const got = client.take();
    for (const { type, stream, fields } of got) {
      if (type === HEADERS) {
        const why = fields["l5d-proxy-error"] ?? "";
        assert.not.ok(ended.has(stream), `stream ${stream} was answered twice`);
        ended.set(stream, { status: fields[":status"] ?? "", why, body: body(got, stream) });
      } else if (type === RST_STREAM && !ended.has(stream)) {
        ended.set(stream, { status: "reset", why: "", body: "" });
      }
    }
  };
  return {
    ...f,
    get h2() {
      return client;
    },
    /** A new connection of the client: one that was told 504 takes no more requests. */
    reconnect(): void {
      client = new RawPeer(driver, f.client()).hello();
      last = -1;
      ended.clear();
    },
    /** Begins a request; its stream. Without `text` it has no body. */
    ask(text: string | null = null, end = true, more: Fields = []): number {
      last += 2;
      const fields = [...head(text === null ? "GET" : "POST"), ...more];
      client.headers(last, fields, text === null);
      if (text !== null) client.data(last, text, end);
      return last;
    },
    /** How a request ended; undefined: it has not. */
    ended(stream: number): Ended | undefined {
      look();
      return ended.get(stream);
    },
    /** Connections so far. */
    dials: () => driver.connects.length,
    up: (i: number) => driver.connects[i] as TestPeer,
    refuse(i: number): void {
      driver.fail(driver.connects[i] as TestPeer, REFUSED);
    },
    /** An endpoint takes a connection. */
    accept(i: number): RawPeer {
      const up = driver.connects[i] as TestPeer;
      const peer = new RawPeer(driver, up);
      peers.set(up, peer);
      driver.open(up);
      peer.send(frame(SETTINGS, 0, 0), frame(SETTINGS, ACK, 0));
      return peer;
    },
    /** What an endpoint was sent since it was asked last. */
    got(peer: RawPeer): Got[] {
      const preface = String.fromCharCode(...PREFACE);
      if (peer.peer.sent.startsWith(preface)) {
        peer.peer.sent = peer.peer.sent.slice(preface.length);
      }
      return peer.take();
    },
    /** An endpoint answers a stream with 200 and a body. */
    answer(peer: RawPeer, stream: number, text = "ok"): void {
      peer.send(frame(HEADERS, END_HEADERS, stream, peer.block([[":status", "200"]])));
      peer.send(frame(DATA, END_STREAM, stream, Uint8Array.from(text, (c) => c.charCodeAt(0))));
    },
    /** The value of the series that begins so; 0: there is none. */
    metric(start: string): number {
      for (const target of f.targets.all()) target.observe();
      const line = exposition(f.metrics.sheet, []).split("\n").find((l) => l.startsWith(start));
      return Number(line?.split(" ").at(-1) ?? 0);
    },
  };
}
