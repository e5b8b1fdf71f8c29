import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  CONTINUE,
  FAILED,
  type FilterChain,
  HOOK_END,
  HOOK_OUTCOME,
  HOOK_REQUEST,
  HOOK_RESPONSE,
  NO_FILTERS,
  REPLY,
} from "../../../src/core/filter.ts";
import { headerName } from "../../../src/core/head.ts";
import { turn } from "../../support/memory-driver.ts";
import { A, endpoint, outboundFixture, route, snapshot } from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ONE = { exists: true, endpoints: [endpoint(A)] };

/** A chain that retries what `retry` says. */
function retrying(
  retry: (status: number, error: number, attempt: number) => number,
  seen: string[] = [],
): FilterChain {
  return {
    ...NO_FILTERS,
    hooks: HOOK_OUTCOME | HOOK_END,
    attemptOutcome(x, o) {
      seen.push(`${o.status}/${o.error}`);
      return retry(o.status, o.error, x.attempt);
    },
    end: (_x, status) => void seen.push(`end ${status}`),
  };
}

test("a request goes to the endpoint as HTTP/1.1, without what belonged to one hop", () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(
    client,
    "GET http://web/x?y HTTP/1.1\r\nhost: other\r\nproxy-connection: keep-alive\r\nl5d-client-id: forged\r\naccept: */*\r\n\r\n",
  );
  const up = f.driver.connects[0];
  assert.equal(up?.to?.addr, A);
  f.driver.open(up as never);
  assert.is(up?.take(), "GET /x?y HTTP/1.1\r\nhost: web\r\naccept: */*\r\n\r\n");
  f.driver.feed(up as never, OK);
  assert.is(client.take(), OK);
});

test("an idle connection is used again, a closed one is not", async () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  for (let i = 0; i < 3; i++) {
    f.driver.feed(client, GET);
    const up = f.driver.connects[0] as never as (typeof f.driver.connects)[0];
    if (i === 0) f.driver.open(up);
    f.driver.feed(up, OK);
    await turn();
  }
  assert.is(f.driver.connects.length, 1);
  f.driver.advance(4000); // idle time-out of the pool
  assert.is(f.driver.connects[0]?.closed, "flush");
  f.driver.feed(client, GET);
  assert.is(f.driver.connects.length, 2);
});

test("a kept connection that the endpoint closed is replaced without the client noticing", () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, GET);
  const first = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(first);
  f.driver.feed(first, OK);
  client.take();
  f.driver.feed(client, GET);
  f.driver.fail(first, { kind: "reset", message: "ECONNRESET" });
  const second = f.driver.connects[1] as (typeof f.driver.connects)[0];
  f.driver.open(second);
  f.driver.feed(second, OK);
  assert.is(client.take(), OK);
});

test("a POST on a kept connection that broke is not sent twice", () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, GET);
  const first = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(first);
  f.driver.feed(first, OK);
  client.take();
  f.driver.feed(client, "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 0\r\n\r\n");
  f.driver.fail(first, { kind: "reset", message: "ECONNRESET" });
  assert.is(f.driver.connects.length, 1);
  assert.match(
    client.take(),
    /^HTTP\/1\.1 502 [^]*l5d-proxy-error: 127\.77\.0\.2:8080 closed the connection before/,
  );
});

test("a refused connection is 502, one that does not answer 504, each with its reason", () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, GET);
  f.driver.fail(f.driver.connects[0] as never, { kind: "connect", message: "ECONNREFUSED" });
  assert.match(
    client.take(),
    /^HTTP\/1\.1 502 [^]*l5d-proxy-error: Connect to 127\.77\.0\.2:8080 failed: ECONNREFUSED/,
  );
  f.driver.feed(client, GET);
  f.driver.fail(f.driver.connects[1] as never, {
    kind: "connect-timeout",
    message: "no answer within 1000 ms",
  });
  assert.match(client.take(), /^HTTP\/1\.1 504 [^]*no answer within 1000 ms/);
});

test("a server with another identity is 502 and told", () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, GET);
  f.driver.fail(f.driver.connects[0] as never, {
    kind: "identity",
    message: "the server is x, not y",
  });
  assert.match(client.take(), /^HTTP\/1\.1 502 [^]*the server is x, not y/);
});

