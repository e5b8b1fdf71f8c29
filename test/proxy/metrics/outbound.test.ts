// What an outbound target counts: Linkerd's registry families by route and backend, retries, balancers and
// their queues.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { type FilterChain, HOOK_OUTCOME, NO_FILTERS } from "../../../src/core/filter.ts";
import { MeshError } from "../../../src/core/errors.ts";
import type { Origin } from "../../../src/model/profile.ts";
import type { Route } from "../../../src/model/route.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { streamError } from "../../../src/proxy/metrics/errors.ts";
import { hostnameOf } from "../../../src/proxy/metrics/outbound-routes.ts";
import { endpointReports } from "../../../src/proxy/report.ts";
import {
  A,
  B,
  endpoint,
  outboundFixture,
  route,
  snapshot,
} from "../../support/outbound-fixture.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BAD = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const of = (kind: string, name: string, more: Partial<Origin> = {}): Origin => ({
  group: kind === "Service" ? "core" : "gateway.networking.k8s.io",
  kind,
  namespace: "shop",
  name,
  port: kind === "Service" ? 80 : 0,
  ...more,
});
const NAMED: Route = route({ name: "buy", origin: of("HTTPRoute", "buy") });
const ONE = { exists: true, endpoints: [endpoint(A)] };

function policy(only: Route = NAMED, chain: FilterChain = NO_FILTERS, endpoints = ONE) {
  return {
    ...snapshot(endpoints, [{ route: only, chain }]),
    parent: of("Service", "web", { section: "http" }),
    backend: of("Service", "web-v1"),
  };
}

type Fixture = ReturnType<typeof outboundFixture>;
const lines = (f: Fixture, name: string) =>
  exposition(f.metrics.sheet, []).split("\n").filter((line) => line.startsWith(name));
const buckets = (f: Fixture, name: string) =>
  lines(f, `${name}_bucket`).map((l) => /le="([^"]+)"} (\d+)$/.exec(l)?.slice(1).join("=") ?? l);
const up = (f: Fixture, n = 0) => f.driver.connects[n] as Fixture["driver"]["connects"][0];

const PARENT =
  'parent_group="core",parent_kind="Service",parent_namespace="shop",parent_name="web",parent_port="80",parent_section_name="http"';
const ROUTE =
  'route_group="gateway.networking.k8s.io",route_kind="HTTPRoute",route_namespace="shop",route_name="buy"';
const BACKEND =
  'backend_group="core",backend_kind="Service",backend_namespace="shop",backend_name="web-v1",backend_port="80",backend_section_name=""';

test("a route and its backend have Linkerd's families", () => {
  const f = outboundFixture(policy());
  const client = f.client();
  f.driver.feed(client, "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\n\r\n");
  f.driver.open(up(f));
  f.driver.advance(100);
  f.driver.feed(client, "xx");
  f.driver.advance(30);
  f.driver.feed(up(f), "HTTP/1.1 201 Created\r\ncontent-length: 2000\r\n\r\n");
  f.driver.feed(up(f), "y".repeat(2000));
  const labels = `${PARENT},${ROUTE}`;
  const route = "outbound_http_route";
  assert.equal(lines(f, `${route}_request_statuses_total`), [
    `${route}_request_statuses_total{${labels},hostname="",http_status="201",error=""} 1`,
  ]);
  assert.equal(buckets(f, `${route}_request_duration_seconds`), [
    ...["0.05=0", "0.5=1", "1=1", "10=1", "+Inf=1"],
  ]);
  assert.equal(buckets(f, `${route}_request_frame_size_bytes`), [
    ...["128=1", "1024=1", "10240=1", "+Inf=1"],
  ]);
  assert.equal(lines(f, `${route}_backend_requests_total`), [
    `${route}_backend_requests_total{${labels},${BACKEND}} 1`,
  ]);
  assert.equal(lines(f, `${route}_backend_response_statuses_total`), [
    `${route}_backend_response_statuses_total{${labels},${BACKEND},http_status="201",error=""} 1`,
  ]);
  assert.equal(buckets(f, `${route}_backend_response_duration_seconds`), [
    ...["0.025=0", "0.05=1", "0.1=1", "0.25=1", "0.5=1", "1=1", "10=1", "+Inf=1"],
  ]);
  assert.equal(buckets(f, `${route}_backend_response_frame_size_bytes`), [
    ...["128=0", "1024=0", "10240=1", "+Inf=1"],
  ]);
});

