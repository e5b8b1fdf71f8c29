// Random HTTP/1 clients, by seed: nothing throws, what is read does not depend on how the bytes were cut,
// each request that began ends once, and what is accepted is understood as the runtime's own server does.

import http from "node:http";
import net from "node:net";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Exchange, HttpService, Reply, Sink } from "../../../src/core/exchange.ts";
import { ResponseHead } from "../../../src/core/head.ts";
import { parseResponse } from "../../../src/proxy/http1/parse.ts";
import { Http1Server } from "../../../src/proxy/http1/server.ts";
import { MemoryDriver, turn } from "../../support/memory-driver.ts";
import { fuzzSeed, type Random, seeded } from "../../support/random.ts";
import { testUnless } from "../../support/skip.ts";

const RUNS = 1500;
const latin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const OK = latin1("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");

interface Got {
  readonly line: string;
  body: string;
  ended: boolean;
}

/** A server that answers each request at its end; what it got. */
class Server {
  readonly driver = new MemoryDriver();
  readonly got: Got[] = [];
  readonly inFlight = { count: 0 };
  refused = 0;
  readonly client;

  constructor() {
    const service: HttpService = (x, reply) => this.#serve(x, reply);
    this.client = this.driver.accept((_ch, peer) =>
      new Http1Server(this.driver, {
        direction: "outbound",
        remote: peer.remote,
        target: peer.local,
        tls: null,
      }, {
        service,
        maxHeadBytes: 4096,
        headMs: 10_000,
        idleMs: 60_000,
        tellMesh: () => false,
        refused: () => void this.refused++,
        draining: () => false,
        inFlight: this.inFlight,
      })
    );
  }

  #serve(x: Exchange, reply: Reply): Sink {
    const { request } = x;
    const one: Got = { line: `${request.method} ${request.path}`, body: "", ended: false };
    this.got.push(one);
    return {
      wake: null,
      data(buf, from, to) {
        for (let i = from; i < to; i++) one.body += String.fromCharCode(buf[i] as number);
        return true;
      },
      end() {
        assert.not(one.ended, "ended twice");
        one.ended = true;
        const head = new ResponseHead();
        parseResponse(head, OK, 0, OK.length, 65_536, request.isHead, false);
        reply.head(head);
        reply.end();
      },
      abort() {
        assert.not(one.ended, "aborted after its end");
        one.ended = true;
      },
    };
  }
}

const pick = <T>(random: Random, ...all: readonly T[]): T => random.pick(all);

/** A request, often with something wrong where readings may differ. */
function request(random: Random): string {
  const method = pick(random, "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE");
  const target = pick(random, "/", "/a?b=c", "/%20", "http://h/x", "*", "//x");
  const version = random() < 0.95 ? "HTTP/1.1" : pick(random, "HTTP/1.0", "HTTP/1.2", "http/1.1");
  const fields = ["host: h"];
  let body = "";
  switch (random.int(0, 4)) {
    case 0:
      body = "x".repeat(random.int(0, 30));
      fields.push(`content-length: ${body.length}`);
      break;
    case 1:
      for (let k = random.int(0, 3); k > 0; k--) {
        const size = random.int(1, 20);
        const extension = pick(random, "", "", ";a", ";a=b", ' ;a="b"');
        body += `${size.toString(16)}${extension}\r\n${"y".repeat(size)}\r\n`;
      }
      body += pick(random, "0\r\n\r\n", "0\r\n\r\n", "0\r\nx-sum: 1\r\n\r\n");
      fields.push(pick(random, "transfer-encoding: chunked", "Transfer-Encoding:chunked"));
      break;
  }
  for (let k = random.int(0, 3); k > 0; k--) {
    fields.push(pick(
      random,
      "content-length: 3",
      "content-length: +3",
      "content-length: 3, 3",
      "transfer-encoding: gzip, chunked",
      "transfer-encoding : chunked",
      "transfer-encoding: xchunked",
      "x-a: b",
      " folded: yes",
      "x\0y: z",
      "x-b: c\rd",
      "connection: close",
      "connection: keep-alive, x-a",
      "expect: 100-continue",
      "cookie: a=b; c=d",
    ));
  }
  const eol = random() < 0.95 ? "\r\n" : "\n";
  return `${method} ${target} ${version}${eol}${fields.join(eol)}${eol}${eol}${body}`;
}