test("a service that does not exist is 404, also when it turns out while waiting", () => {
  const gone = outboundFixture(snapshot({ exists: false, endpoints: [] }));
  const client = gone.client();
  gone.driver.feed(client, GET);
  assert.match(client.take(), /^HTTP\/1\.1 404 [^]*l5d-proxy-error: No such service: web\.shop/);
  const later = outboundFixture(null);
  const waits = later.client();
  later.driver.feed(waits, GET);
  assert.is(waits.sent, "");
  later.discovery.set(snapshot({ exists: false, endpoints: [] }));
  assert.match(waits.take(), /^HTTP\/1\.1 404 /);
});

test("no route is 404 and names the request", () => {
  const only = route({ match: { kind: "path-exact", path: "/only" } });
  const f = outboundFixture(snapshot(ONE, [{ route: only, chain: NO_FILTERS }]));
  const client = f.client();
  f.driver.feed(client, GET);
  assert.match(
    client.take(),
    /^HTTP\/1\.1 404 [^]*No route of web\.shop\.svc\.cluster\.local:80 matches GET \/a/,
  );
});

test("requests wait for the first endpoint, and fail fast after the time", () => {
  const f = outboundFixture(snapshot({ exists: true, endpoints: [] }));
  const first = f.client();
  f.driver.feed(first, "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\n\r\nabc");
  f.discovery.set(snapshot(ONE));
  f.driver.open(f.driver.connects[0] as never);
  assert.match(f.driver.connects[0]?.take() ?? "", /^POST \/a [^]*\r\n\r\nabc$/);

  const g = outboundFixture(snapshot({ exists: true, endpoints: [] }));
  const waits = g.client();
  g.driver.feed(waits, GET);
  g.driver.advance(3100);
  assert.match(waits.take(), /^HTTP\/1\.1 504 [^]*No endpoint of web\.shop[^]*waited 3000 ms/);
  const atOnce = g.client();
  g.driver.feed(atOnce, GET);
  assert.match(atOnce.take(), /^HTTP\/1\.1 504 /);
  g.discovery.set(snapshot(ONE));
  const again = g.client();
  g.driver.feed(again, GET);
  assert.is(g.driver.connects.length, 1);
});

test("a full queue and too many in flight are 503", () => {
  const f = outboundFixture(snapshot({ exists: true, endpoints: [] }), { queueCapacity: 2 });
  const clients = [f.client(), f.client(), f.client()];
  for (const client of clients) f.driver.feed(client, GET);
  assert.match(clients[2]?.take() ?? "", /^HTTP\/1\.1 503 [^]*2 requests wait already/);
  const g = outboundFixture(snapshot(ONE), { maxInFlight: 1 });
  const one = g.client();
  const two = g.client();
  g.driver.feed(one, GET);
  g.driver.feed(two, GET);
  assert.match(two.take(), /^HTTP\/1\.1 503 [^]*1 requests are in flight, which is the limit/);
});

test("request filters see and change the head once, and may answer", () => {
  let calls = 0;
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_REQUEST,
    requestHead(x) {
      calls++;
      x.request.set(headerName("x-mesh"), "tulle");
      if (x.request.path !== "/deny") return CONTINUE;
      x.local = { status: 429, headers: [["retry-after", "1"]], body: "slow down" };
      return REPLY;
    },
  };
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  assert.match(up.take(), /x-mesh: tulle\r\n/);
  f.driver.feed(up, OK);
  client.take();
  f.driver.feed(client, GET.replace("/a", "/deny"));
  assert.is(
    client.take(),
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 9\r\n\r\nslow down",
  );
  assert.is(calls, 2);
});

test("response filters see the response that is returned; a closed filter that fails is 503", () => {
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_RESPONSE,
    responseHead(x, head) {
      head.set(headerName("x-served-by"), "mesh");
      if (x.request.path === "/a") return CONTINUE;
      x.filterError = "filter policy trapped: unreachable";
      return FAILED;
    },
  };
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  f.driver.feed(up, OK);
  assert.match(client.take(), /x-served-by: mesh\r\n/);
  f.driver.feed(client, GET.replace("/a", "/b"));
  f.driver.feed(up, OK);
  assert.match(client.take(), /^HTTP\/1\.1 503 [^]*l5d-proxy-error: filter policy trapped/);
});

test("a request keeps the chain that it started with when a new one comes", () => {
  const ended: string[] = [];
  const named = (name: string): FilterChain => ({
    ...NO_FILTERS,
    hooks: HOOK_END,
    end: () => void ended.push(name),
  });
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain: named("old") }]));
  const one = f.client();
  f.driver.feed(one, GET);
  f.discovery.set(snapshot(ONE, [{ route: route(), chain: named("new") }]));
  const two = f.client();
  f.driver.feed(two, GET);
  for (const up of f.driver.connects) {
    f.driver.open(up);
    f.driver.feed(up, OK);
  }
  assert.equal(ended.sort(), ["new", "old"]);
});

