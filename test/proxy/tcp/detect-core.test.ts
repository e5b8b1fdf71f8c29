// Connections that are silent, late or cut: who decides, when, and what nobody may hear before it.

import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Chan, Core } from "../../../src/core/driver.ts";
import { PREFACE } from "../../../src/proxy/http2/frames.ts";
import type { Protocol } from "../../../src/proxy/tcp/detect.ts";
import { Detect } from "../../../src/proxy/tcp/detect-core.ts";
import { Forward } from "../../../src/proxy/tcp/forward.ts";
import { MemoryDriver, type TestPeer, turn } from "../../support/memory-driver.ts";

const TO = { addr: { ip: "127.77.0.9", port: 5432 }, from: null, timeoutMs: 1000, tls: null };

function fixture(allowed = true) {
  const driver = new MemoryDriver();
  const served: string[] = [];
  const results: [string, number][] = [];
  const fed: string[] = [];
  let gone = 0;
  const forward = () => new Forward(driver, TO, null, { connected: () => {}, ended: () => {} });
  const http = (protocol: Protocol): Core & { onGone: (() => void) | null } => ({
    onGone: null,
    opened: () => {},
    feed: (_ch: Chan, buf: Uint8Array, from: number, to: number) => {
      fed.push(`${protocol}:${String.fromCharCode(...buf.subarray(from, to))}`);
      return to - from;
    },
    writable: () => {},
    ended: () => fed.push("fin"),
    closed() {
      this.onGone?.();
    },
  });
  const client = driver.accept(() => {
    const detect = new Detect(driver, {
      detectMs: 10_000,
      earlyMs: 50,
      silentMs: 0,
      early: () => allowed ? forward() : null,
      serve(protocol, early) {
        served.push(protocol);
        return early ?? (protocol === "opaque" || protocol === "tls" ? forward() : http(protocol));
      },
      detected: (result, ms) => results.push([result, ms]),
    });
    detect.onGone = () => gone++;
    return detect;
  });
  return {
    driver,
    client,
    served,
    results,
    fed,
    gone: () => gone,
    app: () => driver.connects.at(-1) as TestPeer,
  };
}

test("a client that speaks is told at once, and its bytes go to whoever serves it", () => {
  for (
    const [first, protocol, result] of [
      ["GET / HTTP/1.1\r\n\r\n", "http1", "http/1"],
      [String.fromCharCode(...PREFACE), "http2", "http/2"],
    ] as const
  ) {
    const f = fixture();
    f.driver.feed(f.client, first.slice(0, 5));
    assert.equal(f.served, []);
    f.driver.feed(f.client, first.slice(5));
    assert.equal(f.served, [protocol]);
    assert.equal(f.fed.map((t) => t.slice(protocol.length + 1)), [first]);
    assert.equal(f.results, [[result, 0]]);
    assert.is(f.driver.connects.length, 0);
  }
});

test("a server that speaks first is heard at once by a silent client", async () => {
  const f = fixture();
  f.driver.advance(48);
  assert.is(f.driver.connects.length, 0);
  f.driver.advance(32);
  assert.is(f.driver.connects.length, 1);
  f.driver.open(f.app());
  f.driver.feed(f.app(), "220 mail.test\r\n");
  await turn();
  assert.is(f.client.take(), "220 mail.test\r\n");
  assert.equal(f.served, ["opaque"]);
  assert.is(f.results[0]?.[0], "server_first");
  assert.ok((f.results[0]?.[1] ?? Infinity) < 100);
  // And it is an ordinary forward from here on.
  f.driver.feed(f.client, "EHLO a\r\n");
  assert.is(f.app().take(), "EHLO a\r\n");
  f.driver.end(f.app());
  await turn();
  assert.ok(f.client.shutdown);
  f.driver.end(f.client);
  assert.ok(f.app().shutdown);
});

test("a client that speaks late, and HTTP, has the early upstream ended and is served as such", async () => {
  const f = fixture();
  f.driver.advance(100);
  f.driver.open(f.app());
  f.driver.feed(f.client, "GET / HTTP/1.1\r\n\r\n");
  await turn();
  assert.equal(f.served, ["http1"]);
  assert.is(f.app().closed, "flush");
  assert.is(f.app().sent, "");
  assert.is(f.client.sent, "");
  assert.equal(f.fed, ["http1:GET / HTTP/1.1\r\n\r\n"]);
});

