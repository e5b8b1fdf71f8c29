// What an inbound port counts: Linkerd's registry families by route, and what its policy decided, by the
// server's authorizations and by the filters that the proxy carries.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import type { Authorization } from "../../../src/model/policy.ts";
import type { TestPeer } from "../../support/memory-driver.ts";
import {
  answering,
  inboundFixture,
  inboundSnapshot,
  meshedAs,
  SERVER,
} from "../../support/inbound-fixture.ts";
import { route } from "../../support/outbound-fixture.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nhost: web\r\n${more}\r\n`;
const NAMED = route({
  name: "buy",
  origin: {
    group: "gateway.networking.k8s.io",
    kind: "HTTPRoute",
    namespace: "shop",
    name: "buy",
    port: 0,
  },
});

type Fixture = ReturnType<typeof inboundFixture>;

function answered(f: Fixture, client: TestPeer, request: string, answer = OK): string {
  const before = f.driver.connects.length;
  f.driver.feed(client, request);
  if (f.driver.connects.length > before) f.driver.open(f.app());
  if (f.driver.connects.length > 0) f.driver.feed(f.app(), answer);
  return client.take();
}

const PARENT =
  'parent_group="policy.linkerd.io",parent_kind="server",parent_name="catalogue-http",parent_port="8080"';
const ROUTE = 'route_group="gateway.networking.k8s.io",route_kind="HTTPRoute",route_name="buy"';

test("a route's requests, times, frames and statuses have Linkerd's families", () => {
  const f = inboundFixture(inboundSnapshot([{ route: NAMED, chain: NO_FILTERS }]));
  const client = f.connect(meshedAs("web.shop"));
  f.driver.feed(client, "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 300\r\n\r\n");
  f.driver.open(f.app());
  f.driver.feed(client, "x".repeat(100));
  f.driver.advance(200);
  f.driver.feed(client, "x".repeat(200));
  f.driver.advance(60);
  f.driver.feed(f.app(), "HTTP/1.1 201 Created\r\ncontent-length: 2000\r\n\r\n");
  f.driver.feed(f.app(), "y".repeat(2000));
  const labels = `${PARENT},${ROUTE}`;
  assert.equal(f.metric("inbound_http_requests_total"), [
    `inbound_http_requests_total{${labels}} 1`,
  ]);
  assert.equal(f.metric("inbound_http_statuses_total"), [
    `inbound_http_statuses_total{${labels},status="201"} 1`,
  ]);
  const buckets = (name: string) =>
    f.metric(`${name}_bucket`).map((line) =>
      /le="([^"]+)"} (\d+)$/.exec(line)?.slice(1).join("=") ?? line
    );
  assert.equal(buckets("inbound_http_request_duration_seconds"), [
    ...["0.025=0", "0.05=0", "0.1=0", "0.25=0", "0.5=1", "1=1", "10=1", "+Inf=1"],
  ]);
  assert.equal(buckets("inbound_http_response_duration_seconds"), [
    ...["0.05=0", "0.5=1", "1=1", "10=1", "+Inf=1"],
  ]);
  assert.equal(buckets("inbound_http_request_frame_size_bytes"), [
    ...["128=1", "1024=2", "10240=2", "+Inf=2"],
  ]);
  assert.equal(buckets("inbound_http_response_frame_size_bytes"), [
    ...["128=0", "1024=0", "10240=1", "+Inf=1"],
  ]);
  assert.equal(f.metric("inbound_http_request_frame_size_bytes_sum"), [
    `inbound_http_request_frame_size_bytes_sum{${labels}} 300`,
  ]);
  assert.equal(f.metric("inbound_grpc_"), []);
});

test("a route of gRPC calls counts in the families of gRPC, by code", () => {
  const chain = answering(3, 200, () => true);
  const f = inboundFixture(inboundSnapshot([{ route: { ...NAMED, isGrpc: true }, chain }]));
  answered(f, f.connect(meshedAs("web.shop")), get("/a"));
  assert.match(f.metric("inbound_grpc_requests_total").join(), / 1$/);
  assert.match(f.metric("inbound_grpc_statuses_total").join(), /status="2"} 1$/);
  assert.equal(f.metric("inbound_http_requests_total"), []);
});

test("what the server allows is counted by route and authorization, what it denies by route", () => {
  const f = inboundFixture(inboundSnapshot([{ route: NAMED, chain: NO_FILTERS }]));
  answered(f, f.connect(meshedAs("web.shop")), get("/"));
  answered(f, f.connect(meshedAs("vote.shop")), get("/"));
  const target = 'target_addr="127.77.0.9:8080",target_ip="127.77.0.9",target_port="8080"';
  const srv =
    'srv_group="policy.linkerd.io",srv_kind="server",srv_name="catalogue-http",srv_port="8080"';
  const authz =
    'authz_group="policy.linkerd.io",authz_kind="authorizationpolicy",authz_name="catalogue-web"';
  assert.equal(f.metric("inbound_http_authz_allow_total"), [
    `inbound_http_authz_allow_total{${target},tls="true",client_id="web.shop",${srv},${ROUTE},${authz}} 1`,
  ]);
  assert.equal(f.metric("inbound_http_authz_deny_total"), [
    `inbound_http_authz_deny_total{${target},tls="true",client_id="vote.shop",${srv},${ROUTE}} 1`,
  ]);
  assert.equal(f.metric("inbound_http_errors_total"), []);
});

