import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code } from "@connectrpc/connect";
import { clientPolicyFromWire } from "../../../src/api/client-policy.ts";
import { serverPolicyFromWire } from "../../../src/api/server-policy.ts";
import type { FilterTarget } from "../../../src/control/mesh.ts";
import { authorize, type ServerRoute } from "../../../src/model/policy.ts";
import { apply, filterRef, meshOf, pod, resource, SERVICE } from "../support/mesh-fixture.ts";
import { policyClient as clientOf, WORKLOAD } from "../support/policy-client.ts";

const SERVER = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: web-http, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z" }
spec:
  podSelector: { matchLabels: { app: web } }
  port: http
  proxyProtocol: HTTP/1
`;
const POLICY = `
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: { name: web-from-load, namespace: shop }
spec:
  targetRef: { group: policy.linkerd.io, kind: Server, name: web-http }
  requiredAuthenticationRefs:
    - { group: policy.linkerd.io, kind: MeshTLSAuthentication, name: load }
    - { group: policy.linkerd.io, kind: NetworkAuthentication, name: inside, namespace: other }
`;
const LOAD = (spec: string) => `
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: { name: load, namespace: shop }
spec: ${spec}
`;
const INSIDE = `
apiVersion: policy.linkerd.io/v1alpha1
kind: NetworkAuthentication
metadata: { name: inside, namespace: other }
spec: { networks: [{ cidr: 10.0.0.0/8, except: [10.9.0.0/16] }] }
`;
const identity = (sa: string, ns = "shop") =>
  `${sa}.${ns}.serviceaccount.identity.linkerd.cluster.local`;

test("a port without a Server has the default policy of pod, namespace or mesh", async () => {
  const mesh = meshOf(pod("a", "10.1.0.1"));
  const { port } = clientOf(mesh);
  const policy = await port(8080);
  assert.is(policy.origin.kind, "default");
  assert.is(policy.origin.name, "all-unauthenticated");
  assert.is(policy.protocol, "detect");
  assert.is(policy.detectMs, 10_000);
  assert.equal(policy.routes.map((r) => r.name), ["default"]);
  assert.ok(authorize(policy, { ip: "192.0.2.1", meshed: false, identity: null }));
  assert.is((await port(3306)).protocol, "opaque");

  apply(
    mesh.cluster,
    `
apiVersion: v1
kind: Namespace
metadata: { name: shop, annotations: { config.linkerd.io/default-inbound-policy: all-authenticated } }
`,
  );
  const authenticated = await port(8080);
  assert.not(authorize(authenticated, { ip: "10.0.0.1", meshed: true, identity: null }));
  assert.ok(authorize(authenticated, { ip: "192.0.2.1", meshed: true, identity: "x.y" }));

  const annotated = async (name: string) => {
    apply(mesh.cluster, pod("a", "10.1.0.1", `config.linkerd.io/default-inbound-policy: ${name}`));
    return await port(8080);
  };
  assert.equal((await annotated("deny")).authorizations, []);
  const cluster = await annotated("cluster-unauthenticated");
  assert.ok(authorize(cluster, { ip: "10.200.0.1", meshed: false, identity: null }));
  assert.not(authorize(cluster, { ip: "192.0.2.1", meshed: false, identity: null }));
  assert.is((await annotated("nonsense")).origin.name, "all-authenticated");
});

test("the kubelet's probes are admitted by their path, whatever the policy of the port", async () => {
  const mesh = meshOf(`
apiVersion: v1
kind: Pod
metadata:
  namespace: shop
  name: a
  annotations: { config.linkerd.io/default-inbound-policy: deny }
spec:
  containers:
    - name: app
      ports: [{ name: http, containerPort: 8080 }]
      livenessProbe: { httpGet: { path: "/live?deep=1", port: http } }
      readinessProbe: { httpGet: { path: /ready, port: 8080 } }
      startupProbe: { httpGet: { path: /tls, port: 8443, scheme: HTTPS } }
