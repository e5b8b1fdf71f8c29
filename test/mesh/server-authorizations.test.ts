// A ServerAuthorization between real proxies: who it names gets in, who it does not gets 403, and metrics
// say by whose word.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { type KubeObject, NAMESPACE, pod, service, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(142);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const LOAD: MeshPod = { name: "load", app: "load", ip: `${NET}.1`, ports: [] };
const CATALOGUE: MeshPod = { name: "catalogue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };

const server: KubeObject = {
  apiVersion: "policy.linkerd.io/v1beta3",
  kind: "Server",
  metadata: { name: "catalogue-http", namespace: NAMESPACE, labels: { tier: "back" } },
  spec: { podSelector: { matchLabels: { app: "catalogue" } }, port: "http" },
};
const authorization = (...accounts: readonly string[]): KubeObject => ({
  apiVersion: "policy.linkerd.io/v1beta1",
  kind: "ServerAuthorization",
  metadata: { name: "by-account", namespace: NAMESPACE },
  spec: {
    server: { selector: { matchLabels: { tier: "back" } } },
    client: {
      // Both ends are on loopback here.
      networks: [{ cidr: "127.0.0.0/8", except: ["127.0.0.1/32"] }],
      meshTLS: { serviceAccounts: accounts.map((name) => ({ name })) },
    },
  },
});
const AUTHORIZATION = "authorization.yaml";

let mesh: TestMesh;

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("load", LOAD.ip, "load"),
        pod("catalogue", CATALOGUE.ip, "catalogue"),
        ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
        server,
      ),
      [AUTHORIZATION]: yaml(authorization("web")),
    },
    pods: [WEB, LOAD, CATALOGUE],
  });
  await mesh.serve(CATALOGUE.ip, 8080, () => ({ body: "ok" }));
});
test.after(() => mesh?.end());

const call = async (from: MeshPod) =>
  (await mesh.call(from, "http://catalogue.shop.svc.cluster.local:8080/")).status;
const counted = async (family: string, labels: Readonly<Record<string, string>>) =>
  sum(await mesh.metrics(CATALOGUE), family, { srv_name: "catalogue-http", ...labels });

test("who a ServerAuthorization names gets in, and metrics say by whose word", async () => {
  assert.is(await call(WEB), 200);
  assert.is(await call(LOAD), 403);
  const by = {
    authz_group: "policy.linkerd.io",
    authz_kind: "serverauthorization",
    authz_name: "by-account",
  };
  assert.is(await counted("inbound_http_authz_allow_total", by), 1);
  assert.is(await counted("inbound_http_authz_deny_total", {}), 1);
});

test("a change reaches proxies that are open, and a bad one changes nothing", async () => {
  await mesh.write(AUTHORIZATION, yaml(authorization("load")));
  await eventually("the other is let in", async () => assert.is(await call(LOAD), 200));
  assert.is(await call(WEB), 403);
  await mesh.write(AUTHORIZATION, yaml(authorization()));
  await eventually("it is said", () => {
    const said = mesh.log.filter((l) => /spec\.client\.meshTLS: permits nobody/.test(l));
    assert.is(said.length, 1);
  });
  assert.is(await call(LOAD), 200);
  assert.is(await call(WEB), 403);
});

test.run();
