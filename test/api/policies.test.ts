import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { FilterRef } from "../../src/core/filter.ts";
import { clientPolicyFromWire, clientPolicyToWire } from "../../src/api/client-policy.ts";
import { DestinationProfileSchema, RequestMatchSchema } from "../../src/api/gen/destination_pb.ts";
import { HttpRouteSchema, OutboundPolicySchema } from "../../src/api/gen/outbound_pb.ts";
import { HostMatchSchema, HttpRouteMatchSchema } from "../../src/api/gen/http_route_pb.ts";
import { MATCH_ALL } from "../../src/api/http-match.ts";
import { defaultOrigin } from "../../src/api/origin.ts";
import { profileFromWire, profileToWire } from "../../src/api/profile.ts";
import { compileRegex } from "../../src/api/regex.ts";
import type { WireError } from "../../src/api/wire-error.ts";
import type { ClientPolicy, Profile } from "../../src/model/profile.ts";
import {
  DEFAULT_RETRY_BUDGET,
  matches,
  PROFILE_RETRY,
  type Route,
  type RouteRetry,
} from "../../src/model/route.ts";

const FILTER: FilterRef = {
  name: "headers",
  sha256: "01".repeat(32),
  size: 100,
  config: new Uint8Array([123, 125]),
  failurePolicy: "open",
  fuelPerHook: 10,
  memoryPages: 2,
};

const ROUTE: Route = {
  name: "GET /items",
  match: {
    kind: "all",
    of: [{ kind: "method", method: "GET" }, {
      kind: "path-regex",
      regex: compileRegex("/items/[0-9]+"),
    }],
  },
  responseClasses: [{ match: { kind: "status", range: { min: 500, max: 599 } }, isFailure: true }],
  labels: { route: "GET /items" },
  retry: PROFILE_RETRY,
  timeoutMs: 4000,
  filters: [FILTER],
};

const PROFILE: Profile = {
  fullyQualifiedName: "catalogue.shop.svc.cluster.local",
  opaque: false,
  routes: [ROUTE, {
    ...ROUTE,
    name: "rest",
    labels: { route: "rest" },
    match: { kind: "any", of: [{ kind: "not", of: { kind: "method", method: "PUT" } }] },
    responseClasses: [],
    retry: null,
    timeoutMs: 0,
    filters: [],
  }],
  budget: { ratio: 0.3, minPerSecond: 5, ttlMs: 20_000 },
  overrides: [{ authority: "other.shop.svc.cluster.local:80", weight: 10 }],
  endpoint: null,
};

const never = (why: WireError) => assert.unreachable(why.message);

test("a profile comes back from the wire as it was", () => {
  const bytes = toBinary(DestinationProfileSchema, profileToWire(PROFILE));
  const read = profileFromWire(fromBinary(DestinationProfileSchema, bytes), never);
  assert.equal(read, PROFILE);
  assert.ok(read.routes[0]);
  const view = (method: string, path: string) => ({ method, path, header: () => null });
  assert.ok(matches(read.routes[0].match, view("GET", "/items/12?x=1")));
  assert.not(matches(read.routes[0].match, view("GET", "/items/12/x")));
});

test("a profile leaves out routes and classes that cannot be read, and says which", () => {
  const wire = profileToWire(PROFILE);
  const skipped: string[] = [];
  assert.ok(wire.routes[0]);
  assert.ok(wire.routes[1]?.condition);
  wire.routes[1].condition = create(RequestMatchSchema, {
    match: { case: "path", value: { regex: "(a+)+" } },
  });
  wire.routes[0].responseClasses.push(
    { ...profileToWire(PROFILE).routes[0]!.responseClasses[0]!, condition: undefined },
  );
  const read = profileFromWire(wire, (why) => skipped.push(why.message));
  assert.equal(read.routes.map((r) => r.name), ["GET /items"]);
  assert.is(read.routes[0]?.responseClasses.length, 1);
  assert.match(skipped[0] ?? "", /^routes\[0\]\.response_classes\[1\]\.condition: is missing/);
  assert.match(
    skipped[1] ?? "",
    /^routes\[1\]\.condition\.path\.regex: "\(a\+\)\+" repeats a group/,
  );
});

