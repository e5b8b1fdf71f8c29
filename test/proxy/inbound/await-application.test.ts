// Requests to an application that does not listen, yet or again, by a clock that the test turns.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Backoff } from "../../../src/core/clock.ts";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  HEADERS,
  SETTINGS,
} from "../../../src/proxy/http2/frames.ts";
import { inboundFixture, inboundSnapshot, meshedAs } from "../../support/inbound-fixture.ts";
import type { TestPeer } from "../../support/memory-driver.ts";
import { turn } from "../../support/memory-driver.ts";
import { route } from "../../support/outbound-fixture.ts";
import { frame, GET, RawPeer } from "../http2/raw-peer.ts";

const REFUSED = { kind: "connect", message: "ECONNREFUSED" } as const;

function setUp(capacity = 10) {
  const policy = inboundSnapshot([{ route: route(), chain: NO_FILTERS }]);
  const f = inboundFixture(policy, {
    wait: { failfastMs: 1000, capacity, backoff: () => new Backoff(100, 10_000, 0, () => 0.5) },
  });
  const connected = () => new RawPeer(f.driver, f.connect(meshedAs("web.shop"))).hello();
  const client = connected();
  const up = (i: number) => f.driver.connects[i] as TestPeer;
  return {
    ...f,
    client,
    connected,
    dials: () => f.driver.connects.length,
    refuse: (i: number) => f.driver.fail(up(i), REFUSED),
    /** The application takes a connection, and answers `streams` with 200. */
    serve(i: number, ...streams: number[]): (...streams: number[]) => void {
      const peer = new RawPeer(f.driver, up(i));
      f.driver.open(up(i));
      peer.send(frame(SETTINGS, 0, 0), frame(SETTINGS, ACK, 0));
      f.driver.advance(32);
      const answer = (...streams: number[]) => {
        for (const stream of streams) {
          const ok = peer.block([[":status", "200"]]);
          peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, ok));
        }
      };
      answer(...streams);
      return answer;
    },
    statuses: () => client.only(HEADERS).map((g) => [g.stream, g.fields[":status"]]),
  };
}

test("a request of HTTP/2 waits up to a second for an application that does not listen yet", async () => {
  const f = setUp();
  f.client.headers(1, GET).headers(3, GET);
  f.refuse(0);
  f.driver.advance(130);
  await turn();
  assert.is(f.dials(), 2, "one dials for both");
  assert.equal(f.statuses(), []);
  f.serve(1, 1, 3);
  await turn();
  assert.equal(f.statuses(), [[1, "200"], [3, "200"]]);
});

test("past it the request is 504, and the next fail at once until the application listens", async () => {
  const f = setUp();
  f.client.headers(1, GET);
  let refused = 0;
  while (f.driver.now < 1050) {
    for (; refused < f.dials(); refused++) f.refuse(refused);
    f.driver.advance(16);
  }
  for (; refused < f.dials(); refused++) f.refuse(refused);
  await turn();
  assert.equal(f.statuses(), [[1, "504"]]);
  // A client that was told 504 takes another connection.
  const [late] = f.connected().headers(1, GET).only(HEADERS);
  assert.is(late?.fields[":status"], "504");
  assert.match(
    late?.fields["l5d-proxy-error"] ?? "",
    /^The application at 127\.77\.0\.9:8080 cannot be connected to: Connect to .*ECONNREFUSED/,
  );
  assert.equal(f.metric('inbound_http_errors_total{error="failfast"}').length, 1);
  while (f.dials() === refused) f.driver.advance(16);
  const answer = f.serve(refused);
  const again = f.connected().headers(1, GET);
  answer(1);
  await turn();
  assert.equal(again.only(HEADERS).map((g) => g.fields[":status"]), ["200"]);
});

test("a client that leaves is not waited for, and the queue is bounded", async () => {
  const f = setUp(1);
  f.client.headers(1, GET);
  f.refuse(0);
  f.client.headers(3, GET);
  await turn();
  assert.equal(f.statuses(), [[3, "503"]]);
  f.client.rst(1);
  f.driver.advance(5000);
  await turn();
  assert.is(f.dials(), 1);
  assert.equal(f.statuses(), []);
});

test("HTTP/1 is answered with 502 at once, as Linkerd does", async () => {
  const f = setUp();
  const client = f.connect(meshedAs("web.shop"));
  f.driver.feed(client, "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
  f.refuse(0);
  await turn();
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
});

test.run();
