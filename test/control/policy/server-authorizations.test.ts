import { test } from "uvu";
import * as assert from "uvu/assert";
import { serverPolicyFromWire } from "../../../src/api/server-policy.ts";
import { FieldError } from "../../../src/control/field.ts";
import { authorize, type Client } from "../../../src/model/policy.ts";
import { apply, meshOf, pod, resource } from "../support/mesh-fixture.ts";
import { policyClient } from "../support/policy-client.ts";

const SERVER = (name: string, port: number, labels = "tier: front") => `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: ${name}, namespace: shop, labels: { ${labels} } }
spec: { podSelector: { matchLabels: { app: web } }, port: ${port}, proxyProtocol: HTTP/1 }
`;
const AUTHZ = (name: string, server: string, client: string, more = "") => `
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: { name: ${name}, namespace: shop${more} }
spec: { server: ${server}, client: ${client} }
`;
const id = (account: string, ns = "shop") =>
  `${account}.${ns}.serviceaccount.identity.linkerd.cluster.local`;
const meshed = (identity: string | null, ip = "10.1.0.9"): Client => ({
  ip,
  meshed: true,
  identity,
});
const plain = (ip = "10.1.0.9"): Client => ({ ip, meshed: false, identity: null });

function open(client: string, server = "{ name: web }") {
  const mesh = meshOf(
    [pod("a", "10.1.0.1"), SERVER("web", 8080), AUTHZ("who", server, client)].join("---\n"),
  );
  return policyClient(mesh).port(8080);
}

test("a ServerAuthorization lets the named service accounts in, of its own namespace by default", async () => {
  const policy = await open(
    "{ meshTLS: { serviceAccounts: [{ name: load }, { name: scrape, namespace: watch }] } }",
  );
  assert.equal(authorize(policy, meshed(id("load")))?.origin, {
    group: "policy.linkerd.io",
    kind: "serverauthorization",
    namespace: "shop",
    name: "who",
    port: 0,
  });
  assert.ok(authorize(policy, meshed(id("scrape", "watch"))));
  assert.not(authorize(policy, meshed(id("scrape"))));
  assert.not(authorize(policy, meshed(id("load", "watch"))));
  assert.not(authorize(policy, plain()));
});

test("identities are exact, any with a suffix, or any at all", async () => {
  const suffix = await open(
    `{ meshTLS: { identities: [${id("load")}, "*.${id("x").slice(2)}"] } }`,
  );
  assert.ok(authorize(suffix, meshed(id("load"))));
  assert.ok(authorize(suffix, meshed(id("other"))));
  assert.not(authorize(suffix, meshed(id("other", "elsewhere"))));
  const any = await open('{ meshTLS: { identities: ["*"] } }');
  assert.ok(authorize(any, meshed("a.b")));
  assert.not(authorize(any, meshed(null)), "TLS without a name");
  const nameless = await open("{ meshTLS: { unauthenticatedTLS: true } }");
  assert.ok(authorize(nameless, meshed(null)));
  assert.not(authorize(nameless, plain()));
});

test("without networks those of the cluster are meant, with some only they, but for exceptions", async () => {
  for (const client of ["{ unauthenticated: true }", "{ unauthenticated: true, networks: [] }"]) {
    const cluster = await open(client);
    assert.ok(authorize(cluster, plain("10.200.0.1")));
    assert.not(authorize(cluster, plain("192.0.2.1")));
  }
  const policy = await open(
    "{ unauthenticated: true, networks: [{ cidr: 192.0.2.0/24, except: [192.0.2.128/25] }, { cidr: 10.9.9.9 }] }",
  );
  assert.ok(authorize(policy, plain("192.0.2.1")));
  assert.not(authorize(policy, plain("192.0.2.200")));
  assert.ok(authorize(policy, plain("10.9.9.9")));
  assert.not(authorize(policy, plain("10.200.0.1")));
});

test("Servers are meant by name or by label, only in the same namespace", async () => {
  const mesh = meshOf([
    pod("a", "10.1.0.1"),
    SERVER("web", 8080),
    SERVER("admin", 9000, "tier: back"),
  ].join("---\n"));
  const { port } = policyClient(mesh);
  const who = async (at: number) =>
    (await port(at)).authorizations.map(({ origin }) => origin.name).join(" ");
  const put = (name: string, server: string, more = "") =>
    apply(mesh.cluster, AUTHZ(name, server, "{ unauthenticated: true }", more));
  put("all", "{ selector: {} }", ', creationTimestamp: "2026-03-01T00:00:00Z"');
  put(
    "front",
    "{ selector: { matchLabels: { tier: front } } }",
    ', creationTimestamp: "2026-02-01T00:00:00Z"',
  );
  put(
    "back",
    "{ selector: { matchExpressions: [{ key: tier, operator: NotIn, values: [front] }] } }",
  );
  put("named", "{ name: admin }", ', creationTimestamp: "2026-01-01T00:00:00Z"');
  apply(
    mesh.cluster,
    AUTHZ("foreign", "{ selector: {} }", "{ unauthenticated: true }")
      .replace("namespace: shop", "namespace: other"),
  );
  assert.is(await who(8080), "front all", "the older first");
  assert.is(await who(9000), "named all back");
  apply(mesh.cluster, SERVER("web", 8080, "tier: back"));
  assert.is(await who(8080), "all back", "a label of the Server changed");
});

