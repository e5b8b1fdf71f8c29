// Retries that a filter wanted and that were not made, each counted once with its reason, where the reason
// comes late: during the back-off, or while a failed response is still read. `attempts.test.ts` has the
// plain cases.

import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  CONTINUE,
  type FilterChain,
  HOOK_OUTCOME,
  HOOK_REQUEST,
  NO_FILTERS,
} from "../../../src/core/filter.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { turn } from "../../support/memory-driver.ts";
import { A, endpoint, outboundFixture, route, snapshot } from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const PUT = "PUT /a HTTP/1.1\r\nhost: web\r\ncontent-length: 100000\r\n\r\n";
const FAIL = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad";

/** A proxy before one endpoint, whose filter wants every failure tried again after `delayMs`. */
function begin(
  request: string,
  o: { delayMs?: number; attemptMs?: number; budget?: boolean } = {},
) {
  const { delayMs = 0, attemptMs = 0, budget = true } = o;
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_REQUEST | HOOK_OUTCOME,
    requestHead: (x) => {
      x.attemptTimeoutMs = attemptMs;
      return CONTINUE;
    },
    attemptOutcome: (x) => x.attempt < 1 ? delayMs : -1,
  };
  const f = outboundFixture({
    ...snapshot({ exists: true, endpoints: [endpoint(A)] }, [{ route: route(), chain }]),
    budget: { ratio: 0, minPerSecond: budget ? 10 : 0, ttlMs: 10_000 },
  });
  const client = f.client();
  f.driver.feed(client, request);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  const counted = () =>
    exposition(f.metrics.sheet, []).split("\n")
      .filter((line) => line.startsWith("route_retryable_total"))
      .map((line) => `${/skipped="(\w+)"/.exec(line)?.[1] ?? "made"} ${line.split(" ").at(-1)}`);
  return { driver: f.driver, client, up, counted };
}

test("a body that grows too long during the back-off ends the request", async () => {
  const { driver, client, up, counted } = begin(PUT, { delayMs: 100 });
  driver.feed(client, "x".repeat(30_000));
  await turn();
  driver.feed(up, FAIL);
  await turn();
  assert.equal(counted(), [], "until it is made it may still be given up");
  driver.feed(client, "x".repeat(70_000));
  await turn();
  driver.advance(150);
  await turn();
  assert.equal(counted(), ["body 1"]);
  assert.match(client.take(), /^HTTP\/1\.1 502 [^]*grew too long to be sent again/);
});

test("a client that goes while the failed response is read takes its retry with it", async () => {
  const { driver, client, up, counted } = begin(GET);
  driver.feed(up, FAIL.slice(0, -2));
  await turn();
  driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  await turn();
  assert.equal(counted(), ["client_gone 1"]);
});

test("an attempt that took too long is tried again, or counted where the budget is used up", async () => {
  for (const budget of [true, false]) {
    const { driver, counted } = begin(GET, { attemptMs: 200, budget });
    driver.advance(250);
    await turn();
    assert.equal(counted(), [budget ? "made 1" : "no_budget 1"]);
  }
});

test("a failed response of any length is no reason not to retry", async () => {
  const long = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10000000\r\n\r\n"begun';
  const { driver, client, up, counted } = begin(GET);
  driver.feed(up, long);
  await turn();
  assert.equal(counted(), ["made 1"]);
  assert.is(client.take(), "");
  const next = driver.connects[1] as (typeof driver.connects)[0];
  driver.open(next);
  driver.feed(next, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  assert.match(client.take(), /^HTTP\/1\.1 200 /);
});

test("what no filter wants repeated is not counted", async () => {
  const { driver, up, counted } = begin(GET);
  driver.feed(up, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
  await turn();
  assert.equal(counted(), ["made 1"]);
  driver.feed(up, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
  await turn();
  assert.equal(counted(), ["made 1"], "the second failure is the answer");
});

test.run();
