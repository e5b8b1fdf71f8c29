import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { clientPolicyFromWire, clientPolicyToWire } from "../../src/api/client-policy.ts";
import { type OutboundPolicy, OutboundPolicySchema } from "../../src/api/gen/outbound_pb.ts";
import type { Metadata } from "../../src/api/gen/meta_pb.ts";
import { MATCH_ALL } from "../../src/api/http-match.ts";
import { originFromWire } from "../../src/api/origin.ts";
import type { ClientPolicy } from "../../src/model/profile.ts";
import type { RequestMatch } from "../../src/model/route.ts";
import type { AttachedBackend, AttachedRoute } from "../../src/model/attached-route.ts";

const NETWORK = {
  group: "policy.linkerd.io",
  kind: "EgressNetwork",
  namespace: "shop",
  name: "internet",
  port: 443,
};
const ADDR = { ip: "192.0.2.7", port: 443 };

function policy(egress: "Allow" | "Deny", more: Partial<ClientPolicy> = {}): ClientPolicy {
  return {
    origin: NETWORK,
    protocol: "detect",
    egress,
    routes: [{
      name: egress === "Allow" ? "http-egress-allow" : "http-egress-deny",
      match: MATCH_ALL,
      responseClasses: [],
      labels: {},
      retry: null,
      timeoutMs: 0,
      filters: [],
    }],
    destination: "",
    forward: {
      addr: ADDR,
      weight: 10_000,
      labels: {},
      identity: null,
      transportPort: 0,
      hint: "none",
    },
    defaultRttMs: 30,
    decayMs: 10_000,
    accrual: null,
    ...more,
  };
}

function wire(of: ClientPolicy): OutboundPolicy {
  const bytes = toBinary(OutboundPolicySchema, clientPolicyToWire(of, 10_000));
  return fromBinary(OutboundPolicySchema, bytes);
}

function detect(of: ClientPolicy) {
  const { kind } = wire(of).protocol ?? { kind: { case: undefined } };
  if (kind.case !== "detect") return assert.unreachable(`is ${kind.case}`) as never;
  return kind.value;
}
const names = (routes: readonly { readonly metadata?: Metadata | undefined }[] = []) =>
  routes.map(({ metadata }) => originFromWire(metadata, "metadata").name);

/** A route of an object that sends its requests to these. */
function attached(name: string, backends: readonly AttachedBackend[]): AttachedRoute<RequestMatch> {
  return {
    origin: { ...NETWORK, kind: "HTTPRoute", name },
    hosts: ["api.example.com"],
    rules: [{ matches: [], filters: [], backends, retry: null, limits: null }],
    chain: [],
  };
}

test("an egress network's policy ends in the reference's routes for requests and for bytes", () => {
  const deny = detect(policy("Deny"));
  assert.equal(names(deny.http1?.routes), ["http-egress-deny"]);
  assert.equal(names(deny.http2?.routes), ["http-egress-deny"]);
  assert.equal(names(deny.opaque?.routes), ["tcp-egress-deny"]);
  const [filter] = deny.http1?.routes[0]?.rules[0]?.filters ?? [];
  assert.is(filter?.kind.case, "failureInjector");
  if (filter?.kind.case !== "failureInjector") return;
  const { status, message, ratio } = filter.kind.value;
  assert.equal([status, message, ratio], [403, "traffic not allowed", undefined]);
  assert.equal(deny.opaque?.routes[0]?.rules[0]?.filters.map((f) => f.kind.case), ["forbidden"]);

  const allow = detect(policy("Allow"));
  assert.equal(names(allow.http1?.routes), ["http-egress-allow"]);
  assert.equal(names(allow.opaque?.routes), ["tcp-egress-allow"]);
  assert.equal(allow.http1?.routes[0]?.rules[0]?.filters, []);
  assert.equal(allow.opaque?.routes[0]?.rules[0]?.filters, []);
  const kind = allow.opaque?.routes[0]?.rules[0]?.backends?.kind;
  assert.is(kind?.case, "firstAvailable");
  if (kind?.case !== "firstAvailable") return;
  assert.is(kind.value.backends[0]?.backend?.kind.case, "forward");
  assert.equal(wire(policy("Allow")).metadata?.kind.case, "resource");
});