test("a client that speaks late, and something else, uses the upstream that is open", async () => {
  const f = fixture();
  f.driver.advance(100);
  f.driver.open(f.app());
  f.driver.feed(f.client, "\0\0\0\x08");
  await turn();
  assert.is(f.driver.connects.length, 1);
  assert.is(f.app().sent, "\0\0\0\x08");
  assert.is(f.results[0]?.[0], "not_http");
  f.driver.feed(f.app(), "N");
  await turn();
  assert.is(f.client.sent, "N");
});

test("a client that speaks before the early upstream is connected loses nothing", async () => {
  const f = fixture();
  f.driver.advance(100);
  f.driver.feed(f.client, "PING\r\n");
  assert.equal(f.served, ["opaque"]);
  assert.is(f.app().sent, "");
  f.driver.open(f.app());
  await turn();
  assert.is(f.app().sent, "PING\r\n");
});

test("where it is not allowed, no upstream is opened before the time is over", async () => {
  const f = fixture(false);
  f.driver.advance(9_900);
  assert.is(f.driver.connects.length, 0);
  f.driver.advance(200);
  assert.is(f.driver.connects.length, 1);
  assert.equal(f.results.map(([result]) => result), ["read_timeout"]);
  f.driver.open(f.app());
  f.driver.feed(f.app(), "late");
  await turn();
  assert.is(f.client.sent, "late");
});

test("an upstream that refuses early is tried again when the client has spoken", async () => {
  const f = fixture();
  f.driver.advance(100);
  f.driver.fail(f.app(), { kind: "connect", message: "ECONNREFUSED" });
  assert.equal(f.served, []);
  f.driver.feed(f.client, "PING\r\n");
  assert.is(f.driver.connects.length, 2);
  f.driver.open(f.app());
  await turn();
  assert.is(f.app().sent, "PING\r\n");
});

test("a server that ends without a word ends a silent client", async () => {
  const f = fixture();
  f.driver.advance(100);
  f.driver.open(f.app());
  f.driver.end(f.app());
  await turn();
  assert.ok(f.client.shutdown);
  assert.is(f.results[0]?.[0], "server_first");
});

test("a beginning that never becomes a request goes on as it is when the time is over", async () => {
  const f = fixture(false);
  f.driver.feed(f.client, "GET /");
  f.driver.advance(10_100);
  await turn();
  f.driver.open(f.app());
  await turn();
  assert.is(f.app().sent, "GET /");
});

test("a client that ends before it is known what it speaks is passed on with its end", async () => {
  const f = fixture();
  f.driver.feed(f.client, "GET");
  f.driver.end(f.client);
  await turn();
  f.driver.open(f.app());
  await turn();
  assert.is(f.app().sent, "GET");
  assert.ok(f.app().shutdown);
});

test("a client that goes away takes the early upstream with it, and is counted", () => {
  const f = fixture();
  f.driver.advance(100);
  f.driver.open(f.app());
  f.driver.fail(f.client, { kind: "reset", message: "ECONNRESET" });
  assert.is(f.app().closed, "flush");
  assert.is(f.gone(), 1);
  assert.equal(f.results.map(([result]) => result), ["error"]);
});

test("whoever serves the connection tells when it is gone", () => {
  const f = fixture();
  f.driver.feed(f.client, "GET / HTTP/1.1\r\n\r\n");
  assert.is(f.gone(), 0);
  f.driver.fail(f.client, { kind: "reset", message: "ECONNRESET" });
  assert.is(f.gone(), 1);
});

test("thousands of connections that say nothing hold no buffer and end with their clients", () => {
  const driver = new MemoryDriver();
  let open = 0;
  const clients: TestPeer[] = [];
  for (let i = 0; i < 2000; i++) {
    clients.push(driver.accept(() => {
      open++;
      const detect = new Detect(driver, {
        detectMs: 10_000,
        earlyMs: 50,
        silentMs: 0,
        early: () => null,
        serve: () => {
          throw new Error("nothing was said");
        },
        detected: () => {},
      });
      detect.onGone = () => open--;
      return detect;
    }));
  }
  driver.advance(5_000);
  for (const client of clients) driver.fail(client, { kind: "reset", message: "gone" });
  assert.is(open, 0);
  assert.is(driver.timers.armed, 0);
});

test.run();
