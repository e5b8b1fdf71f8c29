// A kept connection of HTTP/1 that its endpoint closes just as a request goes out: sent again once, and
// only where that cannot do anything twice. The same of HTTP/2 is in `http2/endpoint-client.test.ts`.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { turn } from "../../support/memory-driver.ts";
import { A, B, endpoint, outboundFixture, snapshot } from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const RESET = { kind: "reset", message: "ECONNRESET" } as const;

/** A connection that has served one request, and waits for the next. */
function kept() {
  const f = outboundFixture(snapshot({ exists: true, endpoints: [endpoint(A)] }));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = (i: number) => f.driver.connects[i] as (typeof f.driver.connects)[0];
  f.driver.open(up(0));
  f.driver.feed(up(0), OK);
  client.take();
  up(0).take();
  return { driver: f.driver, client, up, connects: () => f.driver.connects.length };
}

for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]) {
  test(`${method} without a body is sent again, whether the endpoint reset or closed`, async () => {
    for (const how of ["reset", "end"] as const) {
      const { driver, client, up, connects } = kept();
      const length = method === "PUT" ? "content-length: 0\r\n" : "";
      driver.feed(client, `${method} /a HTTP/1.1\r\nhost: web\r\n${length}\r\n`);
      if (how === "reset") driver.fail(up(0), RESET);
      else driver.end(up(0));
      await turn();
      assert.is(connects(), 2, how);
      driver.open(up(1));
      assert.match(up(1).take(), new RegExp(`^${method} /a HTTP/1\\.1`));
      driver.feed(up(1), method === "HEAD" ? "HTTP/1.1 200 OK\r\n\r\n" : OK);
      assert.match(client.take(), /^HTTP\/1\.1 200 /);
    }
  });
}

test("it is sent again once: a second connection that breaks is 502", async () => {
  const { driver, client, up, connects } = kept();
  driver.feed(client, GET);
  driver.fail(up(0), RESET);
  driver.open(up(1));
  driver.fail(up(1), RESET);
  await turn();
  assert.is(connects(), 2);
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
});

test("what changes something each time is not sent again", async () => {
  for (const method of ["POST", "PATCH", "LOCK"]) {
    const { driver, client, up, connects } = kept();
    driver.feed(client, `${method} /a HTTP/1.1\r\nhost: web\r\ncontent-length: 0\r\n\r\n`);
    driver.fail(up(0), RESET);
    await turn();
    assert.is(connects(), 1, method);
    assert.match(client.take(), /^HTTP\/1\.1 502 /);
  }
});

test("a request of whose response a byte came is not sent again", async () => {
  const { driver, client, up, connects } = kept();
  driver.feed(client, GET);
  driver.feed(up(0), "HTTP/1.1 2");
  driver.fail(up(0), RESET);
  await turn();
  assert.is(connects(), 1);
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
});

test("a request of whose body a byte went out is not sent again", async () => {
  const { driver, client, up, connects } = kept();
  driver.feed(client, "PUT /a HTTP/1.1\r\nhost: web\r\ncontent-length: 4\r\n\r\nbo");
  await turn();
  driver.feed(client, "dy");
  await turn();
  driver.fail(up(0), RESET);
  await turn();
  assert.is(connects(), 1);
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
});

test("a connection that breaks on its first request is no race", async () => {
  const f = outboundFixture(snapshot({ exists: true, endpoints: [endpoint(A)] }));
  const client = f.client();
  f.driver.feed(client, GET);
  const up = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.open(up);
  f.driver.fail(up, RESET);
  await turn();
  assert.is(f.driver.connects.length, 1);
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
});

test("a POST of which no byte left goes to another endpoint", async () => {
  const both = { exists: true, endpoints: [endpoint(A), endpoint(B)] };
  const f = outboundFixture(snapshot(both));
  const client = f.client();
  f.driver.feed(client, "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 4\r\n\r\nbody");
  await turn();
  const first = f.driver.connects[0] as (typeof f.driver.connects)[0];
  f.driver.fail(first, { kind: "connect", message: "ECONNREFUSED" });
  await turn();
  assert.is(f.driver.connects.length, 2);
  const second = f.driver.connects[1] as (typeof f.driver.connects)[0];
  assert.is.not(second.to?.addr.ip, first.to?.addr.ip);
  f.driver.open(second);
  await turn();
  assert.match(second.take(), /^POST \/a [^]*\r\n\r\nbody$/);
  f.driver.feed(second, OK);
  assert.match(client.take(), /^HTTP\/1\.1 200 /);
});

test.run();
