// gRPC, gRPC-web and Connect through the stacks: every kind of call, deadlines, cancellation and
// errors, by an outbound proxy, an inbound one, and a pair with mutual TLS between.

import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import {
  type FilterChain,
  HOOK_REQUEST,
  HOOK_TRAILERS,
  NO_FILTERS,
  REPLY,
} from "../../../src/core/filter.ts";
import { headerName } from "../../../src/core/head.ts";
import type { SocketAddr } from "../../../src/core/addr.ts";
import { eventually } from "../../mesh/support/waiting.ts";
import { material } from "../../support/driver-fixture.ts";
import { Echo, type EchoSeen, serveEcho } from "../../support/echo-rpc.ts";
import { type NetProxy, netProxy } from "../../support/net-proxy.ts";
import { createTestCa } from "../../support/test-ca.ts";

const INBOUND = "echo.shop.serviceaccount.identity.linkerd.cluster.local";
const OUTBOUND = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const WAYS = ["outbound", "inbound", "mesh"] as const;

let app: http2.Http2Server;
let app1: http.Server;
const sessions = new Set<http2.ServerHttp2Session>();
const seen: EchoSeen = { aborted: 0, deadlines: [] };
const proxies = new Map<string, NetProxy>();
const managers: Http2SessionManager[] = [];
const agent = new http.Agent({ keepAlive: true });

test.before(async () => {
  const handler = connectNodeAdapter({ routes: (router) => serveEcho(router, seen) });
  app = http2.createServer({}, handler);
  app.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  app1 = http.createServer(handler);
  const to: SocketAddr[] = [];
  for (const server of [app, app1]) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    to.push({ ip: "127.0.0.1", port: (server.address() as AddressInfo).port });
  }
  const [two, one] = [to.slice(0, 1), to.slice(1)];
  const ca = await createTestCa();
  const behind = async (name: string, targets: typeof to) => {
    const identity = await material(ca, INBOUND);
    const proxy = await netProxy({ to: targets, inbound: true, identity });
    proxies.set(`behind ${name}`, proxy);
    return {
      addr: proxy.addr,
      weight: 10_000,
      labels: {},
      identity: { name: INBOUND, serverName: INBOUND },
      transportPort: proxy.port,
      hint: "h2" as const,
    };
  };
  const identity = await material(ca, OUTBOUND);
  proxies.set("mesh", await netProxy({ to: [await behind("mesh", two)], identity }));
  proxies.set("mesh1", await netProxy({ to: [await behind("mesh1", one)], identity }));
  proxies.set("outbound", await netProxy({ to: two, protocol: "same" }));
  proxies.set("inbound", await netProxy({ to: two, inbound: true }));
  proxies.set("http1", await netProxy({ to: one, protocol: "http1" }));
  proxies.set("http2", await netProxy({ to: two, protocol: "http2" }));
});

test.after(async () => {
  for (const manager of managers) manager.abort();
  agent.destroy();
  for (const proxy of proxies.values()) await proxy.close();
  for (const session of sessions) session.destroy();
  app1.closeAllConnections();
  for (const server of [app, app1]) await new Promise((done) => server.close(done));
  for (const [name, proxy] of proxies) assert.equal(proxy.defects, [], name);
});

const urlOf = (way: string) => `http://127.0.0.1:${proxies.get(way)!.port}`;

function grpc(way: string) {
  const baseUrl = urlOf(way);
  const manager = new Http2SessionManager(baseUrl);
  managers.push(manager);
  return createClient(Echo, createGrpcTransport({ baseUrl, sessionManager: manager }));
}

async function* say(...texts: string[]) {
  for (const text of texts) yield { text };
}

async function textsOf(messages: AsyncIterable<{ text: string }>): Promise<string[]> {
  const all: string[] = [];
  for await (const { text } of messages) all.push(text);
  return all;
}

