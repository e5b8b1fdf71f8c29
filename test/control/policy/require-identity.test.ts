import { test } from "uvu";
import * as assert from "uvu/assert";
import { authorize } from "../../../src/model/policy.ts";
import { apply, meshOf, pod } from "../support/mesh-fixture.ts";
import { policyClient } from "../support/policy-client.ts";

const PORTS = "config.linkerd.io/proxy-require-identity-inbound-ports";
const DEFAULT = "config.linkerd.io/default-inbound-policy";
const meshed = { ip: "10.0.0.9", meshed: true, identity: "web.shop.test" };
const plain = { ip: "10.0.0.9", meshed: false, identity: null };

test("ports that require an identity admit meshed clients only, by number, range or name", async () => {
  const mesh = meshOf(pod("a", "10.1.0.1", `${PORTS}: "http,9000-9010"`));
  const { port } = policyClient(mesh);
  for (const number of [8080, 9005]) {
    const policy = await port(number);
    assert.is(policy.origin.name, "all-authenticated");
    assert.ok(authorize(policy, meshed));
    assert.not(authorize(policy, plain));
  }
  assert.is((await port(9011)).origin.name, "all-unauthenticated");
  const other = async (name: string) => {
    apply(mesh.cluster, pod("a", "10.1.0.1", `${PORTS}: "8080", ${DEFAULT}: ${name}`));
    return (await port(8080)).origin.name;
  };
  assert.is(await other("cluster-unauthenticated"), "cluster-authenticated");
  // These are not about clients.
  assert.is(await other("deny"), "deny");
  assert.is(await other("audit"), "audit");
});

test("a Server says for itself who is let in", async () => {
  const mesh = meshOf([
    pod("a", "10.1.0.1", `${PORTS}: "8080"`),
    `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  port: 8080
  accessPolicy: all-unauthenticated
`,
  ].join("---\n"));
  assert.ok(authorize(await policyClient(mesh).port(8080), plain));
});

test("a probe that changes changes the pod's policy", async () => {
  const probing = (path: string) => `
apiVersion: v1
kind: Pod
metadata: { name: a, namespace: shop }
spec:
  containers: [{ name: app, livenessProbe: { httpGet: { path: ${path}, port: 8080 } } }]
status: { podIP: 10.1.0.1, phase: Running }
`;
  const mesh = meshOf(probing("/live"));
  const stream = policyClient(mesh).watchPort(8080);
  await stream.next();
  apply(mesh.cluster, probing("/healthy"));
  const { protocol } = await stream.next();
  assert.match(JSON.stringify(protocol, (_, v) => typeof v === "bigint" ? 0 : v), /"\/healthy"/);
  await stream.end();
});

test.run();
