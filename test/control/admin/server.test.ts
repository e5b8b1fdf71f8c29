// The admin plane behind the HTTP server that serves it: what only shows over real connections.

import { connect } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MAX_MODULE_BYTES } from "../../../src/api/admin.ts";
import { createAdminApp } from "../../../src/control/admin/app.ts";
import { Live } from "../../../src/control/admin/live.ts";
import { formatSocketAddr, type SocketAddr } from "../../../src/core/addr.ts";
import { SILENT } from "../../../src/core/log.ts";
import { createHttpClient } from "../../../src/runtime/http-client.ts";
import { serveHttp } from "../../../src/runtime/http-server.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { FakeProxies, FakeState } from "./fixture.ts";

async function served(
  run: (at: SocketAddr, live: Live, state: FakeState) => Promise<void>,
  events: { maxQueuedBytes?: number } = {},
) {
  const state = new FakeState();
  const clock = new FakeClock();
  const live = new Live({ state, http: new FakeProxies(), clock, log: SILENT, events });
  const listen = { ip: "127.0.0.1", port: 0 };
  const app = createAdminApp(state, { live, assets: new Map(), listen, log: SILENT });
  const server = await serveHttp(listen, app.fetch);
  try {
    await run(server.addr, live, state);
  } finally {
    await server.close();
  }
}

/** Sends bytes as they are; resolves with all that comes until the other end closes. */
function raw(at: SocketAddr, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host: at.ip, port: at.port }, () => socket.write(request));
    socket.on("data", (chunk) => text += String(chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((r) => setTimeout(r, 10));
  assert.ok(condition(), "it did not happen within 5 s");
}

test("the Host header decides, also beside a URL in the request line", () =>
  served(async (at) => {
    const own = formatSocketAddr(at);
    const ask = (line: string, host: string) =>
      raw(at, `GET ${line} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    assert.match(await ask("/api/services", own), /^HTTP\/1.1 200 /);
    assert.match(await ask("/api/services", "evil.example"), /^HTTP\/1.1 403 /);
    assert.match(await ask(`http://${own}/api/services`, "evil.example"), /^HTTP\/1.1 40[03] /);
    assert.match(await ask("http://evil.example/api/services", own), /^HTTP\/1.1 40[03] /);
  }));

test("a body over its bound is answered 413 before it is sent whole", () =>
  served(async (at, _live, state) => {
    const head = `POST /api/filters/retry/rollout HTTP/1.1\r\nHost: ${formatSocketAddr(at)}\r\n` +
      "Content-Type: application/wasm\r\nConnection: close\r\n";
    const tooLong = await raw(at, `${head}Content-Length: ${MAX_MODULE_BYTES + 1}\r\n\r\n`);
    assert.match(tooLong, /^HTTP\/1.1 413 /);
    const chunk = `100000\r\n${"x".repeat(0x100000)}\r\n`;
    const endless = await raw(at, `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(5)}`);
    assert.match(endless, /^HTTP\/1.1 413 /);
    assert.is(state.rollouts.length, 0);
  }));

test("a page that goes away frees its event stream", () =>
  served(async (at, live) => {
    const client = createHttpClient();
    const gone = new AbortController();
    const url = `http://${formatSocketAddr(at)}/api/events`;
    const stream = client.request({ url, timeoutMs: 5000, maxBytes: 1e6, signal: gone.signal })
      .catch(() => {});
    await until(() => live.counts.eventStreams === 1);
    gone.abort();
    await stream;
    await until(() => live.counts.eventStreams === 0);
    assert.is(live.counts.eventStreamsDropped, 0);
    await client.close();
  }));

test("a page that does not read is cut without a word, and its memory is bounded", () =>
  served(async (at, live, state) => {
    const said: unknown[] = [];
    const { error } = console;
    console.error = (...words) => void said.push(words);
    const message = "x".repeat(200_000);
    state.problemList = [{ source: "s", message }];
    const socket = connect({ host: at.ip, port: at.port }, () => {
      socket.write(`GET /api/events HTTP/1.1\r\nHost: ${formatSocketAddr(at)}\r\n\r\n`);
    });
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    socket.pause();
    await until(() => live.counts.eventStreams === 1);
    // What the system's socket buffers take, and then what the hub allows.
    for (let i = 0; i < 500 && live.counts.eventStreams === 1; i++) await live.step();
    assert.equal([live.counts.eventStreams, live.counts.eventStreamsDropped], [0, 1]);
    socket.resume();
    await closed;
    console.error = error;
    assert.equal(said, []);
  }, { maxQueuedBytes: 1_000_000 }));

test.run();