function stream(random: Random): Uint8Array {
  const bytes = latin1(Array.from({ length: random.int(1, 4) }, () => request(random)).join(""));
  if (random() < 0.4) {
    for (let k = random.int(1, 3); k > 0; k--) {
      bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    }
  }
  return bytes;
}

/** What is wrong with a head may be told before it is whole, or only then: so each gets an end. */
async function play(pieces: readonly Uint8Array[]): Promise<Server> {
  const s = new Server();
  for (const piece of [...pieces, latin1("\r\n\r\n")]) {
    if (s.client.closed !== null || s.client.core === null) break;
    s.driver.feed(s.client, piece);
    await turn();
  }
  return s;
}

test("what a client says does not depend on how it is cut, and ends once", async () => {
  const random = seeded(fuzzSeed("http1"));
  let requests = 0;
  for (let run = 0; run < RUNS; run++) {
    const bytes = stream(random);
    const whole = await play([bytes]);
    const cut = await play(random.pieces(bytes, random.pick([1, 5, 60])));
    const said = ({ got, refused }: Server) => JSON.stringify([got, refused]);
    assert.is(
      said(cut),
      said(whole),
      `run ${run}: ${JSON.stringify(String.fromCharCode(...bytes))}`,
    );
    assert.is(cut.client.take(), whole.client.take(), `run ${run}`);
    requests += whole.got.length;
    for (const s of [whole, cut]) {
      if (s.client.core !== null) s.driver.fail(s.client, { kind: "reset", message: "over" });
      assert.ok(s.got.every(({ ended }) => ended), `run ${run}`);
      assert.is(s.inFlight.count, 0);
      assert.is(s.driver.timers.armed, 0);
    }
  }
  assert.ok(requests > RUNS / 5, String(requests));
});

/** What node:http makes of the same bytes. */
async function ask(port: number, bytes: Uint8Array): Promise<string> {
  const socket = net.connect(port, "127.0.0.1");
  let text = "";
  socket.setEncoding("latin1").on("data", (piece: string) => (text += piece));
  const closed = new Promise((done) => socket.once("close", done));
  socket.on("error", () => {});
  socket.end(bytes);
  await closed;
  return text;
}

testUnless(
  process.versions.deno === undefined ? null : "Deno's node:http server is not llhttp",
  test,
  "requests that are accepted here and by node:http are the same requests",
  async () => {
    const random = seeded(fuzzSeed("http1 beside node:http"));
    let theirs: string[] = [];
    const server = http.createServer((request, response) => {
      let body = "";
      request.setEncoding("latin1").on("data", (piece: string) => (body += piece));
      request.on("end", () => {
        theirs.push(`${request.method} ${request.url} ${JSON.stringify(body)}`);
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    let compared = 0;
    try {
      for (let run = 0; run < 400; run++) {
        const bytes = stream(random);
        const s = await play([bytes]);
        if (s.client.core !== null) s.driver.end(s.client);
        theirs = [];
        await ask(port, bytes);
        // Either may refuse more; what both took from the start must be alike: a difference is smuggling.
        const both = Math.min(s.got.length, theirs.length);
        for (let i = 0; i < both; i++) {
          const ours = s.got[i] as Got;
          const path = (theirs[i] as string).replace(/ http:\/\/[^/ ]*/i, " ");
          assert.is(`${ours.line} ${JSON.stringify(ours.body)}`, path, `run ${run}`);
          compared++;
        }
        if (s.client.core !== null) s.driver.fail(s.client, { kind: "reset", message: "over" });
      }
    } finally {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
    assert.ok(compared > 100, String(compared));
  },
);

test.run();