function failure(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => assert.unreachable("the call should have failed"),
    (e: unknown) => ConnectError.from(e),
  ) as Promise<ConnectError>;
}

for (const way of WAYS) {
  test(`gRPC: all four kinds of calls, with headers and trailers (${way})`, async () => {
    const client = grpc(way);
    let head = "";
    let trailer = "";
    const { text } = await client.unary({ text: "a" }, {
      onHeader: (headers) => (head = headers.get("x-head") ?? ""),
      onTrailer: (trailers) => (trailer = trailers.get("x-trailer") ?? ""),
    });
    assert.equal([text, head, trailer], ["unary a", "yes", "yes"]);
    assert.is((await client.collect(say("a", "b", "c"))).text, "a,b,c");
    assert.equal(await textsOf(client.repeat({ text: "3" })), ["0", "1", "2"]);
    assert.equal(await textsOf(client.talk(say("a", "b"))), ["re a", "re b"]);
  });

  test(`gRPC: a conversation alternates, message by message (${way})`, async () => {
    const client = grpc(way);
    let next: ((text: string | null) => void) | null = null;
    async function* ask() {
      for (;;) {
        const text = await new Promise<string | null>((resolve) => (next = resolve));
        if (text === null) return;
        yield { text };
      }
    }
    const answers = client.talk(ask())[Symbol.asyncIterator]();
    for (const text of ["one", "two", "three"]) {
      const answer = answers.next();
      await eventually("the question is asked for", () => assert.ok(next !== null));
      const send = next! as (text: string | null) => void;
      next = null;
      send(text);
      assert.is((await answer).value?.text, `re ${text}`);
    }
    const end = answers.next();
    await eventually("the end is asked for", () => assert.ok(next !== null));
    (next! as (text: string | null) => void)(null);
    assert.is((await end).done, true);
  });

  test(`gRPC: errors come as trailers alone, and after messages (${way})`, async () => {
    const client = grpc(way);
    const early = await failure(client.unary({ text: "fail:5" }));
    assert.equal([early.code, early.rawMessage], [Code.NotFound, "as asked"]);
    const got: string[] = [];
    const late = await failure((async () => {
      for await (const { text } of client.repeat({ text: "2 fail" })) got.push(text);
    })());
    assert.equal([got, late.code], [["0", "1"], Code.Aborted]);
  });

  test(`gRPC: deadlines travel, and cancellations end the call at the server (${way})`, async () => {
    const client = grpc(way);
    seen.deadlines.length = 0;
    await client.unary({ text: "a" }, { timeoutMs: 5000 });
    const [deadline] = seen.deadlines;
    assert.ok(deadline !== undefined && deadline > 0 && deadline <= 5000, `${deadline}`);
    let aborted = seen.aborted;
    const late = await failure(client.unary({ text: "hang" }, { timeoutMs: 300 }));
    assert.is(late.code, Code.DeadlineExceeded);
    await eventually("the server hears of it", () => assert.is(seen.aborted, aborted + 1));
    aborted = seen.aborted;
    const controller = new AbortController();
    const cancelled = await failure((async () => {
      const { signal } = controller;
      for await (const _ of client.repeat({ text: "1 hang" }, { signal })) controller.abort();
    })());
    assert.is(cancelled.code, Code.Canceled);
    await eventually("the server hears of it", () => assert.is(seen.aborted, aborted + 1));
  });

  test(`gRPC: a message larger than every window passes whole (${way})`, async () => {
    const client = grpc(way);
    const text = "0123456789".repeat(200_000);
    assert.ok((await client.unary({ text })).text === `unary ${text}`);
  });
}

test("gRPC: calls are counted by their code, which says whether they failed", async () => {
  const codes = [Code.NotFound, Code.Unavailable, Code.NotFound];
  for (const code of codes) await failure(grpc("mesh").unary({ text: `fail:${code}` }));
  for (const way of ["mesh", "behind mesh"]) {
    const { metrics } = proxies.get(way)!;
    const series = [...metrics.response.series.keys()];
    for (const [code, classification] of [[0, "success"], [5, "success"], [14, "failure"]]) {
      const labels = `classification="${classification}",grpc_status="${code}"`;
      assert.ok(series.some((text) => text.includes(labels)), `${way}: ${labels}`);
    }
  }
});

