import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type FilterChain,
  HOOK_END,
  HOOK_OUTCOME,
  NO_FILTERS,
  OUTCOME_CONNECT,
} from "../../../src/core/filter.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { turn } from "../../support/memory-driver.ts";
import {
  A,
  B,
  endpoint,
  limiting,
  outboundFixture,
  route,
  snapshot,
} from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const FAIL = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad";
const ONE = { exists: true, endpoints: [endpoint(A)] };
const TWO = { exists: true, endpoints: [endpoint(A), endpoint(B)] };

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

test("a filter's retry goes out again with the whole body, and the client sees one response", async () => {
  const seen: string[] = [];
  const chain = retrying((status, _e, attempt) => (status === 503 && attempt < 2 ? 0 : -1), seen);
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  f.driver.feed(client, "PUT /a HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\n\r\nabc");
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  assert.match(up.take(), /abc$/);
  f.driver.feed(up, FAIL);
  await turn();
  assert.is(f.driver.connects.length, 1, "the connection of a swallowed response is used again");
  assert.match(up.take(), /^PUT \/a [^]*abc$/);
  f.driver.feed(up, OK);
  await turn();
  assert.is(client.take(), OK);
  assert.equal(seen, ["503/0", "200/0", "end 200"]);
});

test("a refused connection is retried on another endpoint when the filter says so", () => {
  const chain = retrying((
    _s,
    error,
    attempt,
  ) => (error === OUTCOME_CONNECT && attempt < 5 ? 0 : -1));
  const f = outboundFixture(snapshot(TWO, [{ route: route(), chain }]));
  const client = f.client();
  f.driver.feed(client, GET);
  while (f.driver.connects.length < 5) {
    const up = f.driver.connects.at(-1) as (typeof f.driver.connects)[0];
    if (up.to?.addr.ip === B.ip) break;
    f.driver.fail(up, { kind: "connect", message: "ECONNREFUSED" });
  }
  const up = f.driver.connects.at(-1) as (typeof f.driver.connects)[0];
  assert.is(up.to?.addr.ip, B.ip);
  f.driver.open(up);
  f.driver.feed(up, OK);
  assert.is(client.take(), OK);
});

test("back-off waits on the clock, and the request's time-out ends it", () => {
  const chain = retrying((status) => (status === 503 ? 400 : -1));
  const within = limiting({ headMs: 1000 }, chain);
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain: within }]));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  up.take();
  f.driver.feed(up, FAIL);
  f.driver.advance(300);
  assert.is(up.take(), "");
  f.driver.advance(150);
  assert.match(up.take(), /^GET \/a/);
  f.driver.advance(700);
  assert.match(client.take(), /^HTTP\/1\.1 504 [^]*No response on route default within 1000 ms/);
});

test("a client's connection ends when the endpoint's proxy asks for it, which the client does not see", async () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  f.driver.feed(up, OK.replace("\r\n\r\n", "\r\nl5d-proxy-connection: close\r\n\r\n"));
  await turn();
  assert.match(client.take(), /^HTTP\/1\.1 200 OK\r\n(?!.*l5d-)[^]*connection: close\r\n/);
  assert.ok(client.closed);
});

test("l5d-require-id is an endpoint's identity, or the request fails with 502", async () => {
  const ids: readonly [asked: string, identity: string | null, status: RegExp][] = [
    ["web.shop", "web.shop", /^HTTP\/1\.1 200/],
    ["web.shop", "other.shop", /^HTTP\/1\.1 502 [^]*127\.77\.0\.2:8080 has other\.shop/],
    ["web.shop", null, /^HTTP\/1\.1 502 [^]*127\.77\.0\.2:8080 has no identity/],
  ];
  for (const [asked, name, status] of ids) {
    const identity = name === null ? null : { name, serverName: name };
    const only = { exists: true, endpoints: [endpoint(A, { identity })] };
    const f = outboundFixture(snapshot(only));
    const client = f.client();
    f.driver.feed(client, GET.replace("\r\n\r\n", `\r\nl5d-require-id: ${asked}\r\n\r\n`));
    const up = f.driver.connects[0];
    if (up !== undefined) {
      f.driver.open(up);
      assert.not.match(up.take(), "l5d-");
      f.driver.feed(up, OK);
    }
    await turn();
    assert.match(client.take(), status);
  }
});

test("retries stop at the budget, and the last response is returned", async () => {
  const chain = retrying((status) => (status === 503 ? 0 : -1));
  const base = snapshot(ONE, [{ route: route(), chain }]);
  const f = outboundFixture({ ...base, budget: { ratio: 0, minPerSecond: 1, ttlMs: 3000 } });
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  let attempts = 0;
  while (client.sent === "" && attempts < 20) {
    attempts++;
    f.driver.feed(up, FAIL);
    await turn();
  }
  assert.is(attempts, 4, "one attempt and the three retries of the budget");
  assert.is(client.take(), FAIL);
});

