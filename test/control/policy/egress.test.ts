import { test } from "uvu";
import * as assert from "uvu/assert";
import { clientPolicyFromWire } from "../../../src/api/client-policy.ts";
import type { FilterTarget } from "../../../src/control/mesh.ts";
import type { ClientPolicy } from "../../../src/model/profile.ts";
import { apply, filterRef, meshOf, pod, resource, SERVICE } from "../support/mesh-fixture.ts";
import { policyClient } from "../support/policy-client.ts";

interface Network {
  readonly ns?: string;
  readonly policy?: "Allow" | "Deny";
  readonly networks?: string;
  readonly year?: number;
  readonly annotations?: string;
}

const NETWORK = (
  name: string,
  { ns = "shop", policy = "Deny", networks = "", year, annotations = "" }: Network = {},
) => `
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata:
  name: ${name}
  namespace: ${ns}
  annotations: { ${annotations} }
${year === undefined ? "" : `  creationTimestamp: "${year}-01-01T00:00:00Z"\n`}
spec:
  trafficPolicy: ${policy}
${networks === "" ? "" : `  networks: [${networks}]\n`}
`;
const mesh = (...objects: string[]) => meshOf(objects.join("---\n"));
/** The network that an address is told of, as namespace/name, or the default. */
const who = ({ origin }: ClientPolicy) =>
  origin.kind === "default" ? origin.name : `${origin.namespace}/${origin.name}`;
const cidr = (text: string) => `{ cidr: ${text} }`;

test("an address outside of the cluster has the policy of the network that covers it", async () => {
  const { to, wire, toCode } = policyClient(mesh(SERVICE, NETWORK("internet")));
  const policy = await to("192.0.2.1:443");
  assert.equal(policy.origin, {
    group: "policy.linkerd.io",
    kind: "EgressNetwork",
    namespace: "shop",
    name: "internet",
    port: 443,
  });
  assert.is(policy.protocol, "detect");
  assert.equal(policy.forward?.addr, { ip: "192.0.2.1", port: 443 });
  assert.equal(policy.routes.map((r) => r.name), ["http-egress-deny"]);
  assert.equal([policy.bytes?.name, policy.bytes?.refuses], ["tcp-egress-deny", "forbidden"]);
  const raw = await wire("192.0.2.1:443");
  assert.equal(raw.metadata?.kind.value, {
    $typeName: "io.linkerd.proxy.meta.Resource",
    group: "policy.linkerd.io",
    kind: "EgressNetwork",
    name: "internet",
    namespace: "shop",
    section: "",
    port: 443,
  });
  assert.is((await to("10.0.0.1:80")).origin.kind, "Service", "Services come first");
  assert.is(await toCode("10.1.2.3:80"), 5, "inside of the cluster");
  assert.is(who(await to("[2001:db8::1]:443")), "shop/internet", "all addresses, also of IPv6");
});

test("networks of the client's namespace count alone where there are any, else the global ones", async () => {
  const global = { ns: "linkerd-egress" };
  const { to } = policyClient(mesh(
    NETWORK("own", { networks: cidr("192.0.2.0/24") }),
    NETWORK("wide", global),
    NETWORK("narrow", { ...global, networks: cidr("198.51.100.0/24") }),
    NETWORK("foreign", { ns: "elsewhere" }),
  ));
  assert.is(who(await to("192.0.2.1:80")), "shop/own");
  assert.is(who(await to("198.51.100.1:80")), "egress-fallback", "the global ones do not add");
  assert.is(who(await to("198.51.100.1:80", "bank")), "linkerd-egress/narrow");
  assert.is(who(await to("192.0.2.1:80", "bank")), "linkerd-egress/wide");
  assert.is(who(await to("192.0.2.1:80", "elsewhere")), "elsewhere/foreign");
});

test("of several the smallest network wins, then the oldest, then the first by name", async () => {
  const m = mesh(
    NETWORK("all"),
    NETWORK("b", { networks: `${cidr("192.0.0.0/8")}, ${cidr("192.0.2.0/24")}` }),
    NETWORK("c", { networks: cidr("192.0.2.0/25"), year: 2026 }),
    NETWORK("d", { networks: cidr("192.0.2.0/25"), year: 2025 }),
  );
  const { to } = policyClient(m);
  const at = async (ip: string) => who(await to(`${ip}:80`));
  assert.is(await at("203.0.113.1"), "shop/all");
  assert.is(await at("192.0.2.200"), "shop/b", "the network that has it, not the object's largest");
  assert.is(await at("192.0.2.1"), "shop/d");
  apply(m.cluster, NETWORK("d", { networks: cidr("192.0.2.0/25") }));
  assert.is(await at("192.0.2.1"), "shop/c", "one with a time before one without");
  apply(m.cluster, NETWORK("c", { networks: cidr("192.0.2.0/25") }));
  assert.is(await at("192.0.2.1"), "shop/c");
  // What is left out makes a network smaller.
  apply(
    m.cluster,
    NETWORK("d", { networks: "{ cidr: 192.0.2.0/25, except: [192.0.2.64/26] }" }),
  );
  assert.is(await at("192.0.2.1"), "shop/d");
  assert.is(await at("192.0.2.65"), "shop/c");
});

