import { test } from "uvu";
import * as assert from "uvu/assert";
import { Cluster } from "../../src/control/cluster.ts";
import { FieldError } from "../../src/control/field.ts";
import { podRow } from "../../src/control/kinds/pod.ts";
import { selects } from "../../src/control/kinds/selector.ts";
import { hasPort, parsePorts } from "../../src/control/ports.ts";
import { matches } from "../../src/model/route.ts";
import { resource } from "./support/mesh-fixture.ts";

/** What is wrong with an object, as `path: problem`. */
function wrong(yaml: string): string {
  try {
    new Cluster().apply(resource(yaml));
  } catch (e) {
    assert.instance(e, FieldError);
    return (e as FieldError).message;
  }
  return "nothing";
}
const object = (apiVersion: string, kind: string, spec: string, name = "x") =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: ${name}, namespace: shop }\nspec: ${spec}\n`;

test("a WasmFilter names a file only from a folder", () => {
  const yaml = object(
    "tulle.dev/v1alpha1",
    "WasmFilter",
    `{ targetRef: { kind: Service, name: web }, module: { sha256: ${
      "ab".repeat(32)
    }, file: /etc/passwd } }`,
  );
  const from = { ...resource(yaml), folder: "" };
  assert.throws(() => new Cluster().apply(from), /spec\.module\.file: names a file, which only/);
  assert.is(wrong(yaml), "nothing", "an object of a folder may");
});

test("every field that is wrong is named by its path", () => {
  const profile = (spec: string) =>
    object("linkerd.io/v1alpha2", "ServiceProfile", spec, "web.shop.svc.cluster.local");
  const server = (spec: string) => object("policy.linkerd.io/v1beta3", "Server", spec);
  const authz = (spec: string) => object("policy.linkerd.io/v1alpha1", "AuthorizationPolicy", spec);
  const mtls = (spec: string) =>
    object("policy.linkerd.io/v1alpha1", "MeshTLSAuthentication", spec);
  const nets = (spec: string) =>
    object("policy.linkerd.io/v1alpha1", "NetworkAuthentication", spec);
  const filter = (spec: string) => object("tulle.dev/v1alpha1", "WasmFilter", spec);
  const sha = "ab".repeat(32);
  const cases: [string, string][] = [
    [object("v1", "Service", "{ clusterIP: nowhere }"), "spec.clusterIP: is "],
    [object("v1", "Service", "{ ports: { a: 1 } }"), "spec.ports: is not a list"],
    [object("v1", "Service", "{ ports: [{ port: 1.5 }] }"), "spec.ports[0].port: is 1.5"],
    [
      object("v1", "Pod", "{ containers: [{ ports: [{ name: a }] }] }"),
      "spec.containers[0].ports[0].containerPort: is missing",
    ],
    [profile("{ routes: [{ condition: { method: GET } }] }"), "spec.routes[0].name: is missing"],
    [profile("{ routes: [{ name: a }] }"), "spec.routes[0].condition: is missing"],
    [profile("{ routes: [{ name: a, condition: {} }] }"), "spec.routes[0].condition: is empty"],
    [
      profile("{ routes: [{ name: a, condition: { pathRegex: '(a+)+' } }] }"),
      "spec.routes[0].condition.pathRegex: repeats a group",
    ],
    [
      profile("{ routes: [{ name: a, condition: { method: GET }, timeout: 5 }] }"),
      "spec.routes[0].timeout: is 5, not text",
    ],
    [
      profile("{ routes: [{ name: a, condition: { method: GET }, timeout: soon }] }"),
      'spec.routes[0].timeout: is "soon"',
    ],
    [
      profile(
        "{ routes: [{ name: a, condition: { method: GET }, responseClasses: [{ condition: { status: { min: 500, max: 400 } } }] }] }",
      ),
      "spec.routes[0].responseClasses[0].condition.status: min 500 is over max 400",
    ],
    [
      profile("{ retryBudget: { retryRatio: 0.2, minRetriesPerSecond: 1, ttl: 10m } }"),
      "spec.retryBudget.ttl: is not between",
    ],
    [
      profile("{ dstOverrides: [{ authority: a, weight: x }] }"),
      "spec.dstOverrides[0].weight: is ",
    ],
    [server("{ port: 80 }"), "spec.podSelector: is missing"],
    [server("{ podSelector: {}, port: 0 }"), "spec.port: is 0"],
    [
      server("{ podSelector: {}, port: 80, proxyProtocol: HTTP/3 }"),
      'spec.proxyProtocol: is "HTTP/3", not one of',
    ],
    [
      server("{ podSelector: { matchExpressions: [{ key: a, operator: In }] }, port: 80 }"),
      "spec.podSelector.matchExpressions[0].values: is empty",
    ],
    [
      authz("{ targetRef: { kind: Server, name: a } }"),
      "spec.requiredAuthenticationRefs: is missing",
    ],
    [authz("{ targetRef: { kind: Pod, name: a } }"), "spec.targetRef.kind: is "],
    [
      authz("{ targetRef: { kind: Namespace, name: other }, requiredAuthenticationRefs: [] }"),
      "spec.targetRef.name: is ",
    ],
    [
      authz(
        "{ targetRef: { kind: Server, name: a }, requiredAuthenticationRefs: [{ kind: ServiceAccount, name: a }, { kind: MeshTLSAuthentication, name: b }] }",
      ),
      "spec.requiredAuthenticationRefs: names both",
    ],
    [mtls("{}"), "spec: needs exactly one of"],
    [
      mtls("{ identities: [a], identityRefs: [{ kind: Namespace, name: a }] }"),
      "spec: needs exactly one of",
    ],
    [mtls("{ identities: ['a b'] }"), "spec.identities[0]: is "],
    [nets("{ networks: [] }"), "spec.networks: is empty"],
    [nets("{ networks: [{ cidr: 10.0.0.0/33 }] }"), "spec.networks[0].cidr: is "],
    [
      nets("{ networks: [{ cidr: 10.0.0.0/8, except: [11.0.0.0/8] }] }"),
      "spec.networks[0].except[0]: is not inside",
    ],
    [
      filter(`{ targetRef: { kind: Pod, name: a }, module: { sha256: ${sha} } }`),
      "spec.targetRef.kind: is ",
    ],
    [
      filter("{ targetRef: { kind: Service, name: a }, module: { sha256: abc } }"),
      "spec.module.sha256: is not 64 hex digits",
    ],
    [
      filter(`{ targetRef: { kind: Service, name: a }, module: { sha256: ${sha} }, config: text }`),
      "spec.config: is not an object",
    ],
    [
      filter(`{ targetRef: { kind: Server, name: a }, module: { sha256: ${sha} }, routes: [x] }`),
      "spec.routes: is for what clients go to only",
    ],
    [
      filter(
        `{ targetRef: { kind: Service, name: a }, module: { sha256: ${sha} }, failurePolicy: Maybe }`,
      ),
      "spec.failurePolicy: is ",
    ],
    [
      filter(
        `{ targetRef: { kind: Service, name: a }, module: { sha256: ${sha} }, limits: { memoryPages: 0 } }`,
      ),
      "spec.limits.memoryPages: is 0",
    ],
  ];
  for (const [yaml, begins] of cases) {
    const message = wrong(yaml);
    assert.ok(message.startsWith(begins), `${message}\n  is not ${begins}…`);
  }
});

test("several fields of one condition must all hold", () => {
  const cluster = new Cluster();
  cluster.apply(resource(object(
    "linkerd.io/v1alpha2",
    "ServiceProfile",
    "{ routes: [{ name: a, condition: { method: GET, pathRegex: /a, not: { any: [{ pathRegex: /b }] } } }] }",
  )));
  const match = cluster.profiles.get("shop/x")?.routes[0]?.match;
  assert.ok(match);
  const view = (method: string, path: string) => ({ method, path, header: () => null });
  assert.ok(matches(match, view("GET", "/a")));
  assert.not(matches(match, view("POST", "/a")));
  assert.not(matches(match, view("GET", "/b")));
});

test("a pod's owner, readiness and addresses are read as Kubernetes means them", () => {
  const row = (metadata: string, status: string) =>
    podRow(
      resource(
        `apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: shop, ${metadata} }\nspec: {}\nstatus: ${status}\n`,
      ),
    );
  const owned = row(
    "labels: { pod-template-hash: abc }, ownerReferences: [{ kind: ReplicaSet, name: web-abc }]",
    "{ podIP: 10.0.0.1, podIPs: [{ ip: 10.0.0.1 }, { ip: 'fd00::1' }] }",
  );
  assert.equal(owned?.owner, { kind: "deployment", name: "web" });
  assert.equal(owned?.ips, ["10.0.0.1", "fd00::1"]);
  assert.ok(owned?.ready, "no condition: ready");
  assert.equal(row("ownerReferences: [{ kind: Job, name: j }]", "{}")?.owner, {
    kind: "k8s_job",
    name: "j",
  });
  assert.equal(row("labels: { linkerd.io/proxy-job: j }", "{}")?.owner, {
    kind: "k8s_job",
    name: "j",
  });
  assert.not(row("a: b", "{}")?.ready, "no address");
  assert.not(
    row("a: b", "{ podIP: 10.0.0.1, conditions: [{ type: Ready, status: 'False' }] }")?.ready,
  );
  assert.not(row("a: b", "{ podIP: 10.0.0.1, phase: Pending }")?.ready);
  assert.is(row("a: b", "{ podIP: 10.0.0.1, phase: Succeeded }"), null);
  assert.is(row("a: b", "{}")?.serviceAccount, "default");
});

test("selects() takes labels and expressions together", () => {
  const selector = {
    labels: { app: "web" },
    expressions: [
      { key: "tier", operator: "In" as const, values: ["a", "b"] },
      { key: "old", operator: "DoesNotExist" as const, values: [] },
      { key: "zone", operator: "NotIn" as const, values: ["z"] },
    ],
  };
  assert.ok(selects(selector, { app: "web", tier: "a" }));
  assert.not(selects(selector, { app: "web" }));
  assert.not(selects(selector, { app: "web", tier: "a", old: "1" }));
  assert.not(selects(selector, { app: "web", tier: "a", zone: "z" }));
  assert.ok(selects({ labels: {}, expressions: [] }, {}));
});

test("port lists take ports, ranges and names, and ignore the rest", () => {
  const set = parsePorts("25, 3306-3308,http,,nonsense!,70000,9-1");
  for (const port of [25, 3306, 3307, 3308]) assert.ok(hasPort(set, port));
  for (const port of [24, 3309, 5, 70000]) assert.not(hasPort(set, port));
  assert.ok(hasPort(set, 8080, { http: 8080 }));
  assert.not(hasPort(set, 8080, { other: 8080 }));
});

test("a change of one object dirties its namespace once a batch", () => {
  const cluster = new Cluster();
  const told: string[][] = [];
  const end = cluster.subscribe((dirty) => told.push([...dirty].sort()));
  cluster.batch(() => {
    cluster.apply(resource(object("v1", "Service", "{}")));
    cluster.apply(resource(object("v1", "Service", "{}", "y")));
    cluster.apply(resource("apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n"));
  });
  assert.equal(told, [["other", "shop"]]);
  cluster.apply(resource(object("v1", "Service", "{}")));
  assert.is(told.length, 1);
  assert.not(cluster.apply(resource(object("v1", "ConfigMap", "{}"))));
  end();
  cluster.touch("shop");
  assert.is(told.length, 1);
});

test.run();