test("on the wire it stands beside AuthorizationPolicies, with the kind that metrics say", async () => {
  const mesh = meshOf([
    pod("a", "10.1.0.1"),
    SERVER("web", 8080),
    AUTHZ("old", "{ name: web }", "{ unauthenticated: true }"),
    `
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: { name: new, namespace: shop }
spec:
  targetRef: { group: policy.linkerd.io, kind: Server, name: web }
  requiredAuthenticationRefs: [{ kind: ServiceAccount, name: load }]
`,
  ].join("---\n"));
  const wire = await policyClient(mesh).portWire(8080);
  const kinds = wire.authorizations.map(({ labels, metadata }) => {
    const resource = metadata?.kind.case === "resource" ? metadata.kind.value : null;
    assert.equal(labels, {
      group: "policy.linkerd.io",
      kind: resource?.kind ?? "",
      name: resource?.name ?? "",
    });
    return `${resource?.group} ${resource?.kind} ${resource?.name}`;
  });
  assert.equal(kinds, [
    "policy.linkerd.io authorizationpolicy new",
    "policy.linkerd.io serverauthorization old",
  ]);
});

test("an open stream follows, and an object that is wrong leaves its last good version in force", async () => {
  const mesh = meshOf([pod("a", "10.1.0.1"), SERVER("web", 8080)].join("---\n"));
  const stream = policyClient(mesh).watchPort(8080);
  const next = async () => serverPolicyFromWire(await stream.next());
  assert.not(authorize(await next(), plain()));
  const good = AUTHZ("who", "{ name: web }", "{ unauthenticated: true }");
  apply(mesh.cluster, good);
  assert.ok(authorize(await next(), plain()));
  const wrong: [server: string, client: string, why: RegExp][] = [
    ["{}", "{ unauthenticated: true }", /^spec\.server: needs exactly one of name and selector$/],
    ["{ name: web, selector: {} }", "{ unauthenticated: true }", /^spec\.server: needs exactly/],
    ["{ name: web }", "{}", /^spec\.client: permits nobody/],
    ["{ name: web }", "{ unauthenticated: true, meshTLS: {} }", /^spec\.client: has both/],
    ["{ name: web }", "{ meshTLS: {} }", /^spec\.client\.meshTLS: permits nobody/],
    [
      "{ name: web }",
      '{ meshTLS: { unauthenticatedTLS: true, identities: ["*"] } }',
      /^spec\.client\.meshTLS: has both/,
    ],
    [
      "{ name: web }",
      '{ meshTLS: { identities: ["*.a.b", "**.a"] } }',
      /^spec\.client\.meshTLS\.identities\[1\]: is "\*\*\.a", not an identity$/,
    ],
    [
      "{ name: web }",
      "{ meshTLS: { serviceAccounts: [{ namespace: x }] } }",
      /^spec\.client\.meshTLS\.serviceAccounts\[0\]\.name: is missing$/,
    ],
    [
      "{ name: web }",
      `{ meshTLS: { identities: [${new Array(1000).fill('"*"')}], serviceAccounts: [${
        new Array(25).fill("{ name: a }")
      }] } }`,
      /^spec\.client\.meshTLS: names 1025 clients, more than 1024$/,
    ],
    [
      "{ name: web }",
      "{ unauthenticated: true, networks: [{ cidr: 10.0.0.0/8, except: [10.0.0.0/4] }] }",
      /^spec\.client\.networks\[0\]\.except\[0\]: leaves nothing of 10\.0\.0\.0\/8$/,
    ],
  ];
  for (const [server, client, why] of wrong) {
    try {
      apply(mesh.cluster, AUTHZ("who", server, client));
      assert.unreachable(client);
    } catch (e) {
      assert.instance(e, FieldError, client);
      assert.match((e as FieldError).message, why);
      assert.not.match((e as FieldError).message, /\n/);
    }
  }
  assert.ok(await stream.quiet());
  mesh.cluster.remove(resource(good));
  assert.not(authorize(await next(), plain()));
  await stream.end();
});

test.run();