test("what ended a request without a response is its error", () => {
  const f = outboundFixture(policy());
  f.driver.feed(f.client(), GET);
  f.driver.fail(up(f), { kind: "connect", message: "ECONNREFUSED" });
  const family = "outbound_http_route_request_statuses_total";
  assert.match(lines(f, family)[0] ?? "", /hostname="",http_status="",error="IO"} 1$/);
  assert.match(
    lines(f, "outbound_http_route_backend_response_statuses_total")[0] ?? "",
    /http_status="",error="IO"} 1$/,
  );
  const gone = f.client();
  f.driver.feed(gone, GET);
  f.driver.fail(gone, { kind: "reset", message: "ECONNRESET" });
  assert.match(lines(f, family)[1] ?? "", /http_status="",error="CANCEL"} 1$/);
});

test("a request that found no endpoint in time is its route's, with FAIL_FAST", () => {
  const f = outboundFixture(policy(NAMED, NO_FILTERS, { exists: true, endpoints: [] }));
  f.driver.feed(f.client(), GET);
  f.driver.advance(3100);
  f.driver.feed(f.client(), GET);
  assert.match(
    lines(f, "outbound_http_route_request_statuses_total")[0] ?? "",
    /http_status="",error="FAIL_FAST"} 2$/,
  );
  endpointReports(f.targets, f.driver.now);
  const queue = "outbound_http_balancer_queue";
  assert.match(lines(f, `${queue}_gate_shut_total`)[0] ?? "", / 1$/);
  assert.match(lines(f, `${queue}_latency_seconds_sum`)[0] ?? "", / 3$/);
  f.discovery.set(policy());
  assert.match(lines(f, `${queue}_gate_open_total`)[0] ?? "", / 1$/);
  assert.match(lines(f, `${queue}_gate_shut_time_seconds_count`)[0] ?? "", / 1$/);
});

test("errors have Linkerd's names", () => {
  const named = (kind: MeshError["kind"], more: ConstructorParameters<typeof MeshError>[2] = {}) =>
    streamError(new MeshError(kind, "why", more));
  assert.is(named("overload"), "LOAD_SHED");
  assert.is(named("response-timeout", { timeout: "request" }), "REQUEST_TIMEOUT");
  assert.is(named("response-timeout", { timeout: "headers" }), "RESPONSE_HEADERS_TIMEOUT");
  assert.is(named("response-timeout", { timeout: "response" }), "RESPONSE_STREAM_TIMEOUT");
  assert.is(named("response-timeout", { timeout: "idle" }), "IDLE_TIMEOUT");
  assert.is(named("upstream-closed", { reset: 7 }), "REFUSED");
  assert.is(named("upstream-closed", { reset: 8 }), "CANCEL");
  assert.is(named("upstream-closed", { reset: 11 }), "ENHANCE_YOUR_CALM");
  assert.is(named("upstream-closed", { reset: 2 }), "RESET");
  assert.is(named("upstream-closed"), "IO");
  assert.is(named("internal"), "UNKNOWN");
});

test("retries are counted: made, successful, at their limit", async () => {
  const retry = {
    statuses: [{ min: 500, max: 599 }],
    maxRetries: 1,
    attemptTimeoutMs: 0,
    backoff: { minMs: 0, maxMs: 0, jitter: 0 },
  };
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_OUTCOME,
    attemptOutcome: (x, o) => o.status >= 500 && x.attempt < 1 ? 0 : -1,
  };
  const f = outboundFixture(policy({ ...NAMED, retry }, chain));
  const client = f.client();
  const answer = async (...answers: string[]) => {
    f.driver.feed(client, GET);
    if (!up(f).sent.includes("GET")) f.driver.open(up(f));
    for (const one of answers) {
      f.driver.feed(up(f), one);
      await Promise.resolve();
    }
  };
  await answer(BAD, OK);
  await answer(BAD, BAD);
  const count = (what: string) => lines(f, `outbound_http_route_retry_${what}_total`).join();
  assert.match(count("requests"), / 2$/);
  assert.match(count("successes"), / 1$/);
  assert.match(count("limit_exceeded"), / 1$/);
  assert.match(lines(f, "outbound_http_route_backend_requests_total").join(), / 4$/);
  assert.equal(lines(f, "outbound_http_route_request_statuses_total").map((l) => l.slice(-30)), [
    ...['e="",http_status="200",error=""} 1', 'e="",http_status="503",error=""} 1'].map((l) =>
      l.slice(-30)
    ),
  ]);
});