test("a route's own policy, decided by a filter, is counted as the server's is", () => {
  const own: Authorization = {
    origin: { ...SERVER, kind: "authorizationpolicy", name: "buyers" },
    networks: [{ cidr: "0.0.0.0/0", except: [] }],
    authentication: { kind: "identities", names: ["vote.shop"], suffixes: [] },
  };
  const decided = route({ ...NAMED, actions: [{ kind: "authorize", allow: ["x"] }] });
  const f = inboundFixture(inboundSnapshot(
    [{ route: decided, chain: answering(1, 403, (path) => path === "/no") }],
    { routes: [{ ...NAMED, match: decided.match, authorizations: [own] }] },
  ));
  const client = f.connect(meshedAs("vote.shop"));
  assert.match(answered(f, client, get("/yes")), /^HTTP\/1\.1 200/);
  assert.match(answered(f, client, get("/no")), /^HTTP\/1\.1 403/);
  assert.match(
    f.metric("inbound_http_authz_allow_total").join(),
    /^[^\n]*client_id="vote\.shop".*authz_name="buyers"} 1$/,
  );
  assert.match(
    f.metric("inbound_http_authz_deny_total").join(),
    /^[^\n]*client_id="vote\.shop".*route_name="buy"} 1$/,
  );
});

test("a request over a local rate limit is counted by the limit's policy and scope", () => {
  const origin = { ...SERVER, kind: "httplocalratelimitpolicy", name: "calm" };
  const limit = (total: number, identity: number) => ({ total, identity, overrides: [], origin });
  const limited = (total: number, identity: number, body = "no\n") => {
    const limits = limit(total, identity);
    const actions = [{ kind: "rate-limit" as const, scope: "8080", ...limits }];
    const f = inboundFixture(inboundSnapshot(
      [{ route: route({ ...NAMED, actions }), chain: answering(1, 429, () => true, body) }],
      { rateLimit: limits },
    ));
    assert.match(answered(f, f.connect(meshedAs("web.shop")), get("/")), /^HTTP\/1\.1 429/);
    assert.equal(f.metric("inbound_http_authz_deny_total"), []);
    return f.metric("inbound_http_local_ratelimit_total").join();
  };
  assert.match(
    limited(10, 0),
    /srv_name="catalogue-http".*ratelimit_group="policy\.linkerd\.io",ratelimit_kind="httplocalratelimitpolicy",ratelimit_name="calm",ratelimit_scope="total"} 1$/,
  );
  assert.match(limited(0, 5), /ratelimit_scope="identity"} 1$/);
  assert.match(limited(10, 5), /ratelimit_scope="total"} 1$/);
});

test("an unknown route has its own family and is no error", () => {
  const only = route({ match: { kind: "path-exact", path: "/known" } });
  const f = inboundFixture(inboundSnapshot([{ route: only, chain: NO_FILTERS }]));
  assert.match(answered(f, f.connect(meshedAs("web.shop")), get("/other")), /^HTTP\/1\.1 404/);
  assert.match(f.metric("inbound_http_route_not_found_total").join(), /client_id="web\.shop".* 1$/);
  assert.equal(f.metric("inbound_http_errors_total"), []);
});

test("the authority is a label only where it is asked for", () => {
  const value = inboundSnapshot([{ route: NAMED, chain: NO_FILTERS }]);
  const plain = inboundFixture(value);
  answered(plain, plain.connect(meshedAs("web.shop")), get("/"));
  assert.not.match(plain.metric("request_total").join(), /authority=/);
  const unsafe = inboundFixture(value, { authorityLabels: true });
  const client = unsafe.connect(meshedAs("web.shop"));
  answered(unsafe, client, get("/"));
  answered(unsafe, client, get("/").replace("host: web", "host: shop"));
  assert.match(unsafe.metric("request_total")[0] ?? "", /authority="web"} 1$/);
  assert.match(unsafe.metric("response_total")[1] ?? "", /authority="shop",status_code="200".* 1$/);
});

test("a latency bucket has an exemplar of a request with a trace, one a second", () => {
  const f = inboundFixture(inboundSnapshot([{ route: NAMED, chain: NO_FILTERS }]));
  const client = f.connect(meshedAs("web.shop"));
  const traced = (id: string) =>
    get("/", `traceparent: 00-${id.padStart(32, "a")}-00f067aa0ba902b7-01\r\n`);
  answered(f, client, get("/"));
  answered(f, client, traced("1"));
  assert.is(f.metrics.sheet.exemplars.size, 0, "the first of its second had none");
  f.driver.advance(1000);
  answered(f, client, traced("2"));
  answered(f, client, traced("3"));
  const ids = [...f.metrics.sheet.exemplars.values()].map((e) => e.traceId);
  assert.equal(new Set(ids), new Set(["2".padStart(32, "a")]));
  f.driver.advance(1000);
  answered(f, client, get("/", "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1\r\n"));
  assert.ok(
    [...f.metrics.sheet.exemplars.values()].some((e) => e.traceId.startsWith("80f198ee")),
  );
});

test("a connection that is ended by its policy is counted as terminated", () => {
  const opaque = { protocol: "opaque" as const, routes: [] };
  const f = inboundFixture(inboundSnapshot([], opaque));
  const client = f.connect(meshedAs("web.shop"));
  f.driver.open(f.app());
  f.driver.feed(client, "raw");
  f.set(inboundSnapshot([], opaque, ["nobody"]));
  assert.is(client.closed, "reset");
  assert.match(
    f.metric("inbound_tcp_authz_terminate_total").join(),
    /client_id="web\.shop".*authz_name="catalogue-web"} 1$/,
  );
});

test.run();
