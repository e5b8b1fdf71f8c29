// Retries by gRPC codes: the code stands in the trailers, after what a retry must take back.

import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createGrpcTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { type FilterChain, HOOK_OUTCOME, NO_FILTERS } from "../../../src/core/filter.ts";
import { Exchange, type HttpService, type Reply } from "../../../src/core/exchange.ts";
import { headerName, ResponseHead } from "../../../src/core/head.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { peekGrpc } from "../../../src/proxy/outbound/peek-grpc.ts";
import { MemoryDriver } from "../../support/memory-driver.ts";
import { A } from "../../support/outbound-fixture.ts";
import { Echo } from "../../support/echo-rpc.ts";
import { seeded } from "../../support/random.ts";
import { netProxy } from "../../support/net-proxy.ts";

interface Answer {
  /** Fails with this code; OK without. */
  readonly code?: Code;
  /** Messages before the end. */
  readonly messages?: readonly string[];
  /** Waits before it ends. */
  readonly until?: Promise<void>;
}

/** A service that answers its calls in order, and a proxy that retries these codes. */
async function service(answers: readonly Answer[], codes: readonly Code[]) {
  let calls = 0;
  const seen: number[] = [];
  const requests: string[] = [];
  const handler = connectNodeAdapter({
    routes: (router) =>
      router.service(Echo, {
        unary({ text }) {
          requests.push(text);
          const { code, messages = ["ok"] } = answers[calls++] ?? {};
          if (code !== undefined) throw new ConnectError(`code ${code}`, code);
          return { text: messages[0]! };
        },
        async *repeat({ text }) {
          requests.push(text);
          const { code, messages = [], until } = answers[calls++] ?? {};
          for (const message of messages) yield { text: message };
          await until;
          if (code !== undefined) throw new ConnectError(`code ${code}`, code);
        },
      }),
  });
  const server = http2.createServer({}, handler);
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_OUTCOME,
    attemptOutcome({ grpcStatus }) {
      seen.push(grpcStatus);
      return codes.includes(grpcStatus as Code) ? 0 : -1;
    },
  };
  const to = [{ ip: "127.0.0.1", port: (server.address() as AddressInfo).port }];
  const proxy = await netProxy({ to, protocol: "same", chain });
  const baseUrl = `http://127.0.0.1:${proxy.port}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  return {
    client: createClient(Echo, createGrpcTransport({ baseUrl, sessionManager })),
    seen,
    requests,
    /** Retries that were wanted, by why they were not made. */
    retries: () =>
      exposition(proxy.metrics.sheet, []).split("\n")
        .filter((line) => line.startsWith("route_retryable_total"))
        .map((line) => `${/skipped="(\w+)"/.exec(line)?.[1] ?? "made"} ${line.split(" ").at(-1)}`),
    async [Symbol.asyncDispose]() {
      sessionManager.abort();
      await proxy.close();
      for (const session of sessions) session.destroy();
      await new Promise((done) => server.close(done));
      assert.equal(proxy.defects, []);
    },
  };
}

/** Text that gzip, which gRPC's messages may have, leaves nearly as long as it is. */
function incompressible(length: number): string {
  const random = seeded(1);
  let text = "";
  while (text.length < length) text += random().toString(36).slice(2);
  return text;
}

test("a code that is told by trailers alone is retried, with the whole request", async () => {
  await using t = await service([{ code: Code.Unavailable }, { code: Code.Unavailable }, {}], [
    Code.Unavailable,
  ]);
  const text = "0123456789".repeat(1000);
  assert.is((await t.client.unary({ text })).text, "ok");
  assert.equal(t.seen, [14, 14, 0]);
  assert.equal(t.requests, [text, text, text]);
});

test("a code after messages is retried, and nothing of the failed attempt is seen", async () => {
  // The code must come soon after the messages; a busy machine may need some tries to be so fast.
  for (let tries = 1;; tries++) {
    await using t = await service(
      [{ messages: ["lost", "lost"], code: Code.Unavailable }, { messages: ["a", "b"] }],
      [Code.Unavailable],
    );
    const got: string[] = [];
    try {
      for await (const { text } of t.client.repeat({ text: "x" })) got.push(text);
    } catch (e) {
      assert.is(ConnectError.from(e).code, Code.Unavailable);
      assert.equal([got, t.seen], [["lost", "lost"], [-1, 14]]);
      assert.ok(tries < 50, "the code never came soon enough");
      continue;
    }
    assert.equal(got, ["a", "b"]);
    assert.is(t.seen[0], 14);
    return;
  }
});

test("another code is passed on as it came", async () => {
  await using t = await service([{ code: Code.NotFound }], [Code.Unavailable]);
  const e = await t.client.unary({ text: "x" }).then(
    () => assert.unreachable("it should have failed"),
    (e: unknown) => ConnectError.from(e),
  ) as ConnectError;
  assert.equal([e.code, e.rawMessage], [Code.NotFound, "code 5"]);
  assert.equal(t.seen, [5]);
});

test("a stream that goes on is not held back, and then no longer retried", async () => {
  let end = () => {};
  const until = new Promise<void>((resolve) => (end = resolve));
  await using t = await service([{ messages: ["first"], until, code: Code.Unavailable }], [
    Code.Unavailable,
  ]);
  const messages = t.client.repeat({ text: "x" })[Symbol.asyncIterator]();
  assert.is((await messages.next()).value?.text, "first", "before the call has ended");
  assert.equal(t.seen, [-1]);
  end();
  const e = await messages.next().then(
    () => assert.unreachable("it should have failed"),
    (e: unknown) => ConnectError.from(e),
  ) as ConnectError;
  assert.is(e.code, Code.Unavailable);
  assert.is(t.requests.length, 1);
  assert.equal(t.seen, [-1, 14], "the filter wanted it repeated");
  assert.equal(t.retries(), ["response 1"]);
});

test("a response larger than what is held passes whole", async () => {
  const text = incompressible(500_000);
  await using t = await service([{ messages: [text] }], [Code.Unavailable]);
  assert.ok((await t.client.unary({ text: "x" })).text === text);
  assert.equal([t.seen, t.retries()], [[-1], []]);
});

test("a failure after a response that was too large to hold is counted as not repeated", async () => {
  const text = incompressible(50_000);
  for (
    const [code, counted] of [[Code.Unavailable, ["response 1"]], [Code.NotFound, []]] as const
  ) {
    await using t = await service([{ messages: [text], code }], [Code.Unavailable]);
    const messages = t.client.repeat({ text: "x" })[Symbol.asyncIterator]();
    assert.ok((await messages.next()).value?.text === text);
    const e = await messages.next().then(
      () => assert.unreachable("it should have failed"),
      (e: unknown) => ConnectError.from(e),
    ) as ConnectError;
    assert.is(e.code, code);
    assert.equal([t.requests.length, t.retries()], [1, counted]);
  }
});

test("what is held goes on before what follows, when its reader is full", () => {
  const driver = new MemoryDriver();
  const seen: string[] = [];
  let end: Reply | null = null;
  const inner: HttpService = (_x, reply) => {
    end = reply;
    return { wake: null, data: () => true, end: () => {}, abort: () => {} };
  };
  const x = new Exchange({ direction: "outbound", remote: A, target: A, tls: null });
  x.request.major = 2;
  x.request.set(headerName("content-type"), "application/grpc");
  x.chain = { ...NO_FILTERS, hooks: HOOK_OUTCOME };
  peekGrpc(driver, inner)(x, {
    wake: null,
    informational() {},
    head: () => void seen.push("head"),
    data: (_buf, from, to) => (seen.push(`data ${to - from}`), false),
    end: () => void seen.push("end"),
    abort: () => void seen.push("abort"),
    fail: () => void seen.push("fail"),
  });
  const head = new ResponseHead();
  head.status = 200;
  head.bodyLength = -1;
  head.set(headerName("content-type"), "application/grpc");
  const reply = end! as Reply;
  const bytes = new Uint8Array(20_000);
  reply.head(head);
  assert.ok(reply.data(bytes, 0, 10_000));
  assert.equal(seen, []);
  assert.not(reply.data(bytes, 0, 12_000), "its reader is full");
  reply.end();
  assert.equal(seen, ["head", "data 10000", "data 12000", "end"]);
});

test.run();
