// HTTPRoutes between real processes, under our control plane and from its folder: requests are split by
// header and by weight, tried again where the route says so, refused where a Server's routes say so, and
// none fails while the routes change.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { startLoad } from "./support/load.ts";
import { allow, type KubeObject, NAMESPACE, pod, service, yaml } from "./support/objects.ts";
import { eventually as within, sum } from "./support/waiting.ts";

const NET = loopbackNet(134);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const OWN: MeshPod = { name: "own", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const CANARY: MeshPod = { name: "canary", app: "vote", ip: `${NET}.4`, ports: [8080] };
const APP = `http://app.${NAMESPACE}.svc.cluster.local:8080`;
const AT_ONCE = 10;
const eventually = (what: string, attempt: () => void | Promise<void>) =>
  within(what, attempt, 60_000);

let mesh: TestMesh;
/** Requests that the canary was asked to fail, by name, and failed. */
const failed = new Set<string>();

const PARENT = { group: "core", kind: "Service", name: "app", port: 8080 };
const to = (name: string, weight = 1) => ({ name, port: 8080, weight });
const route = (
  name: string,
  rules: readonly unknown[],
  annotations: Readonly<Record<string, string>> = {},
): KubeObject => ({
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "HTTPRoute",
  metadata: { name, namespace: NAMESPACE, annotations },
  spec: { parentRefs: [PARENT], rules },
});
const BY_HEADER = route("by-header", [
  { matches: [{ headers: [{ name: "x-canary", value: "yes" }] }], backendRefs: [to("canary")] },
  { backendRefs: [to("app")] },
]);
const weighted = (app: number, canary: number, annotations = {}) =>
  route("by-weight", [{ backendRefs: [to("app", app), to("canary", canary)] }], annotations);
const RETRIES = { "retry.linkerd.io/http": "5xx", "retry.linkerd.io/limit": "4" };

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("own", OWN.ip, OWN.app),
        pod("canary", CANARY.ip, CANARY.app),
        ...service("app", `${NET}.103`, { own: OWN.ip }),
        ...service("canary", `${NET}.104`, { canary: CANARY.ip }),
      ),
      "routes.yaml": yaml(BY_HEADER),
    },
    pods: [WEB, OWN, CANARY],
  });
  const tagged = (name: string, tag = "") => ({ body: `${name}${tag === "" ? "" : ` ${tag}`}` });
  await mesh.serve(OWN.ip, 8080, ({ headers }) => tagged("app", headers["x-tag"]));
  await mesh.serve(CANARY.ip, 8080, ({ headers }) => {
    const id = headers["x-fail-once"];
    if (id === undefined || failed.has(id)) return tagged("canary", headers["x-tag"]);
    failed.add(id);
    return { status: 503, body: "not now" };
  });
});
test.after(() => mesh?.end());

const ask = (headers: Readonly<Record<string, string>> = {}, path = "/") =>
  mesh.call(WEB, `${APP}${path}`, { headers });

/** How many of the answers came from where; a status where it is no success. */
async function answers(
  requests: number,
  headers: (i: number) => Readonly<Record<string, string>> = () => ({}),
): Promise<Readonly<Record<string, number>>> {
  const found: Record<string, number> = {};
  for (let i = 0; i < requests; i += AT_ONCE) {
    const some = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, k) => ask(headers(i + k))),
    );
    for (const { status, body } of some) {
      const what = status === 200 ? body : String(status);
      found[what] = (found[what] ?? 0) + 1;
    }
  }
  return found;
}

test("requests go by header, and metrics name the route", async () => {
  await eventually("the header decides", async () => {
    assert.equal(await answers(AT_ONCE, () => ({ "x-canary": "yes" })), { canary: AT_ONCE });
  });
  assert.equal(await answers(AT_ONCE, () => ({ "x-canary": "no" })), { app: AT_ONCE });
  assert.equal(await answers(AT_ONCE), { app: AT_ONCE });
  await eventually("the route has counted them", async () => {
    const samples = await mesh.metrics(WEB);
    const count = sum(samples, "outbound_http_route_request_statuses_total", {
      ...{ parent_kind: "Service", parent_name: "app" },
      ...{ route_kind: "HTTPRoute", route_name: "by-header", http_status: "200" },
    });
    assert.ok(count >= 3 * AT_ONCE, `${count} are counted`);
  });
});