test("a profile without a valid budget is not retried", () => {
  for (
    const budget of [
      undefined,
      { ...PROFILE.budget, ttlMs: 100 },
      { ...PROFILE.budget, ttlMs: 90_000 },
      { ...PROFILE.budget, ratio: -1 },
      { ...PROFILE.budget, ratio: NaN },
    ]
  ) {
    const wire = profileToWire({ ...PROFILE, budget: budget ?? DEFAULT_RETRY_BUDGET });
    if (budget === undefined) wire.retryBudget = undefined;
    const read = profileFromWire(wire, () => {});
    assert.is(read.routes[0]?.retry, null);
    assert.equal(read.budget, DEFAULT_RETRY_BUDGET);
  }
});

test("retries of a policy's route come back from the wire, cut to what the filter takes", () => {
  const retry: RouteRetry = {
    statuses: [{ min: 500, max: 503 }, { min: 429, max: 429 }],
    maxRetries: 3,
    attemptTimeoutMs: 250,
    backoff: { minMs: 25, maxMs: 250, jitter: 0.3 },
  };
  const policy = { ...POLICY, routes: [{ ...POLICY.routes[0]!, retry }] };
  assert.equal(clientPolicyFromWire(clientPolicyToWire(policy, 10_000)).routes[0]?.retry, retry);

  const wire = clientPolicyToWire(policy, 10_000);
  assert.ok(wire.protocol?.kind.case === "detect");
  const { retry: message } = wire.protocol.kind.value.http1!.routes[0]!.rules[0]!;
  message!.maxRetries = 1000;
  message!.backoff = undefined;
  message!.conditions = undefined;
  const read = clientPolicyFromWire(wire).routes[0]?.retry;
  assert.is(read?.maxRetries, 10);
  assert.equal(read?.statuses, [], "without conditions no status is tried again");
  assert.equal(read?.backoff, { minMs: 25, maxMs: 250, jitter: 1 });
  message!.maxRetries = 0;
  assert.is(clientPolicyFromWire(wire).routes[0]?.retry, null);
});

test("the codes of a gRPC rule's retry are read, whatever its other conditions", () => {
  const http = clientPolicyToWire({ ...POLICY, protocol: "http" }, 10_000);
  assert.ok(http.protocol?.kind.case === "http1");
  const { backends } = http.protocol.kind.value.routes[0]!.rules[0]!;
  const policy = create(OutboundPolicySchema, {
    metadata: http.metadata!,
    protocol: {
      kind: {
        case: "grpc",
        value: {
          routes: [{
            metadata: { kind: { case: "default", value: "r" } },
            rules: [{
              retry: {
                maxRetries: 2,
                conditions: { cancelled: true, deadineExceeded: true, unavailable: true },
              },
            }],
          }],
        },
      },
    },
  });
  assert.ok(policy.protocol?.kind.case === "grpc");
  // The kinds of backend are the same but in name.
  policy.protocol.kind.value.routes[0]!.rules[0]!.backends = backends as never;
  const { retry } = clientPolicyFromWire(policy).routes[0]!;
  assert.equal(retry?.grpc, ["cancelled", "deadline-exceeded", "unavailable"]);
  assert.equal([retry?.statuses, retry?.maxRetries], [[], 2]);
});

test("accrual by success rate comes back from the wire", () => {
  const successRate = { threshold: 0.75, windowMs: 20_000, minRequests: 10 };
  for (const maxFailures of [7, Infinity]) {
    const accrual = { ...POLICY.accrual!, maxFailures, successRate };
    const wire = clientPolicyToWire({ ...POLICY, accrual }, 10_000);
    assert.equal(clientPolicyFromWire(wire).accrual, accrual);
  }
});

test("a profile with a filter chain that cannot be read is refused as a whole", () => {
  const wire = profileToWire(PROFILE);
  wire.routes[0]!.filterChain!.filters[0]!.module = undefined;
  // Also when the route's condition would be left out anyway.
  wire.routes[0]!.condition = undefined;
  assert.throws(() => profileFromWire(wire, () => {}), /routes\[0\]\.filter_chain\.filters\[0\]/);
});