test("a pod is never outside; an address that a network names is, also among the cluster's", async () => {
  const m = mesh(pod("a", "192.0.2.7"), NETWORK("on-premises", { networks: cidr("10.5.0.0/16") }));
  const { to, toCode } = policyClient(m);
  apply(m.cluster, NETWORK("internet", { networks: cidr("192.0.2.0/24") }));
  assert.is(await toCode("192.0.2.7:80"), 5);
  assert.is(who(await to("192.0.2.8:80")), "shop/internet");
  assert.is(who(await to("10.5.0.1:80")), "shop/on-premises");
  assert.is(await toCode("10.6.0.1:80"), 5);
});

test("opaque ports, retries, time-outs and ejection come from annotations", async () => {
  const m = mesh(NETWORK("internet", { policy: "Allow" }));
  const { to, wire } = policyClient(m);
  assert.is((await to("192.0.2.1:3306")).protocol, "opaque", "of the default list");
  const annotations = [
    'config.linkerd.io/opaque-ports: "443"',
    "retry.linkerd.io/http: 5xx",
    "timeout.linkerd.io/request: 2s",
    "balancer.linkerd.io/failure-accrual: consecutive",
  ].join(", ");
  apply(m.cluster, NETWORK("internet", { policy: "Allow", annotations }));
  assert.is((await to("192.0.2.1:3306")).protocol, "detect");
  const opaque = await to("192.0.2.1:443");
  assert.equal([opaque.protocol, opaque.forward?.addr.port], ["opaque", 443]);
  const { routes, accrual } = await to("192.0.2.1:80");
  assert.equal(routes[0]?.retry?.statuses, [{ min: 500, max: 599 }]);
  assert.is(routes[0]?.limits?.requestMs, 2000);
  assert.ok(accrual !== null);
  const deny = NETWORK("internet", { annotations });
  apply(m.cluster, deny);
  const { protocol } = await wire("192.0.2.1:443");
  assert.is(protocol?.kind.case, "opaque");
  if (protocol?.kind.case !== "opaque") return;
  const [rule] = protocol.kind.value.routes[0]?.rules ?? [];
  assert.equal(rule?.filters.map((f) => f.kind.case), ["forbidden"]);
});

test("an EgressNetwork carries its filters, as its routes do that are named", async () => {
  const filters = {
    refs: ({ kind, name }: FilterTarget, route: string | null) =>
      kind === "EgressNetwork" && name === "internet" ? [filterRef(route ?? "all")] : [],
  };
  const http = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api, namespace: shop }
spec:
  parentRefs: [{ group: policy.linkerd.io, kind: EgressNetwork, name: internet, port: 80 }]
  hostnames: [api.example.com]
`;
  const m = meshOf([NETWORK("internet"), http].join("---\n"), {}, filters);
  const { routes } = await policyClient(m).to("192.0.2.1:80");
  assert.equal(routes.map((r) => [r.name, r.filters.map((f) => f.name)]), [
    ["api", ["api"]],
    ["http-egress-deny", ["all"]],
  ]);
});

test("open streams follow networks that come, change and go", async () => {
  const m = mesh(NETWORK("internet", { policy: "Allow" }));
  const stream = policyClient(m).watch("192.0.2.1:443");
  const next = async () => clientPolicyFromWire(await stream.next());
  const said = ({ routes: [route] }: ClientPolicy) => [route?.name, route?.actions?.[0]?.kind];
  assert.equal(said(await next()), ["http-egress-allow", undefined]);
  apply(m.cluster, NETWORK("internet"));
  assert.equal(said(await next()), ["http-egress-deny", "fail"]);
  apply(m.cluster, NETWORK("example", { policy: "Allow", networks: cidr("192.0.2.0/24") }));
  const example = await next();
  assert.equal([who(example), ...said(example)], ["shop/example", "http-egress-allow", undefined]);
  apply(m.cluster, NETWORK("example", { ns: "bank", networks: cidr("192.0.2.0/24") }));
  assert.ok(await stream.quiet(), "another namespace's");
  m.cluster.remove(resource(NETWORK("example")));
  assert.is(who(await next()), "shop/internet");
  m.cluster.remove(resource(NETWORK("internet")));
  assert.is(who(await next()), "egress-fallback");
  apply(m.cluster, NETWORK("everything", { ns: "linkerd-egress" }));
  assert.is(who(await next()), "linkerd-egress/everything");
  await stream.end();
});

test("a network that is wrong leaves its last good version in force", async () => {
  const m = mesh(NETWORK("internet"));
  for (
    const [networks, why] of [
      ["{ cidr: 10.0.0.0/8, except: [10.0.0.0/8] }", /except\[0\]: leaves nothing/],
      ["{ cidr: nowhere }", /networks\[0\]\.cidr: is "nowhere", not a network/],
    ] as const
  ) assert.throws(() => apply(m.cluster, NETWORK("internet", { networks })), why);
  assert.throws(
    () => apply(m.cluster, NETWORK("internet", { annotations: "retry.linkerd.io/http: soon" })),
    /annotations\.retry\.linkerd\.io\/http/,
  );
  assert.is(who(await policyClient(m).to("192.0.2.1:80")), "shop/internet");
});

test.run();