test("a proxy reads it: requests are answered with 403, bytes are refused, allowed ones go there", () => {
  const deny = clientPolicyFromWire(wire(policy("Deny")));
  assert.equal(deny.origin, NETWORK);
  assert.is(deny.bytes?.refuses, "forbidden");
  assert.equal(deny.routes.map((r) => r.actions), [[{
    kind: "fail",
    status: 403,
    grpcStatus: null,
    message: "traffic not allowed",
    ratio: 1,
  }]]);
  const allow = clientPolicyFromWire(wire(policy("Allow")));
  assert.equal([allow.bytes?.name, allow.bytes?.refuses], ["tcp-egress-allow", undefined]);
  assert.equal(allow.forward?.addr, ADDR);
  assert.equal(allow.routes.map((r) => [r.name, r.actions]), [["http-egress-allow", undefined]]);
});

test("opaque ports have the route of bytes only", () => {
  const opaque = policy("Deny", { protocol: "opaque", routes: [] });
  const { kind } = wire(opaque).protocol!;
  assert.is(kind.case, "opaque");
  const read = clientPolicyFromWire(wire(opaque));
  assert.equal(read.routes.map((r) => [r.name, r.refuses]), [["tcp-egress-deny", "forbidden"]]);
  assert.equal(
    clientPolicyFromWire(wire({ ...opaque, egress: "Allow" })).forward?.addr,
    ADDR,
  );
});

test("routes of objects come first, and what none of them names is still refused", () => {
  const parent: AttachedBackend = {
    weight: 1,
    origin: NETWORK,
    to: { kind: "parent" },
    filters: [],
  };
  const to = attached("api", [parent]);
  const of = policy("Deny", { attached: { kind: "http", routes: [to] } });
  assert.equal(names(detect(of).http1?.routes), ["api", "http-egress-deny"]);
  const read = clientPolicyFromWire(wire(of));
  assert.equal(read.routes.map((r) => [r.name, r.split, r.actions?.length ?? 0]), [
    ["api", undefined, 0],
    ["http-egress-deny", undefined, 1],
  ]);
  assert.equal(read.forward?.addr, ADDR, "all lead to the one address");

  const { kind } = wire(policy("Deny", {
    attached: {
      kind: "grpc",
      routes: [{
        ...attached("calls", [parent]),
        rules: [{ matches: [], filters: [], backends: [], retry: null, limits: null }],
      }],
    },
  })).protocol!;
  assert.is(kind.case, "grpc");
  if (kind.case !== "grpc") return;
  assert.equal(names(kind.value.routes), ["calls", "grpc-egress-deny"]);
  const [filter] = kind.value.routes[1]?.rules[0]?.filters ?? [];
  assert.is(filter?.kind.case === "failureInjector" && filter.kind.value.code, 7);
});

test("a route may lead to a Service where the rest goes to the address itself", () => {
  const service: AttachedBackend = {
    weight: 1,
    origin: { group: "core", kind: "Service", namespace: "shop", name: "gateway", port: 80 },
    to: { kind: "balancer", destination: "gateway.shop.svc.cluster.local:80", hash: null },
    filters: [],
  };
  const read = clientPolicyFromWire(wire(policy("Allow", {
    attached: { kind: "http", routes: [attached("api", [service])] },
  })));
  assert.equal(
    read.routes.map((r) =>
      r.split?.backends.map((b) => [b.authority, b.forward?.addr, b.origin?.name])
    ),
    [
      [["gateway.shop.svc.cluster.local:80", undefined, "gateway"]],
      [["192.0.2.7:443", ADDR, "internet"]],
    ],
  );
});

test("a policy that leads nowhere refuses bytes", () => {
  const { egress: _, ...nowhere } = policy("Deny", {
    protocol: "opaque",
    routes: [],
    forward: null,
    origin: { ...NETWORK, group: "core", kind: "Service" },
  });
  const { destination, forward, routes } = clientPolicyFromWire(wire(nowhere));
  assert.equal([destination, forward], ["", null]);
  assert.equal(routes.map((r) => [r.name, r.refuses]), [["undefined-port", "forbidden"]]);
});

test.run();
