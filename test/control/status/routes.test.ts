// The status of HTTPRoutes and GRPCRoutes, as values: each parent's conditions with Linkerd's reasons.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { DEFAULT_OPTIONS } from "../../../src/control/options.ts";
import { statusEntries } from "../../../src/control/status/entries.ts";
import { apply, meshOf, resource } from "../support/mesh-fixture.ts";
import { BASE, route, service, WEB } from "../support/routes.ts";

const { clusterNetworks } = DEFAULT_OPTIONS;
const SERVER = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: web-http, namespace: shop }
spec: { podSelector: {}, port: 8080 }
`;
const egress = (name: string, cidr: string) => `
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: { name: ${name}, namespace: shop }
spec: { trafficPolicy: Allow, networks: [{ cidr: ${cidr} }] }
`;

/** Per parent: what each condition says, `Type=Status Reason: message`. */
function said(mesh: ReturnType<typeof meshOf>, name = "r"): readonly (readonly string[])[] {
  const entry = statusEntries({ cluster: mesh.cluster, filters: [], clusterNetworks })
    .find((e) => e.name === name);
  return entry !== undefined && "parents" in entry.status
    ? entry.status.parents.map(({ conditions }) =>
      conditions.map(({ type, status, reason, message }) =>
        `${type}=${status} ${reason}${message === "" ? "" : `: ${message}`}`
      )
    )
    : [];
}
const RESOLVED = "ResolvedRefs=True ResolvedRefs";
const OK = "Accepted=True Accepted";

test("a Service is a parent if it is there and has an address; the reference is given back", () => {
  const mesh = meshOf([
    service("web", "None"),
    route("r", "rules: [{}]", {
      parents: `${WEB}, { group: '', kind: Service, name: gone, namespace: other }, { name: edge }`,
    }),
  ].join("---"));
  assert.equal(said(mesh), [
    ["Accepted=False NoMatchingParent: parent service must have a ClusterIP", RESOLVED],
    ["Accepted=False NoMatchingParent", RESOLVED],
  ]);
  apply(mesh.cluster, service("web", "10.0.0.1"));
  assert.equal(said(mesh)[0], [OK, RESOLVED]);
  const [entry] = statusEntries({ cluster: mesh.cluster, filters: [], clusterNetworks });
  assert.is(entry?.kind, "gateway.networking.k8s.io/HTTPRoute");
  const { status } = entry ?? {};
  assert.equal(
    status !== undefined && "parents" in status ? status.parents.map((p) => p.parentRef) : [],
    [
      { group: "core", kind: "Service", namespace: "shop", name: "web", port: 80 },
      { group: "core", kind: "Service", namespace: "other", name: "gone" },
    ],
  );
});

test("a Server's route has one condition, and none of its backends", () => {
  const parents = "{ group: policy.linkerd.io, kind: Server, name: web-http }";
  const mesh = meshOf([
    route("r", "rules: [{ backendRefs: [{ name: gone, port: 80 }] }]", {
      ...{ parents, version: "policy.linkerd.io/v1beta3" },
    }),
  ].join("---"));
  assert.equal(said(mesh), [["Accepted=False NoMatchingParent"]]);
  apply(mesh.cluster, SERVER);
  assert.equal(said(mesh), [[OK]]);
  apply(mesh.cluster, route("calls", "rules: [{}]", { kind: "GRPCRoute", parents }));
  assert.equal(said(mesh), [["Accepted=False RouteReasonConflicted"]]);
  assert.equal(said(mesh, "calls"), [[OK]]);
});

test("a GRPCRoute of the same parent displaces HTTPRoutes, one of another port does not", () => {
  const every = WEB.replace(", port: 80", "");
  const mesh = meshOf([
    BASE,
    route("r", "rules: [{}]", { parents: `${WEB}, ${every}` }),
    route("calls", "rules: [{}]", { kind: "GRPCRoute", namespace: "team" }),
  ].join("---"));
  const conflict = "Accepted=False RouteReasonConflicted";
  assert.equal(said(mesh), [[conflict, RESOLVED], [OK, RESOLVED]]);
  assert.equal(said(mesh, "calls"), [[OK, RESOLVED]]);
  mesh.cluster.remove(
    resource(route("calls", "", { kind: "GRPCRoute", namespace: "team" })),
  );
  assert.equal(said(mesh), [[OK, RESOLVED], [OK, RESOLVED]]);
});

test("backends that are not there, or of no kind that a mesh leads to, are told", () => {
  const mesh = meshOf([BASE, egress("out", "192.0.2.0/24")].join("---"));
  const backends = (list: string, parents = WEB) => {
    const version = "policy.linkerd.io/v1beta3";
    apply(
      mesh.cluster,
      route("r", `rules: [{}, { backendRefs: [${list}] }]`, { parents, version }),
    );
    return said(mesh)[0]?.[1];
  };
  assert.is(backends("{ name: v1, port: 80 }, { name: v2, port: 80 }"), RESOLVED);
  assert.is(
    backends("{ name: v1, port: 80 }, { name: x, port: 80 }"),
    "ResolvedRefs=False BackendNotFound",
  );
  assert.is(
    backends("{ name: v1, namespace: other, port: 80 }"),
    "ResolvedRefs=False BackendNotFound",
  );
  assert.is(backends("{ name: v1 }"), RESOLVED, "the port is not a reference");
  assert.is(
    backends("{ group: x.example, kind: Bucket, name: b }"),
    "ResolvedRefs=False InvalidKind",
  );
  const network = (name: string) =>
    `{ group: policy.linkerd.io, kind: EgressNetwork, name: ${name} }`;
  const wrong =
    "ResolvedRefs=False InvalidKind: EgressNetwork backend needs to be on a route that has an EgressNetwork parent";
  assert.is(backends(network("out")), wrong);
  assert.is(backends(network("gone")), "ResolvedRefs=False BackendNotFound");
  const parent = (name: string) => network(name).replace(" }", ", port: 443 }");
  assert.is(backends(network("out"), parent("out")), RESOLVED);
  assert.equal(said(mesh)[0]?.[0], OK);
  apply(mesh.cluster, egress("other", "198.51.100.0/24"));
  assert.is(backends(network("out"), parent("other")), wrong);
});

test("an EgressNetwork that is not in force accepts no route", () => {
  const parents = "{ group: policy.linkerd.io, kind: EgressNetwork, name: out, port: 443 }";
  const mesh = meshOf(
    [egress("out", "10.1.0.0/16"), route("r", "rules: [{}]", { parents })].join("---"),
  );
  assert.equal(
    said(mesh)[0]?.[0],
    "Accepted=False NoMatchingParent: EgressNetwork parent has not been accepted",
  );
  mesh.cluster.remove(resource(egress("out", "10.1.0.0/16")));
  assert.equal(said(mesh)[0]?.[0], "Accepted=False NoMatchingParent");
});

test("a route that left the mesh has no answer any more", () => {
  const left = route("r", "rules: [{}]", { parents: "{ name: edge }" }) +
    "status: { parents: [{ controllerName: linkerd.io/policy-controller }] }\n";
  const mesh = meshOf(left);
  const [entry] = statusEntries({ cluster: mesh.cluster, filters: [], clusterNetworks });
  assert.equal(entry?.status, { parents: [] });
  apply(mesh.cluster, route("r", "rules: [{}]", { parents: "{ name: edge }" }));
  assert.equal(statusEntries({ cluster: mesh.cluster, filters: [], clusterNetworks }), []);
});

test.run();
