// HTTPRoutes and GRPCRoutes of a Server as its proxies get them: whom they admit, and what becomes of the
// default routes.

import { toJson } from "@bufbuild/protobuf";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ServerSchema } from "../../../src/api/gen/inbound_pb.ts";
import { serverPolicyFromWire } from "../../../src/api/server-policy.ts";
import { authorize } from "../../../src/model/policy.ts";
import { matches } from "../../../src/model/route.ts";
import { apply, meshOf, resource } from "../support/mesh-fixture.ts";
import { policyClient } from "../support/policy-client.ts";
import { route } from "../support/routes.ts";

const POD = `
apiVersion: v1
kind: Pod
metadata: { name: a, namespace: shop, labels: { app: web } }
spec:
  containers:
    - name: app
      ports: [{ name: http, containerPort: 8080 }]
      livenessProbe: { httpGet: { path: /live, port: http } }
status: { podIP: 10.1.0.1, phase: Running }
`;
const server = (protocol: string, more = "") => `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: web-http, namespace: shop }
spec: { podSelector: { matchLabels: { app: web } }, port: http, proxyProtocol: ${protocol}, ${more} }
`;
const PARENTS = "{ group: policy.linkerd.io, kind: Server, name: web-http }";
const POLICY = { version: "policy.linkerd.io/v1beta3", parents: PARENTS };
const GATEWAY = { parents: PARENTS };
const permit = (name: string, kind: string, group: string, target: string, account: string) => `
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  targetRef: { group: ${group}, kind: ${kind}, name: ${target} }
  requiredAuthenticationRefs: [{ kind: ServiceAccount, name: ${account} }]
`;
const identity = (sa: string) => `${sa}.shop.serviceaccount.identity.linkerd.cluster.local`;
// deno-lint-ignore no-explicit-any
type Json = any;

test("a Server with an HTTPRoute: the whole message", async () => {
  const mesh = meshOf([
    POD,
    server("HTTP/1"),
    route(
      "api",
      `hostnames: [web.example], rules: [{
        matches: [
          { path: { type: PathPrefix, value: /api }, method: GET },
          { path: { type: RegularExpression, value: '/v[0-9]+/.*' }, headers: [{ name: A, value: b }] },
        ],
        filters: [
          { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x, value: '1' }] } },
          { type: ResponseHeaderModifier, responseHeaderModifier: { remove: [server] } },
          { type: RequestRedirect, requestRedirect: { hostname: other.example } },
        ],
        backendRefs: [{ name: ignored, port: 1 }],
        timeouts: { request: 1s },
      }]`,
      POLICY,
    ),
    permit("reads", "HTTPRoute", "policy.linkerd.io", "api", "reader"),
    permit("admins", "Server", "policy.linkerd.io", "web-http", "admin"),
    permit("others", "HTTPRoute", "gateway.networking.k8s.io", "api", "other"),
  ].join("---"));
  const wire: Json = toJson(ServerSchema, await policyClient(mesh).portWire(8080));
  const authz = (name: string, account: string) => ({
    networks: 2,
    name,
    identity: identity(account),
  });
  const short = (a: Json) => ({
    networks: a.networks.length,
    name: a.metadata.resource.name,
    identity: a.authentication.meshTLS.identities.identities[0].name,
  });
  assert.equal(wire.authorizations.map(short), [authz("admins", "admin")]);
  const [only] = wire.protocol.http1.routes;
  assert.is(wire.protocol.http1.routes.length, 1);
  assert.equal(only.authorizations.map(short), [authz("reads", "reader")]);
  assert.equal({ ...only, authorizations: [] }, {
    metadata: { resource: { group: "policy.linkerd.io", kind: "HTTPRoute", name: "api" } },
    hosts: [{ exact: "web.example" }],
    authorizations: [],
    rules: [{
      matches: [
        { path: { prefix: "/api" }, method: { registered: "GET" } },
        { path: { regex: "/v[0-9]+/.*" }, headers: [{ name: "a", exact: btoa("b") }] },
      ],
      filters: [
        { requestHeaderModifier: { add: {}, set: { headers: [{ name: "x", value: btoa("1") }] } } },
        { redirect: { host: "other.example", status: 302 } },
      ],
    }],
  });
});

test("with a route the default route and those for probes are gone, without it they are back", async () => {
  const mesh = meshOf([POD, server("unknown", "accessPolicy: all-unauthenticated")].join("---"));
  const client = policyClient(mesh);
  const stream = client.watchPort(8080);
  const names = async () => serverPolicyFromWire(await stream.next()).routes.map((r) => r.name);
  assert.equal(await names(), ["probe", "default"]);
  const of = (name: string, path: string, created: number) =>
    route(name, `rules: [{ matches: [{ path: { type: Exact, value: ${path} } }] }]`, {
      ...GATEWAY,
      created,
    });
  apply(mesh.cluster, of("young", "/a", 20));
  assert.equal(await names(), ["young"]);
  apply(mesh.cluster, of("old", "/a", 10));
  assert.equal(await names(), ["old", "young"]);
  const policy = await client.port(8080);
  const taken = (path: string) =>
    policy.routes.find((r) => matches(r.match, { method: "GET", path, header: () => null }));
  assert.is(taken("/a")?.name, "old");
  assert.is(taken("/live"), undefined, "what no route names is not found");
  mesh.cluster.remove(resource(of("old", "/a", 10)));
  assert.equal(await names(), ["young"]);
  mesh.cluster.remove(resource(of("young", "/a", 10)));
  assert.equal(await names(), ["probe", "default"]);
  await stream.end();
});