test("a chain's end is called once, also when the client goes away", () => {
  const seen: string[] = [];
  const chain = retrying(() => -1, seen);
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  f.driver.feed(client, GET);
  f.driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  assert.equal(seen, ["end 0"]);
  assert.is(f.driver.connects[0]?.closed, "reset");
});

test("mesh endpoints are reached by TLS with a transport header first", () => {
  const meshed = endpoint(A, {
    identity: { name: "web.shop", serverName: "web.shop" },
    transportPort: 4143,
  });
  const f = outboundFixture(snapshot({ exists: true, endpoints: [meshed] }));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  assert.equal(up.to?.addr, { ip: A.ip, port: 4143 });
  assert.equal(up.to?.tls, {
    serverName: "web.shop",
    identity: "web.shop",
    alpn: "transport.l5d.io/v1",
  });
  f.driver.open(up);
  assert.match(
    up.take(),
    // deno-lint-ignore no-control-regex -- the header is binary
    /^transport\.l5d\.io\/v1\r\n\r\n\0\0\0\x07\x08\x90\x3f\x1a\x02\x0a\0GET \/a HTTP\/1\.1\r\n/,
  );
});

test("CONNECT opens a tunnel to an endpoint of the target", async () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, "CONNECT vote.shop:7000 HTTP/1.1\r\nhost: vote.shop:7000\r\n\r\n");
  assert.equal(f.discovery.asked, [{ authority: "vote.shop:7000" }]);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  assert.is(client.take(), "HTTP/1.1 200 OK\r\n\r\n");
  await turn();
  f.driver.feed(client, "ping\n");
  assert.is(up.take(), "ping\n");
  f.driver.feed(up, "pong\n");
  assert.is(client.take(), "pong\n");
  f.driver.end(up);
  assert.ok(client.shutdown);
  f.driver.end(client);
  assert.is(client.closed, "flush");
});

test("an endpoint that fails in a row is ejected, probed by one request, and taken back", async () => {
  const accrual = { maxFailures: 3, minBackoffMs: 1000, maxBackoffMs: 8000, jitter: 0 };
  const f = outboundFixture({ ...snapshot(ONE), accrual });
  const client = f.client();
  let up: (typeof f.driver.connects)[0] | undefined;
  const exchange = async (answer: string): Promise<string> => {
    f.driver.feed(client, GET);
    if (up === undefined) f.driver.open(up = f.driver.connects[0] as never);
    if (up.take() === "") return client.take();
    f.driver.feed(up, answer);
    await turn();
    return client.take();
  };
  const bad = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
  for (let i = 0; i < 3; i++) assert.match(await exchange(bad), /^HTTP\/1\.1 500/);
  const refused = f.client();
  f.driver.feed(refused, GET);
  assert.match(refused.take(), /^HTTP\/1\.1 504 [^]*No endpoint of web\.shop[^]* is available/);
  f.driver.advance(1100);
  assert.match(await exchange(bad), /^HTTP\/1\.1 500/, "the probe");
  const again = f.client();
  f.driver.feed(again, GET);
  assert.match(again.take(), /^HTTP\/1\.1 504/, "ejected for longer");
  f.driver.advance(2100);
  assert.match(await exchange(OK), /^HTTP\/1\.1 200/);
  assert.match(await exchange(OK), /^HTTP\/1\.1 200/);
});

test("an upgrade passes, and bytes follow in both directions", async () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(
    client,
    "GET /ws HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
  );
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  assert.match(up.take(), /^GET \/ws [^]*connection: upgrade\r\nupgrade: websocket\r\n\r\n$/);
  f.driver.feed(
    up,
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello",
  );
  assert.match(client.take(), /^HTTP\/1\.1 101 [^]*upgrade: websocket\r\n\r\nhello$/);
  await turn();
  f.driver.feed(client, "\x81\x00");
  assert.is(up.take(), "\x81\x00");
  f.driver.end(client);
  assert.ok(up.shutdown, "the client's half-close");
  f.driver.end(up);
  assert.is(client.closed, "flush");
});

test("an idle target is released with its connections", async () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  f.driver.feed(up, OK);
  await turn();
  f.driver.advance(12_000);
  assert.is(f.discovery.released, 1);
  f.driver.feed(client, GET);
  assert.is(f.discovery.asked.length, 2);
});

test.run();