test("gRPC: a filter sees the trailers and may change them", async () => {
  const seen: (string | null)[] = [];
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_TRAILERS,
    responseTrailers(_x, trailers) {
      seen.push(trailers.get(headerName("grpc-status")));
      trailers.set(headerName("x-trailer"), "changed");
    },
  };
  const { addr } = proxies.get("outbound")!;
  for (const inbound of [false, true]) {
    const proxy = await netProxy({ to: [addr], protocol: "http2", chain, inbound });
    proxies.set(`filtered ${inbound}`, proxy);
    let trailer = "";
    await grpc(`filtered ${inbound}`).unary({ text: "a" }, {
      onTrailer: (trailers) => (trailer = trailers.get("x-trailer") ?? ""),
    });
    assert.is(trailer, "changed");
  }
  assert.equal(seen, ["0", "0"]);
});

test("what a filter answers to a call has a code, a text and its headers", async () => {
  const { addr } = proxies.get("outbound")!;
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_REQUEST,
    requestHead(x) {
      x.local = { status: 429, headers: [["retry-after", "1"]], body: "Too many requests\n" };
      return REPLY;
    },
  };
  for (const inbound of [false, true]) {
    proxies.set(`limited ${inbound}`, await netProxy({ to: [addr], chain, inbound }));
    try {
      await grpc(`limited ${inbound}`).unary({ text: "a" });
      assert.unreachable("the call was answered");
    } catch (e) {
      const { code, rawMessage, metadata } = ConnectError.from(e);
      assert.is(code, Code.ResourceExhausted);
      assert.is(rawMessage, "Too many requests");
      assert.is(metadata.get("retry-after"), "1");
    }
  }
});

for (
  const [way, httpVersion, what] of [
    ["outbound", "2", "over HTTP/2"],
    ["inbound", "2", "over HTTP/2"],
    ["mesh", "2", "over HTTP/2"],
    ["http1", "1.1", "over HTTP/1"],
    ["http1", "2", "to an application of HTTP/1"],
    ["http2", "1.1", "from a client of HTTP/1 to an application of HTTP/2"],
    ["mesh1", "1.1", "as HTTP/1 carried over HTTP/2"],
  ] as const
) {
  for (const protocol of ["gRPC-web", "Connect", "Connect with JSON"] as const) {
    test(`${protocol} passes ${what} (${way})`, async () => {
      const client = createClient(Echo, webTransport(way, httpVersion, protocol));
      assert.is((await client.unary({ text: "a" })).text, "unary a");
      assert.equal(await textsOf(client.repeat({ text: "3" })), ["0", "1", "2"]);
      assert.is((await failure(client.unary({ text: "fail:5" }))).code, Code.NotFound);
      // Longer ones are compressed, which breaks between Deno's own client and server of gRPC-web.
      const text = "0123456789".repeat(90);
      assert.is((await client.unary({ text })).text, `unary ${text}`);
    });
  }
}

function webTransport(way: string, httpVersion: "1.1" | "2", protocol: string): Transport {
  const baseUrl = urlOf(way);
  const create = protocol === "gRPC-web" ? createGrpcWebTransport : createConnectTransport;
  const useBinaryFormat = protocol !== "Connect with JSON";
  if (httpVersion === "1.1") {
    return create({ baseUrl, httpVersion, useBinaryFormat, nodeOptions: { agent } });
  }
  const sessionManager = new Http2SessionManager(baseUrl);
  managers.push(sessionManager);
  return create({ baseUrl, httpVersion, useBinaryFormat, sessionManager });
}

test.run();