test("routes change while requests run: by weight, with retries, back to none, and none fails", async () => {
  let asked = 0;
  const load = startLoad(4, () => ask({ "x-load": String(asked++) }));
  try {
    await load.crossing(async () => {
      // By weight, with retries: each request that the canary takes fails once there.
      await mesh.write("routes.yaml", yaml(weighted(1, 1, RETRIES)));
      await eventually("both get requests", async () => {
        const found = await answers(40);
        assert.ok((found["app"] ?? 0) > 5 && (found["canary"] ?? 0) > 5, JSON.stringify(found));
      });
      failed.clear();
      const before = performance.now();
      const found = await answers(100, (i) => ({ "x-fail-once": `${before}-${i}` }));
      assert.is(Object.values(found).reduce((a, b) => a + b, 0), 100);
      assert.equal(Object.keys(found).sort(), ["app", "canary"], JSON.stringify(found));
      assert.ok(failed.size > 10, `the canary failed ${failed.size}`);

      // All of it to one side, in steps as a roll-out does.
      for (const [app, canary] of [[3, 1], [1, 3], [0, 1]] as const) {
        await mesh.write("routes.yaml", yaml(weighted(app, canary)));
      }
      await eventually("all of it goes to the canary", async () => {
        assert.equal(await answers(AT_ONCE), { canary: AT_ONCE });
      });
      await mesh.write("routes.yaml", yaml(BY_HEADER));
      await eventually("the header decides again", async () => {
        assert.equal(await answers(AT_ONCE), { app: AT_ONCE });
        assert.equal(await answers(AT_ONCE, () => ({ "x-canary": "yes" })), { canary: AT_ONCE });
      });
      await mesh.remove("routes.yaml");
      await eventually("the Service's own pods take all", async () => {
        assert.equal(await answers(AT_ONCE, () => ({ "x-canary": "yes" })), { app: AT_ONCE });
      });
    });
  } finally {
    await load.stop();
  }
  assert.equal(load.failures, [], `${load.done} requests`);
  assert.ok(load.done > 50, `${load.done} requests`);
});

test("filters of one of several backends are for what it gets", async () => {
  const filters = [{
    type: "RequestHeaderModifier",
    requestHeaderModifier: { set: [{ name: "x-tag", value: "new" }] },
  }];
  await mesh.write(
    "routes.yaml",
    yaml(route("tags", [{ backendRefs: [to("app"), { ...to("canary"), filters }] }])),
  );
  await eventually("both get requests", async () => {
    assert.equal(Object.keys(await answers(40)).sort(), ["app", "canary new"]);
  });
  await mesh.remove("routes.yaml");
});

test("a backend that is not there fails its rule with 500, and a bad edit leaves what was", async () => {
  await mesh.write("routes.yaml", yaml(route("gone", [{ backendRefs: [to("nobody")] }])));
  await eventually("its requests fail", async () => {
    assert.equal(await answers(AT_ONCE), { 500: AT_ONCE });
  });
  await mesh.write("routes.yaml", yaml(route("gone", [{ backendRefs: [to("canary")] }])));
  await eventually("it is found", async () => {
    assert.equal(await answers(AT_ONCE), { canary: AT_ONCE });
  });
  await mesh.write(
    "routes.yaml",
    yaml(route("gone", [{ matches: [{ path: { value: "no path" } }], backendRefs: [to("app")] }])),
  );
  await eventually("it is said", () => {
    const said = /control plane: .*routes\.yaml:\d+: .*matches\[0\]\.path\.value: .*stays in force/;
    assert.ok(mesh.log.some((line) => said.test(line)));
  });
  assert.equal(await answers(AT_ONCE), { canary: AT_ONCE });
  await mesh.remove("routes.yaml");
});

test("a Server's routes decide by path who may come in, and what no route names is not found", async () => {
  const server = (name: string, path: string): KubeObject => ({
    apiVersion: "policy.linkerd.io/v1beta3",
    kind: "HTTPRoute",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      parentRefs: [{ group: "policy.linkerd.io", kind: "Server", name: "catalogue-http" }],
      rules: [{ matches: [{ path: { type: "PathPrefix", value: path } }] }],
    },
  });
  const [serverObject, , authentication] = allow("catalogue", "http", "HTTP/1", ["web"]);
  const permit: KubeObject = {
    apiVersion: "policy.linkerd.io/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata: { name: "open-to-web", namespace: NAMESPACE },
    spec: {
      targetRef: { group: "policy.linkerd.io", kind: "HTTPRoute", name: "open" },
      requiredAuthenticationRefs: [
        { group: "policy.linkerd.io", kind: "MeshTLSAuthentication", name: "catalogue-http" },
      ],
    },
  };
  await mesh.write(
    "server.yaml",
    yaml(serverObject!, authentication!, permit, server("open", "/open"), server("shut", "/shut")),
  );
  await eventually("each path has its own answer", async () => {
    const statuses = await Promise.all(
      ["/open/a", "/shut", "/other"].map((path) => ask({}, path).then((a) => a.status)),
    );
    assert.equal(statuses, [200, 403, 404]);
  });
});

test.run();
