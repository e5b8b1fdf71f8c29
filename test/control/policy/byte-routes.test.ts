import { test } from "uvu";
import * as assert from "uvu/assert";
import { clientPolicyFromWire } from "../../../src/api/client-policy.ts";
import { FieldError } from "../../../src/control/field.ts";
import { statusEntries } from "../../../src/control/status/entries.ts";
import type { ClientPolicy } from "../../../src/model/profile.ts";
import { apply, meshOf, resource } from "../support/mesh-fixture.ts";
import { policyClient } from "../support/policy-client.ts";
import { BASE, route as httpRoute } from "../support/routes.ts";

const NETWORK = (policy: "Allow" | "Deny") => `
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: { name: internet, namespace: shop }
spec: { trafficPolicy: ${policy} }
`;
const EGRESS = "{ group: policy.linkerd.io, kind: EgressNetwork, name: internet, port: 443 }";
const WEB = "{ group: core, kind: Service, name: web, port: 80 }";
const to = (name: string, weight = 1) => `{ name: ${name}, port: 80, weight: ${weight} }`;
const SELF = "{ group: policy.linkerd.io, kind: EgressNetwork, name: internet }";
const byteRoute = (
  kind: "TLSRoute" | "TCPRoute",
  name: string,
  parent: string,
  backends: string,
  { hosts = "", created = 0, namespace = "shop" } = {},
) => `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: ${kind}
metadata:
  name: ${name}
  namespace: ${namespace}
  creationTimestamp: "${new Date(created * 1000).toISOString()}"
spec:
  parentRefs: [${parent}]
${hosts === "" ? "" : `  hostnames: [${hosts}]\n`}
  rules: [{ backendRefs: [${backends}] }]
`;
const mesh = (...objects: string[]) => meshOf([BASE, ...objects].join("---\n"));
const shown = ({ routes }: ClientPolicy) =>
  routes.map((r) => [r.name, r.snis?.map((s) => `${s.kind} ${s.name}`).join(" "), r.refuses]);

test("TLS to an EgressNetwork goes where a TLSRoute has its name, and nowhere else when denied", async () => {
  const m = mesh(
    NETWORK("Deny"),
    byteRoute("TLSRoute", "example", EGRESS, SELF, { hosts: '"*.example.com", db.example.org' }),
  );
  const { to, wire } = policyClient(m);
  const policy = await to("192.0.2.1:443");
  assert.is(policy.protocol, "tls");
  assert.equal(policy.origin.name, "internet");
  assert.equal(policy.forward?.addr, { ip: "192.0.2.1", port: 443 });
  assert.equal(shown(policy), [
    ["example", "suffix example.com exact db.example.org", undefined],
    ["tls-egress-deny", "", "forbidden"],
  ]);
  const { protocol } = await wire("192.0.2.1:443");
  assert.is(protocol?.kind.case, "tls");
  // Another port has no such route.
  assert.is((await to("192.0.2.1:8443")).protocol, "detect");
  apply(m.cluster, NETWORK("Allow"));
  assert.equal(shown(await to("192.0.2.1:443")).at(-1), ["tls-egress-allow", "", undefined]);
});

test("a TCPRoute leads bytes to an EgressNetwork or to Services, the oldest only", async () => {
  const m = mesh(
    NETWORK("Deny"),
    byteRoute("TCPRoute", "newer", EGRESS, to("v1"), { created: 2 }),
    byteRoute("TCPRoute", "older", EGRESS, SELF, { created: 1 }),
  );
  const { to: ask } = policyClient(m);
  const policy = await ask("192.0.2.1:443");
  assert.equal([policy.protocol, policy.forward?.addr.ip], ["opaque", "192.0.2.1"]);
  m.cluster.remove(resource(byteRoute("TCPRoute", "older", EGRESS, SELF)));
  assert.is((await ask("192.0.2.1:443")).destination, "v1.shop.svc.cluster.local:80");
  m.cluster.remove(resource(byteRoute("TCPRoute", "newer", EGRESS, SELF)));
  assert.is((await ask("192.0.2.1:443")).bytes?.refuses, "forbidden");
});