test("who a route admits is admitted there beside those whom the Server admits", async () => {
  const mesh = meshOf([
    POD,
    server("HTTP/2"),
    route("api", "rules: [{ matches: [{ path: { value: /api } }] }]", POLICY),
    route("rest", "rules: [{}]", POLICY),
    permit("reads", "HTTPRoute", "policy.linkerd.io", "api", "reader"),
    permit("admins", "Server", "policy.linkerd.io", "web-http", "admin"),
  ].join("---"));
  const policy = await policyClient(mesh).port(8080);
  const admits = (route: string, account: string) => {
    const own = policy.routes.find((r) => r.name === route)?.authorizations ?? [];
    const authorizations = [...policy.authorizations, ...own];
    const client = { ip: "10.0.0.1", meshed: true, identity: identity(account) };
    return authorize({ ...policy, authorizations }, client)?.origin.name ?? null;
  };
  assert.is(admits("api", "reader"), "reads");
  assert.is(admits("rest", "reader"), null);
  assert.is(admits("api", "admin"), "admins");
  assert.is(admits("rest", "admin"), "admins");
});

test("a policy that refers to what does not exist admits nobody to its route", async () => {
  const mesh = meshOf([
    POD,
    server("HTTP/1"),
    route("api", "rules: [{}]", POLICY),
    `
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: { name: lost, namespace: shop }
spec:
  targetRef: { group: policy.linkerd.io, kind: HTTPRoute, name: api }
  requiredAuthenticationRefs: [{ group: policy.linkerd.io, kind: MeshTLSAuthentication, name: team, namespace: other }]
`,
  ].join("---"));
  const stream = policyClient(mesh).watchPort(8080);
  const admitted = async () =>
    serverPolicyFromWire(await stream.next()).routes[0]?.authorizations?.length ?? 0;
  assert.is(await admitted(), 0);
  apply(
    mesh.cluster,
    `
apiVersion: policy.linkerd.io/v1alpha1
kind: MeshTLSAuthentication
metadata: { name: team, namespace: other }
spec: { identities: ["*"] }
`,
  );
  assert.is(await admitted(), 1);
  await stream.end();
});

test("a Server of gRPC has GRPCRoutes, any other HTTPRoutes; a GRPCRoute displaces those", async () => {
  const mesh = meshOf([
    POD,
    server("gRPC"),
    route("http", "rules: [{}]", POLICY),
    route(
      "calls",
      `rules: [{
        matches: [{ method: { service: shop.Cart } }],
        filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [x] } }],
      }]`,
      { ...GATEWAY, kind: "GRPCRoute" },
    ),
    permit("carts", "GRPCRoute", "gateway.networking.k8s.io", "calls", "cart"),
  ].join("---"));
  const client = policyClient(mesh);
  const wire: Json = toJson(ServerSchema, await client.portWire(8080));
  const [only] = wire.protocol.grpc.routes;
  assert.equal(only.metadata, {
    resource: { group: "gateway.networking.k8s.io", kind: "GRPCRoute", name: "calls" },
  });
  assert.equal(only.rules, [{
    matches: [{ rpc: { service: "shop.Cart" } }],
    filters: [{ requestHeaderModifier: { add: {}, set: {}, remove: ["x"] } }],
  }]);
  assert.is(only.authorizations[0].metadata.resource.name, "carts");
  apply(mesh.cluster, server("HTTP/2"));
  const names = async () => (await client.port(8080)).routes.map((r) => r.name);
  assert.equal(
    await names(),
    ["probe", "default"],
    "the HTTPRoute is in conflict, as with Linkerd",
  );
  mesh.cluster.remove(resource(route("calls", "", { ...GATEWAY, kind: "GRPCRoute" })));
  assert.equal(await names(), ["http"]);
  apply(mesh.cluster, server("opaque"));
  assert.equal(await names(), []);
});

test("the target of a policy for a route names its group", () => {
  const mesh = meshOf("");
  assert.throws(
    () => apply(mesh.cluster, permit("x", "HTTPRoute", "''", "api", "reader")),
    /spec\.targetRef\.group: is "": write policy\.linkerd\.io or gateway\.networking\.k8s\.io/,
  );
  assert.throws(
    () => apply(mesh.cluster, permit("x", "GRPCRoute", "policy.linkerd.io", "api", "reader")),
    /write gateway\.networking\.k8s\.io for a route/,
  );
});

test.run();
