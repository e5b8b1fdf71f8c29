// HTTPRoutes and GRPCRoutes of a Service as its clients get them: whole messages, field by field.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { clientPolicyFromWire } from "../../../src/api/client-policy.ts";
import { matches } from "../../../src/model/route.ts";
import { apply, meshOf } from "../support/mesh-fixture.ts";
import { BASE, clientOf, id, json, route, service, WEB, type Wire } from "../support/routes.ts";

test("a Service with an HTTPRoute: the whole message", async () => {
  const mesh = meshOf([
    BASE,
    route(
      "split",
      `
      hostnames: [web.example, '*.shop.example'],
      rules: [
        {
          matches: [{
            path: { type: Exact, value: /a },
            headers: [{ name: X-Version, value: two }, { name: y, type: RegularExpression, value: 'a.*' }],
            queryParams: [{ name: q, value: '1' }],
            method: PATCH,
          }],
          filters: [
            { type: RequestHeaderModifier, requestHeaderModifier: {
                set: [{ name: a, value: '1' }], add: [{ name: b, value: '2' }], remove: [c] } },
            { type: ResponseHeaderModifier, responseHeaderModifier: { remove: [server] } },
          ],
          backendRefs: [
            { name: v1, port: 80, weight: 9 },
            { name: v2, port: 80, weight: 1, filters: [
                { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: v, value: '2' }] } }] },
          ],
          timeouts: { request: 10s },
        },
        {
          matches: [{ path: { type: PathPrefix, value: /old } }],
          filters: [{ type: RequestRedirect, requestRedirect: {
              scheme: https, hostname: new.example, port: 8443, statusCode: 301,
              path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }],
        },
      ]`,
      { annotations: "retry.linkerd.io/http: 5xx, timeout.linkerd.io/idle: 3s" },
    ),
  ].join("---"));
  const wire = json(await clientOf(mesh).get());
  const { detect } = wire.protocol;
  assert.equal(wire.metadata, {
    resource: { group: "core", kind: "Service", namespace: "shop", name: "web", port: 80 },
  });
  const balancer = (name: string, path: string) => ({
    metadata: { resource: { group: "core", kind: "Service", namespace: "shop", name, port: 80 } },
    queue: { capacity: 100, failfastTimeout: "3s" },
    balancer: {
      discovery: { dst: { path } },
      peakEwma: { defaultRtt: "0.030s", decay: "10s" },
    },
  });
  const retry = {
    maxRetries: 1,
    maxRequestBytes: 65536,
    conditions: { statusRanges: [{ start: 500, end: 599 }] },
    backoff: { minBackoff: "0.025s", maxBackoff: "0.250s", jitterRatio: 1 },
  };
  const bytes = (text: string) => btoa(text);
  assert.equal(detect.timeout, "10s");
  assert.equal(detect.http2, detect.http1);
  assert.equal(detect.http1.routes, [{
    metadata: { resource: id("split") },
    hosts: [
      { exact: "web.example" },
      { suffix: { reverseLabels: ["example", "shop"] } },
    ],
    rules: [
      {
        matches: [{
          path: { exact: "/a" },
          headers: [
            { name: "x-version", exact: bytes("two") },
            { name: "y", regex: "a.*" },
          ],
          queryParams: [{ name: "q", exact: "1" }],
          method: { registered: "PATCH" },
        }],
        filters: [
          {
            requestHeaderModifier: {
              add: { headers: [{ name: "b", value: bytes("2") }] },
              set: { headers: [{ name: "a", value: bytes("1") }] },
              remove: ["c"],
            },
          },
          { responseHeaderModifier: { add: {}, set: {}, remove: ["server"] } },
        ],
        backends: {
          randomAvailable: {
            backends: [
              { weight: 9, backend: { backend: balancer("v1", "v1.shop.svc.cluster.local:80") } },
              {
                weight: 1,
                backend: {
                  backend: balancer("v2", "v2.shop.svc.cluster.local:80"),
                  filters: [{
                    requestHeaderModifier: {
                      add: {},
                      set: { headers: [{ name: "v", value: bytes("2") }] },
                    },
                  }],
                },
              },
            ],
          },
        },
        requestTimeout: "10s",
        timeouts: { request: "10s", idle: "3s" },
        retry,
      },
      {
        matches: [{ path: { prefix: "/old" } }],
        filters: [{
          redirect: {
            ...{ scheme: { registered: "HTTPS" }, host: "new.example", port: 8443, status: 301 },
            path: { prefix: "/new" },
          },
        }],
        backends: {
          firstAvailable: {
            backends: [{ backend: balancer("web", "web.shop.svc.cluster.local:80") }],
          },
        },
        timeouts: { idle: "3s" },
        retry,
      },
    ],
  }]);
  // Bytes that are no requests go to the Service itself.
  assert.equal(detect.opaque.routes[0].metadata, { default: "opaq" });
});

