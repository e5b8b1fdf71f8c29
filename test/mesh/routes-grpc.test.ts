// GRPCRoutes between real processes, under our control plane and from its folder: calls go by service and
// method, are tried again by their code, and an HTTPRoute of the same Service is out of force.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { ask2, type Got, type Says, serve } from "../linkerd/support/apps.ts";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { NAMESPACE, pod, service, yaml } from "./support/objects.ts";
import { eventually } from "./support/waiting.ts";

const NET = loopbackNet(136);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const OWN: MeshPod = { name: "own", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const CARTS: MeshPod = { name: "carts", app: "vote", ip: `${NET}.4`, ports: [8080] };
const AUTHORITY = `app.${NAMESPACE}.svc.cluster.local:8080`;

let mesh: TestMesh;
/** Calls that failed once, by name. */
const failed = new Set<string>();

const parentRefs = [{ group: "core", kind: "Service", name: "app", port: 8080 }];
const GRPC_ROUTE = {
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "GRPCRoute",
  metadata: {
    name: "calls",
    namespace: NAMESPACE,
    annotations: { "retry.linkerd.io/grpc": "unavailable", "retry.linkerd.io/limit": "2" },
  },
  spec: {
    parentRefs,
    rules: [{
      matches: [{ method: { service: "shop.Cart" } }],
      filters: [{
        type: "RequestHeaderModifier",
        requestHeaderModifier: { set: [{ name: "x-route", value: "calls" }] },
      }],
      backendRefs: [{ name: "carts", port: 8080 }],
    }, {
      matches: [{ method: { service: "shop.Web", method: "Page" } }],
    }],
  },
};
const HTTP_ROUTE = {
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "HTTPRoute",
  metadata: { name: "web", namespace: NAMESPACE },
  spec: { parentRefs, rules: [{ backendRefs: [{ name: "nobody", port: 8080 }] }] },
};

/** Answers a call with who it is; fails it once by its code where it asks for that. */
const app = (name: string) => ({ headers }: Got): Says => {
  const id = headers["x-fail-once"];
  const fails = id !== undefined && !failed.has(id);
  if (fails) failed.add(id);
  return {
    headers: { "content-type": "application/grpc" },
    body: fails ? "" : `${name} ${headers["x-route"] ?? ""}`,
    trailers: { "grpc-status": fails ? "14" : "0" },
  };
};

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, WEB.app),
        pod("own", OWN.ip, OWN.app),
        pod("carts", CARTS.ip, CARTS.app),
        ...service("app", `${NET}.103`, { own: OWN.ip }),
        ...service("carts", `${NET}.104`, { carts: CARTS.ip }),
      ),
      "routes.yaml": yaml(HTTP_ROUTE, GRPC_ROUTE),
    },
    pods: [WEB, OWN, CARTS],
  });
  for (const [ip, name] of [[OWN.ip, "own"], [CARTS.ip, "carts"]] as const) {
    const served = await serve(ip, "http2", app(name), 8080);
    mesh.onEnd(() => served.close());
  }
});
test.after(() => mesh?.end());

/** Body and code of a call; a status where it was no call's answer. */
async function call(path: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const { status, body, headers: head, trailers } = await ask2(
    { host: WEB.ip, port: 4140, localAddress: WEB.ip },
    {
      ":method": "POST",
      ":path": path,
      ":authority": AUTHORITY,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    },
    "message",
  );
  const code = trailers["grpc-status"] ?? head["grpc-status"];
  return status === 200 ? `${body.trim()} ${code}`.trim() : String(status);
}

test("calls go by service and method, and what no rule names is NOT_FOUND", async () => {
  await eventually("the GRPCRoute decides", async () => {
    assert.is(await call("/shop.Cart/Add"), "carts calls 0");
  }, 60_000);
  assert.is(await call("/shop.Web/Page"), "own 0");
  assert.is(await call("/shop.Web/Other"), "5");
});

test("a call is tried again by its code", async () => {
  assert.is(await call("/shop.Cart/Add", { "x-fail-once": "a" }), "carts calls 0");
  assert.ok(failed.has("a"));
});

test("without the GRPCRoute the HTTPRoute of the same Service is in force", async () => {
  await mesh.write("routes.yaml", yaml(HTTP_ROUTE));
  await eventually("its backend is none", async () => {
    assert.not.match(await call("/shop.Cart/Add"), / 0$/);
  }, 60_000);
  await mesh.write("routes.yaml", yaml(HTTP_ROUTE, GRPC_ROUTE));
  await eventually("the GRPCRoute is back", async () => {
    assert.is(await call("/shop.Cart/Add"), "carts calls 0");
  }, 60_000);
});

test.run();
