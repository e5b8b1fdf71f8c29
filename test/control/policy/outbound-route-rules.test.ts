// Which routes of objects clients of a Service get, in which order, and what changes them.

import { createClient, createRouterTransport } from "@connectrpc/connect";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { clientPolicyFromWire } from "../../../src/api/client-policy.ts";
import { OutboundPolicies } from "../../../src/api/gen/outbound_pb.ts";
import { Counters } from "../../../src/control/counters.ts";
import type { FilterTarget } from "../../../src/control/mesh.ts";
import { Reads } from "../../../src/control/join.ts";
import { clientPolicyOf } from "../../../src/control/policy/outbound.ts";
import { outboundService } from "../../../src/control/policy/policy-service.ts";
import { matches } from "../../../src/model/route.ts";
import { apply, filterRef, meshOf, resource } from "../support/mesh-fixture.ts";
import {
  BASE,
  clientOf,
  httpRoutes,
  json,
  names,
  route,
  service,
  WEB,
  type Wire,
} from "../support/routes.ts";

test("a route of the Service's namespace is for all clients, another's for its own", async () => {
  const mesh = meshOf([
    BASE,
    route("producer", "rules: [{ backendRefs: [{ name: v1, port: 80 }] }]", { created: 5 }),
    route("consumer", "rules: [{ backendRefs: [{ name: v2, port: 80 }] }]", { namespace: "team" }),
  ].join("---"));
  const client = clientOf(mesh);
  assert.equal(names(await client.get("shop")), ["producer"]);
  assert.equal(names(await client.get("elsewhere")), ["producer"]);
  const own = await client.get("team");
  assert.equal(names(own), ["consumer", "producer"]);
  // A backend without a namespace is of the Service's.
  const [first] =
    json(own).protocol.detect.http1.routes[0].rules[0].backends.randomAvailable.backends;
  assert.is(first.backend.backend.balancer.discovery.dst.path, "v2.shop.svc.cluster.local:80");
});

test("order: the oldest route first, then by name; proxies take the better match before it", async () => {
  const to = (match: string, name: string) =>
    `rules: [{ matches: [{ ${match} }], backendRefs: [{ name: ${name}, port: 80 }] }]`;
  const mesh = meshOf([
    BASE,
    route("b", to("path: { value: / }", "v1"), { created: 10 }),
    route("a", to("path: { value: / }", "v2"), { created: 10 }),
    route("linkerd", to("path: { value: /api }", "v2"), {
      ...{ created: 1, version: "policy.linkerd.io/v1beta3" },
    }),
    route("young", to("path: { value: /api }, headers: [{ name: x, value: y }]", "v1"), {
      created: 20,
    }),
  ].join("---"));
  const wire = await clientOf(mesh).get();
  assert.equal(names(wire), ["linkerd", "a", "b", "young"]);
  const { routes } = clientPolicyFromWire(wire);
  const taken = (path: string, header: string | null) =>
    routes.find((r) => matches(r.match, { method: "GET", path, header: () => header }))?.name;
  assert.is(taken("/api/x", "y"), "young");
  assert.is(taken("/api/x", null), "linkerd");
  assert.is(taken("/other", "y"), "a");
});

test("what a route says nothing of is the Service's: retries, time-outs, hash, accrual", async () => {
  const mesh = meshOf([
    service(
      "web",
      "10.0.0.1",
      "retry.linkerd.io/http: gateway-error, retry.linkerd.io/grpc: internal, timeout.linkerd.io/response: 7s, balancer.linkerd.io/failure-accrual: consecutive, balancer.tulle.dev/hash: source",
    ),
    route("own", "rules: [{ timeouts: { request: 1s } }]", {
      annotations: "retry.linkerd.io/limit: '2'",
    }),
    route("theirs", "rules: [{}]"),
  ].join("---"));
  const { http1 } = json(await clientOf(mesh).get()).protocol.detect;
  assert.ok(http1.failureAccrual.consecutiveFailures);
  const [own, theirs] = http1.routes.map((r: { rules: unknown[] }) => r.rules[0]);
  assert.equal(own.timeouts, { request: "1s" });
  assert.is(own.retry.maxRetries, 2);
  assert.equal(own.retry.conditions, {});
  assert.equal(theirs.timeouts, { response: "7s" });
  assert.equal(theirs.retry.conditions, { statusRanges: [{ start: 502, end: 504 }] });
  assert.ok(theirs.backends.firstAvailable.backends[0].backend.balancer.hash);
  mesh.cluster.remove(resource(route("own", "")));
  mesh.cluster.remove(resource(route("theirs", "")));
  apply(mesh.cluster, route("calls", "rules: [{}]", { kind: "GRPCRoute" }));
  const { grpc } = json(await clientOf(mesh).get()).protocol;
  assert.equal(grpc.routes[0].rules[0].retry.conditions, { internal: true });
});