const POLICY: ClientPolicy = {
  origin: { group: "core", kind: "Service", namespace: "shop", name: "web", port: 8080 },
  protocol: "detect",
  routes: [{
    name: "http",
    match: MATCH_ALL,
    responseClasses: [],
    labels: {},
    retry: null,
    timeoutMs: 0,
    filters: [FILTER],
  }],
  destination: "web.shop.svc.cluster.local:8080",
  forward: null,
  defaultRttMs: 30,
  decayMs: 10_000,
  accrual: { maxFailures: 7, minBackoffMs: 1000, maxBackoffMs: 60_000, jitter: 0.5 },
};

const outbound = (policy: ClientPolicy) =>
  fromBinary(
    OutboundPolicySchema,
    toBinary(OutboundPolicySchema, clientPolicyToWire(policy, 10_000)),
  );

test("a client policy comes back from the wire as it was", () => {
  const all: ClientPolicy[] = [
    POLICY,
    {
      ...POLICY,
      protocol: "http",
      routes: [{ ...POLICY.routes[0]!, limits: { requestMs: 250, responseMs: 0, idleMs: 9000 } }],
    },
    { ...POLICY, protocol: "opaque", routes: [], accrual: null },
    {
      ...POLICY,
      origin: defaultOrigin("egress-fallback"),
      destination: "",
      forward: {
        addr: { ip: "10.9.9.9", port: 443 },
        weight: 10000,
        labels: {},
        identity: null,
        transportPort: 0,
        hint: "none",
      },
    },
  ];
  for (const policy of all) {
    // The backend is called as the policy is.
    const named = policy.origin.kind !== "default" && policy.destination !== "";
    const { bytes, ...read } = clientPolicyFromWire(outbound(policy));
    assert.equal(read, named ? { ...policy, backend: policy.origin } : policy);
    const isDefault = policy.origin.kind === "default";
    const name = isDefault ? policy.origin.name : "opaq";
    assert.is(bytes?.name, policy.protocol === "detect" ? name : undefined);
  }
});

test("a client policy carries what proxies of the reference require", () => {
  const wire = outbound(POLICY);
  assert.is(wire.protocol?.kind.case, "detect");
  if (wire.protocol?.kind.case !== "detect") return;
  const { opaque, http1, http2, timeout } = wire.protocol.kind.value;
  assert.is(timeout?.seconds, 10n);
  assert.is(opaque?.routes[0]?.rules.length, 1);
  assert.is(http2?.routes.length, 1);
  const rule = http1?.routes[0]?.rules[0];
  assert.is(rule?.filterChain?.filters[0]?.name, "headers");
  assert.is(rule?.backends?.kind.case, "firstAvailable");
  if (rule?.backends?.kind.case !== "firstAvailable") return;
  const backend = rule.backends.kind.value.backends[0]?.backend;
  assert.is(backend?.queue?.failfastTimeout?.seconds, 3n);
  assert.is(backend?.metadata?.kind.case, "resource");
});

test("a policy of HTTP/2 or gRPC says that its endpoints speak nothing else", () => {
  const policy = { ...POLICY, protocol: "http" as const };
  assert.is(clientPolicyFromWire(clientPolicyToWire(policy, 10_000)).http2Only, undefined);
  assert.is(clientPolicyFromWire(clientPolicyToWire(policy, 10_000, true)).http2Only, true);
  const grpc = create(OutboundPolicySchema, {
    metadata: { kind: { case: "default", value: "grpc" } },
    protocol: { kind: { case: "grpc", value: {} } },
  });
  assert.is(clientPolicyFromWire(grpc).http2Only, true);
});

