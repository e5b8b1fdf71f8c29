// Series of a whole inbound and outbound proxy that idle away and come again, under a fake clock.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import { createLogger } from "../../../src/core/log.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { retainSeries } from "../../../src/proxy/metrics/retain.ts";
import { inboundFixture, inboundSnapshot, meshedAs } from "../../support/inbound-fixture.ts";
import { A, endpoint, outboundFixture, route, snapshot } from "../../support/outbound-fixture.ts";
import { Sheet } from "../../../src/core/sheet.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const RETAIN_MS = 600_000;

function logger(said: string[]) {
  return createLogger({
    level: "warn",
    format: "plain",
    wall: () => 0,
    write: (l) => said.push(l),
  });
}

test("an inbound proxy's series go when they idle, and those of open connections stay", () => {
  const f = inboundFixture(inboundSnapshot([{ route: route(), chain: NO_FILTERS }]));
  const end = retainSeries({ ...f, log: logger([]) }, RETAIN_MS);
  const ask = () => {
    const client = f.connect(meshedAs("web.shop"));
    const n = f.driver.connects.length;
    f.driver.feed(client, GET);
    if (f.driver.connects.length > n) f.driver.open(f.app());
    f.driver.feed(f.app(), OK);
    return client;
  };
  const client = ask();
  f.driver.advance(RETAIN_MS / 2);
  assert.match(f.metric("response_total").join(), / 1$/);
  // The client's connection idles out after ten minutes, as in every proxy.
  f.driver.fail(client, { kind: "reset", message: "gone" });
  const open = ask();
  for (let i = 0; i < 30; i++) f.driver.advance(60_000);
  assert.is(open.closed, "flush");
  for (const gone of ["request_total", "response_total", "response_latency_ms", "inbound_http"]) {
    assert.equal(f.metric(gone), [], gone);
  }
  assert.equal(f.metric("tcp_open_connections"), []);
  ask();
  assert.match(f.metric("request_total").join(), / 1$/);
  assert.match(f.metric("response_total").join(), / 1$/);
  assert.match(f.metric("inbound_http_requests_total").join(), / 1$/);
  assert.match(f.metric("inbound_http_authz_allow_total").join(), / 1$/);
  assert.match(f.metric("tcp_open_total").join("\n"), /peer="src".* 1$/m);
  assert.match(f.metric("tcp_open_connections").join("\n"), /peer="src".* 1$/m);
  end();
});

test("an outbound target that lives on counts from nothing after it idled", () => {
  const f = outboundFixture(snapshot({ exists: true, endpoints: [endpoint(A)] }));
  const end = retainSeries({ ...f, log: logger([]) }, 2000);
  const lines = (name: string) =>
    exposition(f.metrics.sheet, []).split("\n").filter((line) => line.startsWith(name));
  const client = f.client();
  const ask = () => {
    const n = f.driver.connects.length;
    f.driver.feed(client, GET);
    if (f.driver.connects.length > n) f.driver.open(f.driver.connects.at(-1) as never);
    f.driver.feed(f.driver.connects.at(-1) as never, OK);
  };
  ask();
  ask();
  assert.match(lines("request_total").join(), / 2$/);
  for (let i = 0; i < 4; i++) f.driver.advance(1000);
  assert.equal(lines("request_total"), []);
  assert.equal(lines("outbound_http_route_backend"), []);
  // The target and the client's connection are still there.
  assert.match(lines("tcp_open_connections").join("\n"), /peer="src".* 1$/m);
  ask();
  for (
    const name of [
      "request_total",
      "response_total",
      "route_request_total",
      "route_actual_request_total",
      "outbound_http_route_backend_requests_total",
      "outbound_http_route_request_statuses_total",
      "outbound_http_balancer_queue_requests_total",
    ]
  ) assert.match(lines(name).join(), / 1$/, name);
  end();
});

test("over the bound a proxy says so once, and counts what was refused", () => {
  const said: string[] = [];
  const f = inboundFixture(inboundSnapshot([]));
  const metrics = new ProxyMetrics(new Sheet({ maxSeries: 3 }));
  const end = retainSeries({ driver: f.driver, metrics, log: logger(said) }, RETAIN_MS);
  for (let i = 0; i < 10; i++) metrics.count(metrics.inboundErrors, { error: String(i) });
  f.driver.advance(61_000);
  assert.is(said.length, 1);
  assert.match(said[0] ?? "", /Too many metric series.*family=inbound_http_errors_total/);
  const text = exposition(metrics.sheet, []);
  assert.match(text, 'inbound_http_errors_total{overflow="true"} 8\n');
  assert.match(text, "metrics_series_overflow_total 8\n");
  end();
});

test.run();