test("GRPCRoutes go before HTTPRoutes: the whole protocol is gRPC", async () => {
  const mesh = meshOf([
    BASE,
    route("http", "rules: [{ backendRefs: [{ name: v1, port: 80 }] }]", {
      parents: WEB.replace(", port: 80", ""),
    }),
    route(
      "calls",
      `rules: [{
        matches: [{ method: { service: shop.Cart, method: Add }, headers: [{ name: a, value: b }] }, { method: { method: Any } }],
        filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [c] } }],
        backendRefs: [{ name: v2, port: 80 }, { name: gone, port: 81, weight: 3 }],
      }]`,
      {
        kind: "GRPCRoute",
        annotations:
          "retry.linkerd.io/grpc: 'unavailable,deadline-exceeded', retry.linkerd.io/timeout: 2s",
      },
    ),
  ].join("---"));
  const { grpc } = json(await clientOf(mesh).get()).protocol;
  const [only] = grpc.routes;
  assert.is(grpc.routes.length, 1);
  assert.equal(only.metadata, { resource: id("calls", "shop", "GRPCRoute") });
  const [rule] = only.rules;
  assert.equal(rule.matches, [
    {
      rpc: { service: "shop.Cart", method: "Add" },
      headers: [{ name: "a", exact: btoa("b") }],
    },
    { rpc: { method: "Any" } },
  ]);
  assert.equal(rule.filters, [{ requestHeaderModifier: { add: {}, set: {}, remove: ["c"] } }]);
  assert.equal(rule.retry.conditions, { deadineExceeded: true, unavailable: true });
  assert.is(rule.retry.timeout, "2s");
  const [there, gone] = rule.backends.randomAvailable.backends;
  assert.is(there.backend.backend.balancer.discovery.dst.path, "v2.shop.svc.cluster.local:80");
  assert.equal(gone, {
    weight: 3,
    backend: {
      backend: {
        metadata: {
          resource: { group: "core", kind: "Service", namespace: "shop", name: "gone", port: 81 },
        },
        queue: { capacity: 100, failfastTimeout: "3s" },
      },
      filters: [{ failureInjector: { code: 2, message: "Service not found gone" } }],
    },
  });
});