test("TLSRoutes and TCPRoutes share the traffic of a Service by weight", async () => {
  const m = mesh(
    byteRoute("TLSRoute", "canary", WEB, `${to("v1", 90)}, ${to("v2", 10)}`, { hosts: "a.b" }),
  );
  const { to: ask, watch } = policyClient(m);
  const split = ({ routes }: ClientPolicy) =>
    routes.map((r) => r.split?.backends.map((b) => [b.authority, b.weight]));
  const shares = [["v1.shop.svc.cluster.local:80", 90], ["v2.shop.svc.cluster.local:80", 10]];
  const tls = await ask("10.0.0.1:80");
  assert.equal([tls.protocol, split(tls)], ["tls", [shares]]);
  const stream = watch("10.0.0.1:80");
  const next = async () => clientPolicyFromWire(await stream.next());
  assert.is((await next()).protocol, "tls");
  m.cluster.remove(resource(byteRoute("TLSRoute", "canary", WEB, to("v1"))));
  assert.is((await next()).protocol, "detect");
  apply(m.cluster, byteRoute("TCPRoute", "db", WEB, `${to("v1", 90)}, ${to("v2", 10)}`));
  const tcp = await next();
  assert.equal([tcp.protocol, split(tcp)], ["opaque", [shares]]);
  await stream.end();
});

test("a backend that is none takes its share and ends it", async () => {
  const { to: ask } = policyClient(mesh(
    byteRoute("TCPRoute", "some", WEB, `${to("v1")}, ${to("nobody")}`),
  ));
  assert.equal(
    (await ask("10.0.0.1:80")).routes[0]?.split?.backends.map((b) => b.authority),
    ["v1.shop.svc.cluster.local:80", ""],
  );
  const alone = mesh(byteRoute("TCPRoute", "none", WEB, to("nobody")));
  assert.is((await policyClient(alone).to("10.0.0.1:80")).routes[0]?.refuses, "invalid");
});

test("of several kinds at one parent the one that knows most counts, and status says so", async () => {
  const m = mesh(
    byteRoute("TCPRoute", "tcp", WEB, to("v1")),
    byteRoute("TLSRoute", "tls", WEB, to("v1"), { hosts: "a.b" }),
    byteRoute("TLSRoute", "lost", WEB.replace("web", "nobody"), to("v1"), { hosts: "a.b" }),
  );
  const said = () =>
    Object.fromEntries(
      statusEntries({ cluster: m.cluster, filters: [], clusterNetworks: [] })
        .flatMap(({ name, status }) =>
          "parents" in status
            ? [[name, status.parents[0]?.conditions.map((c) => c.reason).join(" ")]]
            : []
        ),
    );
  const { to: ask } = policyClient(m);
  assert.is((await ask("10.0.0.1:80")).protocol, "tls");
  assert.equal(said(), {
    tcp: "RouteReasonConflicted ResolvedRefs",
    tls: "Accepted ResolvedRefs",
    lost: "NoMatchingParent ResolvedRefs",
  });
  apply(m.cluster, httpRoute("http", `rules: [{ backendRefs: [${to("v2")}] }]`));
  assert.equal((await ask("10.0.0.1:80")).protocol, "detect");
  assert.is(said()["tls"], "RouteReasonConflicted ResolvedRefs");
});

test("an HTTPRoute lets the requests that it names leave a network that denies", async () => {
  const parents = EGRESS.replace("443", "80");
  const m = mesh(
    NETWORK("Deny"),
    httpRoute("api", `hostnames: [api.example.com], rules: [{ backendRefs: [${SELF}] }]`, {
      parents,
    }),
  );
  const policy = await policyClient(m).to("192.0.2.1:80");
  assert.equal(policy.routes.map((r) => [r.name, r.actions?.map((a) => a.kind)]), [
    ["api", undefined],
    ["http-egress-deny", ["fail"]],
  ]);
  assert.is(policy.forward?.addr.ip, "192.0.2.1");
  assert.is(policy.bytes?.refuses, "forbidden");
  // Without conditions it is for all requests, and still goes before the network's own.
  apply(
    m.cluster,
    httpRoute("api", `rules: [{ backendRefs: [${SELF}] }]`, { parents }),
  );
  assert.is((await policyClient(m).to("192.0.2.1:80")).routes[0]?.name, "api");
});

test("what is wrong is named, and the last good version stays", async () => {
  const good = byteRoute("TLSRoute", "example", EGRESS, SELF, { hosts: "a.b" });
  const m = mesh(NETWORK("Deny"), good);
  const cases: [yaml: string, why: RegExp][] = [
    [good.replace(/rules:.*/, "rules: []"), /^spec\.rules: has 0 elements: a TLSRoute has one$/],
    [good.replace(", port: 443", ""), /^spec\.parentRefs\[0\]\.port: is missing/],
    [good.replace("a.b", '"a b"'), /^spec\.hostnames\[0\]: is "a b", not a host name/],
  ];
  for (const [yaml, why] of cases) {
    try {
      apply(m.cluster, yaml);
      assert.unreachable(yaml);
    } catch (e) {
      assert.instance(e, FieldError, yaml);
      assert.match((e as FieldError).message, why);
    }
  }
  assert.is((await policyClient(m).to("192.0.2.1:443")).routes[0]?.name, "example");
});

test.run();