status: { podIP: 10.1.0.1, phase: Running }
`);
  const { port } = clientOf(mesh);
  const policy = await port(8080);
  const { routes } = policy;
  assert.equal(policy.authorizations, []);
  assert.equal(routes.map((r) => r.name), ["probe", "probe", "default"]);
  const kubelet = { ip: "10.0.0.1", meshed: false, identity: null };
  const admits = (r: ServerRoute | undefined) =>
    authorize({ ...policy, authorizations: r?.authorizations ?? [] }, kubelet) !== null;
  assert.equal(routes.map(admits), [true, true, false]);
  const paths = routes.map(({ match }) =>
    match.kind === "all" ? match.of.find((m) => m.kind === "path-exact")?.path : undefined
  );
  assert.equal(paths, ["/live", "/ready", undefined]);
  assert.equal(
    (await port(8443)).routes.map((r) => r.name),
    ["default"],
    "TLS is the application's",
  );
});

test("WatchPort follows a Server and its authorizations", async () => {
  const mesh = meshOf(pod("a", "10.1.0.1"));
  const stream = clientOf(mesh).watchPort(8080);
  const next = async () => serverPolicyFromWire(await stream.next());
  const load = { ip: "10.1.0.7", meshed: true, identity: identity("load") };
  assert.is((await next()).origin.name, "all-unauthenticated");

  apply(mesh.cluster, SERVER);
  const closed = await next();
  assert.equal([closed.origin.kind, closed.origin.name], ["server", "web-http"]);
  assert.is(closed.protocol, "http1");
  assert.not(authorize(closed, load), "a Server denies what nothing permits");

  // Its references are not all there: it permits nobody.
  apply(
    mesh.cluster,
    [POLICY, LOAD("{ identityRefs: [{ kind: ServiceAccount, name: load }] }")].join("---"),
  );
  assert.ok(await stream.quiet());

  // In another namespace, and still followed.
  apply(mesh.cluster, INSIDE);
  const open = await next();
  assert.is(authorize(open, load)?.origin.name, "web-from-load");
  assert.not(authorize(open, { ...load, ip: "10.9.0.1" }), "the exception");
  assert.not(authorize(open, { ...load, identity: identity("web") }));
  assert.not(authorize(open, { ...load, meshed: false }));

  apply(
    mesh.cluster,
    LOAD('{ identities: ["*.shop.serviceaccount.identity.linkerd.cluster.local"] }'),
  );
  assert.ok(authorize(await next(), { ...load, identity: identity("any") }));
  apply(mesh.cluster, LOAD("{ identityRefs: [{ kind: Namespace, name: other }] }"));
  const other = await next();
  assert.ok(authorize(other, { ...load, identity: identity("any", "other") }));
  assert.not(authorize(other, load));

  mesh.cluster.remove(resource(SERVER));
  assert.is((await next()).origin.name, "all-unauthenticated");
  mesh.cluster.remove(resource(pod("a", "10.1.0.1")));
  assert.is(await stream.status(), Code.NotFound);
});

test("of several Servers the oldest counts, and a Server's access policy adds to it", async () => {
  const younger = SERVER.replace("web-http", "a-younger").replace("2026-01-01", "2026-02-01")
    .replace("HTTP/1", "opaque").replace("port: http", "port: 8080");
  const mesh = meshOf([pod("a", "10.1.0.1"), SERVER, younger].join("---"));
  const { port } = clientOf(mesh);
  assert.is((await port(8080)).origin.name, "web-http");
  apply(
    mesh.cluster,
    SERVER.replace("proxyProtocol", "accessPolicy: all-authenticated\n  proxyProtocol"),
  );
  assert.ok(authorize(await port(8080), { ip: "1.2.3.4", meshed: true, identity: "a.b" }));
  mesh.cluster.remove(resource(SERVER));
  const opaque = await port(8080);
  assert.equal([opaque.origin.name, opaque.protocol, opaque.routes.length], [
    "a-younger",
    "opaque",
    0,
  ]);
});

test("an AuthorizationPolicy for a namespace holds for every Server in it", async () => {
  const mesh = meshOf([
    pod("a", "10.1.0.1"),
    SERVER,
    POLICY.replace(
      "group: policy.linkerd.io, kind: Server, name: web-http",
      "group: core, kind: Namespace, name: shop",
    )
      .replace(
        / {2}required[\s\S]*/,
        "  requiredAuthenticationRefs: [{ kind: ServiceAccount, name: load }]\n",
      ),
  ].join("---"));
  const policy = await clientOf(mesh).port(8080);
  assert.ok(authorize(policy, { ip: "1.2.3.4", meshed: true, identity: identity("load") }));
  assert.not(authorize(policy, { ip: "1.2.3.4", meshed: true, identity: identity("web") }));
});

test("a Server carries its filters", async () => {
  const filters = {
    refs: (t: FilterTarget) => t.kind === "Server" && t.name === "web-http" ? [filterRef("f")] : [],
  };
  const mesh = meshOf([pod("a", "10.1.0.1"), SERVER].join("---"), {}, filters);
  assert.equal((await clientOf(mesh).port(8080)).filters.map((f) => f.name), ["f"]);
});

test("a Server has the limits of its oldest HTTPLocalRateLimitPolicy", async () => {
  const limit = (name: string, year: number, spec: string) => `
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: { name: ${name}, namespace: shop, creationTimestamp: "${year}-01-01T00:00:00Z" }
spec: { targetRef: { group: policy.linkerd.io, kind: Server, name: web-http }, ${spec} }
`;
  const mesh = meshOf([pod("a", "10.1.0.1"), SERVER].join("---\n"));
  const { port } = clientOf(mesh);
  assert.is((await port(8080)).rateLimit ?? null, null);
  apply(
    mesh.cluster,
    limit("new", 2026, "total: { requestsPerSecond: 5 }") + "---\n" + limit(
      "old",
      2025,
      "total: { requestsPerSecond: 100 }, identity: { requestsPerSecond: 20 }, overrides: " +
        "[{ requestsPerSecond: 50, clientRefs: [{ kind: ServiceAccount, name: load }] }]",
    ),
  );
  assert.equal((await port(8080)).rateLimit, {
    total: 100,
    identity: 20,
    overrides: [{
      limit: 50,
      identities: ["load.shop.serviceaccount.identity.linkerd.cluster.local"],
    }],
    origin: {
      group: "policy.linkerd.io",
      kind: "HTTPLocalRateLimitPolicy",
      namespace: "shop",
      name: "old",
      port: 0,
    },
  });
  for (
    const spec of [
      "total: { requestsPerSecond: 0 }",
      "total: { requestsPerSecond: 5 }, identity: { requestsPerSecond: 6 }",
      "overrides: [{ requestsPerSecond: 5, clientRefs: [] }]",
    ]
  ) {
    assert.throws(
      () => apply(mesh.cluster, limit("old", 2025, spec)),
      /requestsPerSecond|identity|clientRefs/,
      spec,
    );
  }
  assert.is((await port(8080)).rateLimit?.total, 100, "the last good one stays");
});

test("the inbound API refuses what it cannot answer", async () => {
  const { portCode, watchPort } = clientOf(meshOf(pod("a", "10.1.0.1")));
  assert.is(await portCode("shop:a", 80), null, "the old form");
  assert.is(await portCode("nonsense", 80), Code.InvalidArgument);
  assert.is(await portCode('{"ns":"shop"}', 80), Code.InvalidArgument);
  assert.is(await portCode(WORKLOAD, 0), Code.InvalidArgument);
  assert.is(await portCode(WORKLOAD, 65536), Code.InvalidArgument);
  assert.is(await portCode("shop:nobody", 80), Code.NotFound);
  assert.is(await watchPort(0).status(), Code.InvalidArgument);
});

test("a Service's policy balances over it by default, with the filters for all requests", async () => {
  const filters = {
    refs: (_: FilterTarget, route: string | null) => route === null ? [filterRef("f")] : [],
  };
  const { to, wire } = clientOf(meshOf(SERVICE, {}, filters));
  const policy = await to("10.0.0.1:80");
  assert.equal(policy.origin, {
    group: "core",
    kind: "Service",
    namespace: "shop",
    name: "web",
    port: 80,
  });
  assert.is(policy.protocol, "detect");
  assert.is(policy.destination, "web.shop.svc.cluster.local:80");
  assert.equal(policy.routes.map((r) => [r.name, r.filters.map((f) => f.name)]), [["http", ["f"]]]);
  assert.is(policy.defaultRttMs, 30);
  assert.equal(await to("web.shop.svc.cluster.local:80"), policy);
  assert.equal(await to("web.shop.svc"), policy);
  assert.is(
    (await to("nobody.shop.svc.cluster.local:81")).destination,
    "nobody.shop.svc.cluster.local:81",
  );
  assert.is((await to("10.0.0.1:5432")).protocol, "opaque", "a port of the default list");
  const raw = await wire("10.0.0.1:80");
  assert.is(raw.protocol?.kind.case, "detect");
});

test("appProtocol says what a port speaks, before lists of ports", async () => {
  const mesh = meshOf(SERVICE);
  const { to, wire } = clientOf(mesh);
  const speaks = (appProtocol: string) =>
    apply(mesh.cluster, SERVICE.replace("port: 5432", `port: 5432, appProtocol: ${appProtocol}`));
  speaks("http");
  assert.is((await to("10.0.0.1:5432")).protocol, "http");
  speaks("kubernetes.io/h2c");
  assert.is((await wire("10.0.0.1:5432")).protocol?.kind.case, "http2");
  speaks("linkerd.io/tcp");
  assert.is((await to("10.0.0.1:5432")).protocol, "opaque");
  apply(
    mesh.cluster,
    SERVICE.replace(
      "namespace: shop",
      'namespace: shop, annotations: { config.linkerd.io/opaque-ports: "http" }',
    ),
  );
  assert.is((await to("10.0.0.1:80")).protocol, "opaque", "by the port's name");
  assert.is((await to("10.0.0.1:5432")).protocol, "detect", "the annotation replaces the list");
});

test("addresses that are no Service's are forwarded, refused or left to the profile", async () => {
  const { to, toCode, wire } = clientOf(meshOf([SERVICE, pod("a", "192.0.2.7")].join("---")));
  const outside = await to("192.0.2.1:443");
  assert.is(outside.origin.name, "egress-fallback");
  assert.equal(outside.forward?.addr, { ip: "192.0.2.1", port: 443 });
  assert.is(await toCode("10.1.2.3:80"), Code.NotFound, "inside of the cluster");
  assert.is(await toCode("192.0.2.7:80"), Code.NotFound, "a pod outside of the cluster's networks");
  const undefinedPort = await to("10.0.0.1:81");
  assert.equal([undefinedPort.protocol, undefinedPort.destination, undefinedPort.forward], [
    "opaque",
    "",
    null,
  ]);
  assert.equal([undefinedPort.origin.kind, undefinedPort.origin.port], ["Service", 81]);
  assert.equal(undefinedPort.routes.map((r) => [r.name, r.refuses]), [
    ["undefined-port", "forbidden"],
  ]);
  const raw = (await wire("10.0.0.1:81")).protocol?.kind;
  const rule = raw?.case === "opaque" ? raw.value.routes[0]?.rules[0] : undefined;
  assert.is(rule?.filters[0]?.kind.case, "forbidden");
});

test("the outbound API refuses what it cannot answer", async () => {
  const { toCode } = clientOf(meshOf(SERVICE));
  assert.is(await toCode("10.0.0.1:0"), Code.InvalidArgument);
  assert.is(await toCode("web.shop.pod.cluster.local:80"), Code.NotFound);
  assert.is(await toCode("example.org:80"), Code.NotFound);
  for (const bad of ["", ":80", "a b:80:90", "web.shop.svc:99999"]) {
    assert.is(await toCode(bad), Code.InvalidArgument, bad);
  }
  assert.is(await toCode("10.0.0.1:80", "nonsense"), Code.InvalidArgument);
});

test("a Watch whose address is no Service's any more ends in order", async () => {
  const mesh = meshOf(SERVICE);
  const stream = clientOf(mesh).watch("10.0.0.1:80");
  assert.is(clientPolicyFromWire(await stream.next()).protocol, "detect");
  apply(mesh.cluster, SERVICE.replace("port: 80,", "port: 80, appProtocol: http,"));
  assert.is(clientPolicyFromWire(await stream.next()).protocol, "http");
  mesh.cluster.remove(resource(SERVICE));
  assert.is(await stream.status(), null);
});

test.run();