test("a balancer tells its endpoints, its queue and what became of its set", () => {
  const f = outboundFixture(policy(NAMED, NO_FILTERS, {
    exists: true,
    endpoints: [endpoint(A), endpoint(B)],
  }));
  f.driver.feed(f.client(), GET);
  f.driver.fail(up(f), { kind: "connect", message: "ECONNREFUSED" });
  endpointReports(f.targets, f.driver.now);
  const labels = `${PARENT},${BACKEND}`;
  const balancer = "outbound_http_balancer";
  assert.equal(lines(f, `${balancer}_endpoints`), [
    `${balancer}_endpoints{${labels},endpoint_state="ready"} 1`,
    `${balancer}_endpoints{${labels},endpoint_state="pending"} 1`,
  ]);
  assert.equal(lines(f, `${balancer}_p2c_endpoints`), [`${balancer}_p2c_endpoints{${labels}} 2`]);
  assert.match(lines(f, `${balancer}_queue_requests_total`)[0] ?? "", / 1$/);
  assert.match(lines(f, `${balancer}_queue_length`)[0] ?? "", / 0$/);
  assert.match(lines(f, `${balancer}_queue_gate_timeout_seconds`)[0] ?? "", / 3$/);
  f.discovery.set(policy());
  endpointReports(f.targets, f.driver.now);
  assert.equal(
    lines(f, `${balancer}_p2c_updates_total`).map((l) => /op="(\w+)"} (\d)$/.exec(l)?.slice(1)),
    [["Add", "2"], ["Remove", "1"]],
  );
  assert.equal(lines(f, "outbound_tcp_balancer"), []);
});

test("a ServiceProfile's routes have no policy families, a route of gRPC calls has its own", () => {
  const profile = outboundFixture({ ...policy(), parent: null });
  profile.driver.feed(profile.client(), GET);
  assert.equal(lines(profile, "outbound_http_route"), []);
  assert.is(lines(profile, "route_request_total").length, 1);
  const grpc = outboundFixture(policy({ ...NAMED, isGrpc: true }));
  grpc.driver.feed(grpc.client(), GET);
  grpc.driver.open(up(grpc));
  grpc.driver.feed(up(grpc), OK.replace("content-length", "grpc-status: 5\r\ncontent-length"));
  assert.is(lines(grpc, "outbound_grpc_route_backend_requests_total").length, 1);
  assert.equal(lines(grpc, "outbound_http_route"), []);
});

test("the hostname is a label where it is asked for: names only, wildcards instead of their names", () => {
  assert.is(hostnameOf("Web.Shop.svc.cluster.local.:8080"), "web.shop.svc.cluster.local");
  for (const none of ["10.1.2.3:80", "[::1]:80", "", 'a"b', "a..b", "-", "x".repeat(300)]) {
    assert.is(hostnameOf(none), "", none);
  }
  const ask = (only: Route) => {
    const f = outboundFixture(policy(only), { hostnameLabels: true });
    for (const host of ["web", "web", "10.0.0.9", "a.example.com"]) {
      const client = f.client();
      const n = f.driver.connects.length;
      f.driver.feed(client, GET.replace("web", host));
      f.driver.fail(up(f, n), { kind: "connect", message: "ECONNREFUSED" });
      f.driver.advance(100_000);
    }
    return lines(f, "outbound_http_route_request_statuses_total")
      .map((l) => /hostname="([^"]*)".* (\d+)$/.exec(l)?.slice(1).join("="));
  };
  assert.equal(ask(NAMED), ["web=2", "=1", "a.example.com=1"]);
  assert.equal(ask({ ...NAMED, wildcard: "*.example.com" }), ["*.example.com=4"]);
});

test("bytes to and from endpoints are counted by zone", () => {
  const near = { exists: true, endpoints: [endpoint(A, { labels: { zone_locality: "local" } })] };
  const f = outboundFixture(policy(NAMED, NO_FILTERS, near));
  f.driver.feed(f.client(), GET);
  f.driver.open(up(f));
  f.driver.feed(up(f), OK);
  const bytes = lines(f, "outbound_tcp_transfer_cost_bytes_total").join("\n");
  assert.match(bytes, new RegExp(`op="Recv",zone_locality="Local"} ${OK.length}$`, "m"));
  assert.match(bytes, /op="Send",zone_locality="Local"} \d+$/m);
});

test.run();