test("a backend that is none fails its share, and is found when it comes", async () => {
  const mesh = meshOf([
    BASE,
    route(
      "r",
      `rules: [{ backendRefs: [
        { name: v1, port: 80 },
        { name: late, namespace: other, port: 80 },
        { group: x.example, kind: Bucket, name: b },
        { group: policy.linkerd.io, kind: EgressNetwork, name: out },
      ] }]`,
    ),
  ].join("---"));
  const client = clientOf(mesh);
  const said = (wire: Wire) => {
    const [rule] = json(wire).protocol.detect.http1.routes[0].rules;
    return rule.backends.randomAvailable.backends.map((
      { backend }: { backend: { backend: { balancer?: unknown }; filters?: unknown[] } },
    ) => backend.backend.balancer === undefined ? backend.filters : "balancer");
  };
  const failure = (message: string) => [{ failureInjector: { status: 500, message } }];
  const stream = client.watch();
  assert.equal(said(await stream.next()), [
    "balancer",
    failure("Service not found late"),
    failure("unsupported backend type x.example Bucket"),
    failure("EgressNetwork not found out"),
  ]);
  apply(mesh.cluster, service("late", "10.0.0.9", "", "{ port: 80 }", "other"));
  assert.equal(said(await stream.next())[1], "balancer");
  apply(
    mesh.cluster,
    `
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: { name: out, namespace: shop }
spec: { trafficPolicy: Allow, networks: [{ cidr: 192.0.2.0/24 }] }
`,
  );
  assert.equal(
    said(await stream.next())[3],
    failure("EgressNetwork backends attach to EgressNetwork parents only"),
  );
  await stream.end();
  // What our own proxies make of it: the share leads nowhere, the rest is served.
  const read = clientPolicyFromWire(await client.get());
  assert.equal(read.routes[0]?.split?.backends.map((b) => b.fails ?? b.authority), [
    "v1.shop.svc.cluster.local:80",
    "late.other.svc.cluster.local:80",
    "unsupported backend type x.example Bucket",
    "EgressNetwork backends attach to EgressNetwork parents only",
  ]);
});

test("our proxies read filters of one of several backends as routes of their own", async () => {
  const mesh = meshOf([
    BASE,
    route(
      "r",
      `rules: [{
        filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: '1' }] } }],
        backendRefs: [
          { name: v1, port: 80, weight: 9 },
          { name: v2, port: 80, filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { remove: [b] } }] },
          { name: gone, port: 80 },
        ],
      }]`,
    ),
  ].join("---"));
  const { routes } = clientPolicyFromWire(await clientOf(mesh).get());
  assert.equal(routes.map((r) => r.variants ?? 0), [0, 0, 0, 3]);
  assert.equal(routes.map((r) => r.actions?.map((a) => a.kind)), [
    ["request-headers"],
    ["request-headers", "response-headers"],
    ["request-headers"],
    ["request-headers"],
  ]);
  assert.equal(
    routes.map((r) => r.split?.backends.map((b) => b.fails ?? b.authority.slice(0, 2))),
    [
      ["v1"],
      ["v2"],
      ["Service not found gone"],
      ["v1", "v2", "Service not found gone"],
    ],
  );
  assert.equal(
    routes.map((r) => matches(r.match, { method: "GET", path: "/", header: () => null })),
    [
      ...[false, false, false],
      true,
    ],
  );
});

test("our proxies answer 500 where a rule's only backend is none, and fail a rule of weights 0", async () => {
  const only = async (backends: string, kind: "HTTPRoute" | "GRPCRoute" = "HTTPRoute") => {
    const mesh = meshOf([BASE, route("r", `rules: [{ backendRefs: [${backends}] }]`, { kind })]
      .join("---"));
    return clientPolicyFromWire(await clientOf(mesh).get());
  };
  const fail = { kind: "fail", message: "Service not found x", ratio: 1 };
  const gone = await only("{ name: x, port: 80 }");
  assert.equal(gone.routes[0]?.actions, [{ ...fail, status: 500, grpcStatus: null }]);
  // It is no policy that forwards nowhere: requests get as far as what answers them.
  assert.equal(gone.routes[0]?.split?.backends.map((b) => b.authority), [""]);
  const calls = await only("{ name: x, port: 80 }", "GRPCRoute");
  assert.equal(calls.routes[0]?.actions, [{ ...fail, status: 200, grpcStatus: 2 }]);
  const none = await only("{ name: v1, port: 80, weight: 0 }, { name: v2, port: 80, weight: 0 }");
  assert.is(none.destination, "");
  assert.is(none.routes.length, 1);
});

test.run();