test("routes of a policy come in order of precedence, one for each match", () => {
  const wire = outbound(POLICY);
  if (wire.protocol?.kind.case !== "detect") return assert.unreachable();
  const http1 = wire.protocol.kind.value.http1!;
  const template = http1.routes[0]!;
  const named = (name: string, matches: object[], hosts: object[] = []) =>
    create(HttpRouteSchema, {
      metadata: { kind: { case: "default", value: name } },
      hosts: hosts.map((h) => create(HostMatchSchema, h)),
      rules: [{
        ...template.rules[0],
        matches: matches.map((m) => create(HttpRouteMatchSchema, m)),
        filters: [],
      } as object],
    });
  const path = (kind: "exact" | "prefix" | "regex", value: string) => ({
    path: { kind: { case: kind, value } },
  });
  http1.routes = [
    named("all", [path("prefix", "/")]),
    named("long", [path("prefix", "/api/v1"), path("prefix", "/a")]),
    named("header", [{
      ...path("prefix", "/a"),
      headers: [{ name: "X-A", value: { case: "exact", value: new Uint8Array([0xe9]) } }],
    }]),
    named("exact", [path("exact", "/a")]),
    named("host", [path("prefix", "/")], [{ match: { case: "exact", value: "web.shop" } }]),
    named("suffix", [path("prefix", "/")], [{
      match: { case: "suffix", value: { reverseLabels: ["shop"] } },
    }]),
  ];
  const { routes } = clientPolicyFromWire(wire);
  assert.equal(routes.map((r) => r.name), [
    "host",
    "suffix",
    "exact",
    "long",
    "header",
    "long",
    "all",
  ]);
  const first = (path: string, headers: Record<string, string> = {}) =>
    routes.find((r) => matches(r.match, { method: "GET", path, header: (n) => headers[n] ?? null }))
      ?.name;
  assert.is(first("/a?q=1"), "exact");
  assert.is(first("/a/b"), "long");
  assert.is(first("/a/b", { "x-a": "\xe9" }), "header");
  assert.is(first("/foobar"), "all");
  assert.is(first("/a", { host: "WEB.shop:8080" }), "host");
  assert.is(first("/a", { host: "x.web.shop" }), "suffix");
  assert.is(first("/a", { host: "shop" }), "exact");
});

test("headers and query parameters of a match come back from the wire, and decide", () => {
  const match = {
    kind: "all" as const,
    of: [
      { kind: "path-prefix" as const, prefix: "/a" },
      { kind: "header" as const, name: "x-a", exact: "\xe9", regex: null },
      { kind: "query" as const, name: "q", exact: "a b", regex: null },
      { kind: "query" as const, name: "n", exact: null, regex: compileRegex("[0-9]+") },
    ],
  };
  const [read] = clientPolicyFromWire(
    outbound({ ...POLICY, routes: [{ ...POLICY.routes[0]!, match }] }),
  ).routes;
  assert.equal(read?.match, match);
  const holds = (path: string, header = "\xe9") =>
    matches(read!.match, { method: "GET", path, header: () => header });
  assert.ok(holds("/a?q=a+b&n=12"));
  assert.ok(holds("/a/b?x=1&n=12&q=a%20b&q=c"));
  for (const no of ["/a", "/a?q=a+b", "/a?q=c&q=a+b&n=12", "/a?q=a+b&n=12x", "/b?q=a+b&n=12"]) {
    assert.not(holds(no), no);
  }
  assert.not(holds("/a?q=a+b&n=12", "e"));
});

test("a client policy that would be carried out wrongly is refused by field", () => {
  const cases: [string, (p: ReturnType<typeof outbound>) => void][] = [
    ["metadata", (p) => p.metadata = undefined],
    ["protocol", (p) => p.protocol = undefined],
    ["metadata.resource.namespace", (p) => {
      if (p.metadata?.kind.case === "resource") p.metadata.kind.value.namespace = "";
    }],
    ["protocol.detect.timeout", (p) => {
      if (p.protocol?.kind.case === "detect") p.protocol.kind.value.timeout = undefined;
    }],
    ["protocol.detect.http1.routes[0].rules[0].backends", (p) => {
      if (p.protocol?.kind.case === "detect") {
        p.protocol.kind.value.http1!.routes[0]!.rules[0]!.backends = undefined;
      }
    }],
    ["protocol.detect.http1.routes[0].rules[0].filters[0]", (p) => {
      if (p.protocol?.kind.case === "detect") {
        p.protocol.kind.value.http1!.routes[0]!.rules[0]!.filters = [{
          $typeName: "io.linkerd.proxy.outbound.HttpRoute.Filter",
          kind: { case: undefined },
        }];
      }
    }],
  ];
  for (const [name, spoil] of cases) {
    const wire = outbound(POLICY);
    spoil(wire);
    try {
      clientPolicyFromWire(wire);
      assert.unreachable(name);
    } catch (e) {
      assert.is((e as WireError).field, name);
    }
  }
});

test.run();