test("a body that is too long to keep is streamed and not retried", async () => {
  const chain = retrying(() => 0);
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  const size = 100_000;
  f.driver.feed(client, `PUT /a HTTP/1.1\r\nhost: web\r\ncontent-length: ${size}\r\n\r\n`);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  f.driver.feed(client, "x".repeat(size));
  await turn();
  f.driver.feed(up, FAIL);
  await turn();
  assert.is(client.take(), FAIL);
});

test("each retry that is wanted is counted once: as made, or with why it was not", async () => {
  const counted = async (
    play: (f: ReturnType<typeof outboundFixture>) => Promise<void> | void,
    more: { delayMs?: number; timeoutMs?: number; budget?: boolean; times?: number } = {},
  ) => {
    const { delayMs = 0, timeoutMs = 0, budget = true, times = 1 } = more;
    const retries = retrying((_s, _e, attempt) => attempt < times ? delayMs : -1);
    const chain = limiting({ headMs: timeoutMs }, retries);
    const base = snapshot(ONE, [{ route: route(), chain }]);
    const f = outboundFixture({
      ...base,
      budget: { ratio: 0, minPerSecond: budget ? 10 : 0, ttlMs: 10_000 },
    });
    await play(f);
    await turn();
    return exposition(f.metrics.sheet, []).split("\n")
      .filter((line) => line.startsWith("route_retryable_total"))
      .map((line) => `${/skipped="(\w+)"/.exec(line)?.[1] ?? "made"} ${line.split(" ").at(-1)}`);
  };
  const begin = (f: ReturnType<typeof outboundFixture>, request = GET) => {
    const client = f.client();
    f.driver.feed(client, request);
    const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
    f.driver.open(up);
    return { client, up };
  };
  const fails = (f: ReturnType<typeof outboundFixture>) => {
    const { client, up } = begin(f);
    f.driver.feed(up, FAIL);
    return { client, up };
  };
  assert.equal(await counted((f) => void fails(f)), ["made 1"]);
  assert.equal(await counted((f) => void fails(f), { budget: false }), ["no_budget 1"]);
  assert.equal(await counted((f) => void fails(f), { delayMs: 500, timeoutMs: 400 }), [
    "timeout 1",
  ]);
  assert.equal(
    await counted((f) => {
      fails(f);
      f.driver.advance(200);
      f.driver.advance(250);
    }, { delayMs: 100, timeoutMs: 400, times: 9 }),
    ["made 1", "timeout 1"],
    "what was to be repeated when the request's time was over",
  );
  assert.equal(
    await counted((f) => {
      const { client } = fails(f);
      f.driver.fail(client, { kind: "reset", message: "ECONNRESET" });
    }, { delayMs: 100 }),
    ["client_gone 1"],
  );
  assert.equal(
    await counted(async (f) => {
      const { client, up } = begin(
        f,
        "PUT /a HTTP/1.1\r\nhost: web\r\ncontent-length: 100000\r\n\r\n",
      );
      f.driver.feed(client, "x".repeat(100_000));
      await turn();
      f.driver.feed(up, FAIL);
    }),
    ["body 1"],
  );
});

const TRAILED = "POST /a HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n" +
  "3\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\nl5d-client-id: evil\r\n\r\n";

test("a request's trailers go out with every attempt, without what is not a trailer's", async () => {
  const chain = retrying((status) => (status === 503 ? 0 : -1));
  const f = outboundFixture(snapshot(ONE, [{ route: route(), chain }]));
  const client = f.client();
  f.driver.feed(client, TRAILED);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  await turn();
  assert.match(up.take(), /3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n$/);
  f.driver.feed(up, FAIL);
  await turn();
  assert.match(up.take(), /3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n$/);
  f.driver.feed(up, OK);
  await turn();
  assert.is(client.take(), OK);
  f.driver.feed(client, TRAILED.replace(/X-Sum[^]*/, "\r\n"));
  await turn();
  assert.match(up.take(), /3\r\nabc\r\n0\r\n\r\n$/, "a request without trailers sends none");
});

test("trailers of a request that are not fields are refused, not dropped", async () => {
  const f = outboundFixture(snapshot(ONE));
  const client = f.client();
  f.driver.feed(client, TRAILED.replace("X-Sum:", "X Sum:"));
  f.driver.open(f.driver.connects[0] as (typeof f.driver.connects)[0]);
  await turn();
  assert.match(client.take(), /^HTTP\/1\.1 400 /);
  assert.is(f.driver.connects[0]?.closed, "reset");
});

test.run();
