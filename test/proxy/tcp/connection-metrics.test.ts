// What connections are counted under: outcome of detection, protocol, route, transport header.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { SILENT } from "../../../src/core/log.ts";
import { MeshError } from "../../../src/core/errors.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import type { OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { outboundAccept } from "../../../src/proxy/outbound/accept.ts";
import { serverOptions } from "../../../src/proxy/serve.ts";
import { countTransportHeader, DetectSeries } from "../../../src/proxy/tcp/detect-metrics.ts";
import { TcpRouteSeries } from "../../../src/proxy/tcp/route-metrics.ts";
import { type TestPeer, turn } from "../../support/memory-driver.ts";
import { A, endpoint, outboundFixture, snapshot } from "../../support/outbound-fixture.ts";

const PARENT = { group: "core", kind: "Service", namespace: "shop", name: "mail", port: 25 };
const LABELS = 'parent_group="core",parent_kind="Service",parent_namespace="shop",' +
  'parent_name="mail",parent_port="25",parent_section_name=""';

/** A client that was redirected on its way to a service. */
function redirected(more: Partial<OutboundSnapshot> = {}) {
  const proxy = outboundFixture({
    ...snapshot({ exists: true, endpoints: [endpoint(A)] }),
    parent: PARENT,
    ...more,
  });
  const { driver, metrics, targets, draining } = proxy;
  const accept = outboundAccept({
    driver,
    metrics,
    targets,
    fixed: null,
    server: serverOptions({ metrics, log: SILENT, draining, tellMesh: () => true }),
  });
  const client = driver.accept(accept, {
    local: { ip: "127.77.0.1", port: 4140 },
    remote: { ip: "127.77.0.1", port: 50000 },
    tls: null,
    original: A,
  });
  return {
    ...proxy,
    client,
    upstream: () => driver.peers.at(-1) as TestPeer,
    shown: (family: string) =>
      exposition(metrics.sheet, []).split("\n").filter((line) => line.startsWith(`${family}{`)),
  };
}

test("a target's detections and connections are under its policy's parent", async () => {
  const f = redirected();
  f.driver.advance(100);
  f.driver.open(f.upstream());
  f.driver.feed(f.upstream(), "220 mail.test\r\n");
  await turn();
  assert.equal(f.shown("outbound_tcp_detect_http_results_total"), [
    `outbound_tcp_detect_http_results_total{${LABELS},result="server_first"} 1`,
  ]);
  assert.equal(f.shown("outbound_tcp_detect_http_duration_seconds_count"), [
    `outbound_tcp_detect_http_duration_seconds_count{${LABELS}} 1`,
  ]);
  assert.equal(f.shown("outbound_tcp_protocol_connections_total"), [
    `outbound_tcp_protocol_connections_total{protocol="detect",${LABELS}} 1`,
  ]);
  const route = 'route_group="",route_kind="default",route_namespace="",route_name="default"';
  const opened = [`outbound_tcp_route_open_total{${LABELS},${route}} 1`];
  assert.equal(f.shown("outbound_tcp_route_open_total"), opened);
  assert.equal(f.shown("outbound_tcp_route_close_total"), []);
  f.driver.end(f.upstream());
  f.driver.end(f.client);
  await turn();
  assert.equal(f.shown("outbound_tcp_route_open_total"), opened);
  assert.equal(f.shown("outbound_tcp_route_close_total"), [
    `outbound_tcp_route_close_total{${LABELS},${route},error=""} 1`,
  ]);
});

test("a drain waits for opaque connections, and not for clients that have said nothing", async () => {
  const f = redirected();
  f.driver.advance(100);
  f.driver.open(f.upstream());
  assert.is(f.draining.inFlight.count, 0);
  f.driver.feed(f.upstream(), "220 mail.test\r\n");
  await turn();
  assert.is(f.draining.inFlight.count, 1);
  f.driver.fail(f.client, { kind: "reset", message: "ECONNRESET" });
  assert.is(f.draining.inFlight.count, 0);
});

test("a client that speaks HTTP late has taken no route of opaque bytes", async () => {
  const f = redirected();
  f.driver.advance(100);
  f.driver.feed(f.client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  await turn();
  assert.equal(f.shown("outbound_tcp_route_open_total"), []);
  assert.equal(f.shown("outbound_tcp_route_close_total"), []);
  assert.match(f.shown("outbound_tcp_detect_http_results_total").join(), /result="http\/1"\} 1/);
});

test("an opaque port is not looked at, and a connection that fails says so", async () => {
  const f = redirected({ opaque: true });
  f.driver.fail(f.upstream(), { kind: "connect", message: "ECONNREFUSED" });
  await turn();
  assert.match(f.shown("outbound_tcp_protocol_connections_total").join(), /protocol="opaq"/);
  assert.equal(f.shown("outbound_tcp_detect_http_results_total"), []);
  assert.match(f.shown("outbound_tcp_route_close_total").join(), /error="unexpected"\} 1/);
});

test("what ends a connection of a route has Linkerd's names", () => {
  const metrics = new ProxyMetrics();
  const series = new TcpRouteSeries(metrics, "tls", {});
  for (
    const kind of ["client-gone", "unauthorized", "no-service", "policy", "connect"] as const
  ) series.closed(new MeshError(kind, "a test"));
  series.closed(null);
  const shown = exposition(metrics.sheet, []).split("\n").filter((line) =>
    line.startsWith("outbound_tls_route_close_total{")
  ).sort();
  assert.equal(shown, [
    'outbound_tls_route_close_total{error=""} 2',
    'outbound_tls_route_close_total{error="forbidden"} 1',
    'outbound_tls_route_close_total{error="invalid_backend"} 1',
    'outbound_tls_route_close_total{error="invalid_policy"} 1',
    'outbound_tls_route_close_total{error="unexpected"} 1',
  ]);
});

test("transport headers are counted by what they say and who sent them", () => {
  const metrics = new ProxyMetrics();
  const header = { port: 8080, name: "", clientId: "web.test" };
  for (const protocol of ["http2", "opaque", "opaque"] as const) {
    countTransportHeader(metrics, { ...header, protocol });
  }
  const shown = exposition(metrics.sheet, []).split("\n").filter((line) =>
    line.startsWith("inbound_tcp_transport_header_connections_total{")
  ).sort();
  const rest = 'target_port="8080",target_name="",client_id="web.test"';
  assert.equal(shown, [
    `inbound_tcp_transport_header_connections_total{session_protocol="",${rest}} 2`,
    `inbound_tcp_transport_header_connections_total{session_protocol="http/2",${rest}} 1`,
  ]);
});

test("series of detection that are idle are dropped, and come again", () => {
  const metrics = new ProxyMetrics();
  const series = new DetectSeries(metrics, "inbound", { srv_name: "a" });
  series.detected("http/1", 3);
  metrics.sheet.sweep(0, 1000);
  metrics.sheet.sweep(5000, 1000);
  assert.not.match(exposition(metrics.sheet, []), /results_total\{/);
  series.detected("http/1", 3);
  assert.match(exposition(metrics.sheet, []), /results_total\{srv_name="a",result="http\/1"\} 1/);
});

test.run();
