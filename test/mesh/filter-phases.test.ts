// What filters do beyond heads and retries, in real processes: ask another service over the mesh, look
// at bodies, share state – as WasmFilter objects say it, from YAML to the wire.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { moduleBytes, refTo } from "../wasm/support.ts";
import { pod, service, wasmFilter, yaml } from "./support/objects.ts";
import { sum } from "./support/waiting.ts";

const NET = loopbackNet(104);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const CATALOGUE: MeshPod = { name: "catalogue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const AUTH: MeshPod = { name: "auth", app: "vote", ip: `${NET}.4`, ports: [8080] };
const URL_OF = "http://catalogue.shop.svc.cluster.local:8080/books";

const MODULES = ["auth", "pieces", "limited"] as const;
const bytes = (name: string) => moduleBytes(`fixtures/${name}`);

let mesh: TestMesh;
/** What the service that decides was asked. */
const asked: { readonly path: string; readonly token: string; readonly client: string }[] = [];

function filter(name: (typeof MODULES)[number], spec: Readonly<Record<string, unknown>>) {
  const object = wasmFilter(name, {
    service: "catalogue",
    sha256: refTo(bytes(name)).sha256,
    file: `${name}.wasm`,
    order: MODULES.indexOf(name),
  });
  return { ...object, spec: { ...(object["spec"] as object), ...spec } };
}

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("catalogue", CATALOGUE.ip, "catalogue"),
        pod("auth", AUTH.ip, "vote"),
        ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
        ...service("auth", `${NET}.104`, { auth: AUTH.ip }),
      ),
      "filters.yaml": yaml(
        filter("auth", { callouts: { auth: "auth.shop.svc.cluster.local:8080" } }),
        filter("pieces", { limits: { cpuPercent: 50 } }),
        filter("limited", { config: { rate: 0.001, burst: 3 } }),
      ),
    },
    modules: Object.fromEntries(MODULES.map((name) => [`${name}.wasm`, bytes(name)])),
    pods: [WEB, CATALOGUE, AUTH],
  });
  await mesh.serve(CATALOGUE.ip, 8080, ({ headers, body }) => ({
    body: `${headers["x-user"] ?? "nobody"} sent ${body}`,
  }));
  await mesh.serve(AUTH.ip, 8080, ({ path, headers }) => {
    const token = headers["x-token"] ?? "";
    asked.push({ path, token, client: headers["l5d-client-id"] ?? "" });
    return token === "bad"
      ? { status: 403, body: "not you" }
      : { headers: { "x-user": token }, body: "yes" };
  });
});
test.after(() => mesh?.end());

test("a call-out goes over the mesh, and the request goes on with what it brought", async () => {
  const answer = await mesh.call(WEB, URL_OF, { headers: { "x-token": "ada", "x-wait": "10000" } });
  assert.is(answer.status, 200, answer.body);
  assert.match(answer.body, /^ada sent /);
  assert.is(asked.length, 1);
  assert.is(asked[0]?.path, "/check");
  assert.match(asked[0]?.client ?? "", /^web\.shop\./, "with the identity of who asks, over mTLS");
});

test("what the other service says is answered, and the application hears nothing", async () => {
  const answer = await mesh.call(WEB, URL_OF, { headers: { "x-token": "bad", "x-wait": "10000" } });
  assert.equal([answer.status, answer.body], [403, "not you"]);
});

test("bodies pass a filter in both directions", async () => {
  const body = "a word ".repeat(20_000);
  const answer = await mesh.call(WEB, URL_OF, { method: "POST", body });
  assert.ok(answer.body === `nobody sent ${body.toUpperCase()}\n-- \ntulle\n`, "as it should be");
});

test("a limit by key holds, and other keys have theirs", async () => {
  const statuses = async (user: string) => {
    const all = [];
    for (let i = 0; i < 5; i++) {
      all.push((await mesh.call(WEB, URL_OF, { headers: { "x-user": user } })).status);
    }
    return all;
  };
  assert.equal(await statuses("x"), [200, 200, 200, 429, 429]);
  assert.equal(await statuses("y"), [200, 200, 200, 429, 429]);
});

test("the metrics page says what filters counted and how they are", async () => {
  const samples = await mesh.metrics(WEB);
  assert.is(sum(samples, "filter_host_traps_total", {}), 0);
  assert.ok(sum(samples, "filter_host_calls_total", { filter: "auth" }) > 10);
  assert.is(sum(samples, "filter_host_state", { filter: "pieces", state: "ready" }), 1);
  assert.ok(sum(samples, "filter_body_bytes_total", { head: "request" }) >= 140_000);
});

test.run();