test("updates and removals are one message each, and the default route comes back", async () => {
  const mesh = meshOf(BASE);
  const stream = clientOf(mesh).watch();
  assert.equal(names(await stream.next()), ["http"]);
  const to = (name: string) =>
    route("r", `rules: [{ backendRefs: [{ name: ${name}, port: 80 }] }]`);
  const path = (wire: Wire) =>
    json(wire).protocol.detect.http1.routes[0].rules[0].backends.randomAvailable.backends[0].backend
      .backend.balancer.discovery.dst.path;
  apply(mesh.cluster, to("v1"));
  assert.is(path(await stream.next()), "v1.shop.svc.cluster.local:80");
  apply(mesh.cluster, to("v2"));
  assert.is(path(await stream.next()), "v2.shop.svc.cluster.local:80");
  // A conflict: the same parent with a GRPCRoute.
  apply(mesh.cluster, route("calls", "rules: [{}]", { kind: "GRPCRoute" }));
  assert.is((await stream.next()).protocol?.kind.case, "grpc");
  mesh.cluster.remove(resource(route("calls", "", { kind: "GRPCRoute" })));
  assert.is(path(await stream.next()), "v2.shop.svc.cluster.local:80");
  // Attached to something else now.
  apply(mesh.cluster, route("r", "rules: [{}]", { parents: WEB.replace("name: web", "name: v1") }));
  assert.equal(names(await stream.next()), ["http"]);
  apply(mesh.cluster, to("v1"));
  assert.equal(names(await stream.next()), ["r"]);
  mesh.cluster.remove(resource(to("v1")));
  assert.equal(names(await stream.next()), ["http"]);
  await stream.end();
});

test("a consumer's route in a third namespace conflicts and is told, as with Linkerd", async () => {
  const mesh = meshOf([BASE, route("r", "rules: [{}]")].join("---"));
  const stream = clientOf(mesh).watch();
  assert.equal(names(await stream.next()), ["r"]);
  const third = route("calls", "rules: [{}]", { kind: "GRPCRoute", namespace: "third" });
  apply(mesh.cluster, third);
  assert.equal(names(await stream.next()), ["http"]);
  mesh.cluster.remove(resource(third));
  assert.equal(names(await stream.next()), ["r"]);
  await stream.end();
});

test("ports: a route without one is for all, and what a port speaks decides which routes count", async () => {
  const ports =
    "{ port: 80 }, { name: h1, port: 81, appProtocol: http }, { name: h2, port: 82, appProtocol: kubernetes.io/h2c }, { name: raw, port: 83, appProtocol: linkerd.io/opaque }";
  const every = WEB.replace(", port: 80", "");
  const mesh = meshOf([
    service("web", "10.0.0.1", "", ports),
    route("all", "rules: [{}]", { parents: every }),
    route("eighty", "rules: [{}]"),
  ].join("---"));
  const client = clientOf(mesh);
  assert.equal(names(await client.get()), ["all", "eighty"]);
  const kindAt = async (port: number) =>
    (await client.get("shop", "10.0.0.1", port)).protocol?.kind;
  const http = async (port: number) => {
    const kind = await kindAt(port);
    return kind?.case === "http1" || kind?.case === "http2" ? kind.value.routes.length : 0;
  };
  assert.is((await kindAt(81))?.case, "http1");
  assert.is((await kindAt(82))?.case, "http2");
  assert.is(await http(81), 1);
  assert.is(await http(82), 1);
  assert.is((await kindAt(83))?.case, "opaque");
  apply(mesh.cluster, route("calls", "rules: [{}]", { kind: "GRPCRoute", parents: every }));
  assert.is((await kindAt(80))?.case, "grpc");
  assert.is((await kindAt(82))?.case, "grpc");
  const h1 = await kindAt(81);
  assert.is(h1?.case === "http1" ? h1.value.routes[0]?.metadata?.kind.value : "", "http");
});

test("a policy is made again for changes in the namespaces that it is made of, and no others", () => {
  const mesh = meshOf([
    BASE,
    route("r", "rules: [{ backendRefs: [{ name: late, namespace: other, port: 80 }] }]"),
  ].join("---"));
  const readsOf = (ip: string) => {
    const reads = new Reads();
    clientPolicyOf(mesh, reads, { kind: "address", addr: { ip, port: 80 } }, "team");
    return reads.everything ? "everything" : [...reads.namespaces].sort().join(" ");
  };
  assert.is(readsOf("10.0.0.1"), "other shop team");
  assert.is(readsOf("10.0.0.99"), "everything", "nobody has the address yet");
});

test("a Service without an address of its own has no routes", async () => {
  const mesh = meshOf([service("web", "None"), route("r", "rules: [{}]")].join("---"));
  const transport = createRouterTransport((router) =>
    void router.service(OutboundPolicies, outboundService(mesh, new Counters()))
  );
  const by = () =>
    createClient(OutboundPolicies, transport).get({
      sourceWorkload: '{"ns":"shop","pod":"a"}',
      target: { case: "authority", value: "web.shop.svc.cluster.local:80" },
    });
  assert.equal(names(await by()), ["http"]);
  apply(mesh.cluster, service("web", "10.0.0.1"));
  assert.equal(names(await by()), ["r"]);
});

test("filters of a Service run on its routes too, those of a named route on that one", async () => {
  const refs = ({ kind, name }: FilterTarget, route: string | null) =>
    kind === "Service" && name === "web"
      ? [filterRef("all"), ...(route === "one" ? [filterRef("named")] : [])]
      : [];
  const mesh = meshOf(
    [BASE, route("one", "rules: [{}]"), route("two", "rules: [{}]")].join("---"),
    {},
    { refs },
  );
  const routes = httpRoutes(await clientOf(mesh).get());
  assert.equal(routes.map((r) => r.rules[0]?.filterChain?.filters.map((f) => f.name)), [
    ["all", "named"],
    ["all"],
  ]);
});

test.run();
