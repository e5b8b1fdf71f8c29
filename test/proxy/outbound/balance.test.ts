import { test } from "uvu";
import * as assert from "uvu/assert";
import { A, B, endpoint, outboundFixture, snapshot } from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const TWO = { exists: true, endpoints: [endpoint(A), endpoint(B)] };

function twoReplicas() {
  const f = outboundFixture(snapshot(TWO));
  return {
    ...f,
    /**
     * One request on a connection of its own; `refused` are the addresses that refuse. Where it went
     * first, and to how many addresses in all.
     */
    ask(...refused: readonly string[]): { ip: string; status: string; tries: number } {
      return this.send(GET, refused);
    },
    send(request: string, refused: readonly string[]) {
      const client = f.client();
      const before = f.driver.connects.length;
      f.driver.feed(client, request);
      let at = before;
      for (; at < f.driver.connects.length; at++) {
        const up = f.driver.connects[at]!;
        if (refused.includes(up.to!.addr.ip)) {
          f.driver.fail(up, { kind: "connect", message: "ECONNREFUSED" });
          continue;
        }
        f.driver.open(up);
        assert.ok(up.take().endsWith(request.slice(request.indexOf("\r\n\r\n"))));
        f.driver.feed(up, OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
        f.driver.end(up);
      }
      const { ip } = f.driver.connects[before]!.to!.addr;
      return { ip, status: client.take().slice(9, 12), tries: at - before };
    },
  };
}

test("an endpoint that refused a connection is left alone while another can be reached", () => {
  const f = twoReplicas();
  let first = f.ask(A.ip);
  for (let i = 0; i < 50 && first.ip !== A.ip; i++) first = f.ask(A.ip);
  // Nothing of it had left: it went to the other one.
  assert.equal(first, { ip: A.ip, status: "200", tries: 2 });
  for (let i = 0; i < 100; i++) assert.equal(f.ask(A.ip), { ip: B.ip, status: "200", tries: 1 });
});

test("a request with a body that is not idempotent moves too, whole, when its endpoint refuses", () => {
  const f = twoReplicas();
  const post = "POST /a HTTP/1.1\r\nhost: web\r\ncontent-length: 5\r\n\r\nhello";
  let one = f.send(post, [A.ip]);
  for (let i = 0; i < 50 && one.ip !== A.ip; i++) one = f.send(post, [A.ip]);
  assert.equal(one, { ip: A.ip, status: "200", tries: 2 });
});

test("a client that leaves while its endpoint is dialled is not sent elsewhere", () => {
  const f = twoReplicas();
  const client = f.client();
  const at = f.driver.connects.length;
  f.driver.feed(client, GET);
  f.driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  const up = f.driver.connects[at]!;
  if (up.closed === null) f.driver.fail(up, { kind: "connect", message: "ECONNREFUSED" });
  assert.is(f.driver.connects.length, at + 1);
});

test("where every endpoint refuses, each is tried once", () => {
  const f = twoReplicas();
  const { status, tries } = f.ask(A.ip, B.ip);
  assert.equal({ status, tries }, { status: "502", tries: 2 });
});

test("it is tried by one request each time that its back-off is over, and used when it is back", () => {
  const f = twoReplicas();
  let tries = 0;
  for (let i = 0; i < 400; i++) {
    if (f.ask(A.ip).ip === A.ip) tries++;
    f.driver.advance(16); // 6.4 s, in which 100 ms double five times
  }
  assert.ok(tries >= 3 && tries <= 7, `${tries} tries`);
  const used = new Set<string>();
  for (let i = 0; i < 1000; i++) {
    used.add(f.ask().ip);
    f.driver.advance(16);
  }
  assert.equal([...used].sort(), [A.ip, B.ip]);
});

test("when none can be reached the request is tried all the same", () => {
  const f = twoReplicas();
  for (let i = 0; i < 20; i++) assert.is(f.ask(A.ip, B.ip).status, "502");
  assert.is(f.ask().status, "200");
});

test.run();
