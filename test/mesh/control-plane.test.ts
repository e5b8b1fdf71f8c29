// What the control plane's folder and its death mean to requests: real processes, a load that never
// stops, edits of YAML, good and bad, and a control plane that is killed and comes back.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { identityOf, loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { type Load, startLoad } from "./support/load.ts";
import { allow, pod, service, yaml } from "./support/objects.ts";
import { eventually, pause, sum } from "./support/waiting.ts";

const NET = loopbackNet(96);
const LOAD: MeshPod = { name: "load", app: "load", ip: `${NET}.1`, ports: [] };
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const A: MeshPod = { name: "catalogue-a", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const B: MeshPod = { name: "catalogue-b", app: "catalogue", ip: `${NET}.4`, ports: [8080] };
const CATALOGUE = "http://catalogue.shop.svc.cluster.local:8080/";

let mesh: TestMesh;
let load: Load;
/** Requests that each replica got. */
const hits = { a: 0, b: 0 };

/** The Service with these pods behind it. */
const endpoints = (...pods: readonly MeshPod[]) =>
  yaml(...service("catalogue", `${NET}.103`, Object.fromEntries(pods.map((p) => [p.name, p.ip]))));

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "pods.yaml": yaml(
        pod("load", LOAD.ip, "load"),
        pod("web", WEB.ip, "web"),
        pod("catalogue-a", A.ip, "catalogue"),
        pod("catalogue-b", B.ip, "catalogue"),
      ),
      "policy.yaml": yaml(...allow("catalogue", "http", "HTTP/1", ["web", "load"])),
      "service.yaml": endpoints(A),
    },
    pods: [WEB, A, B],
  });
  await mesh.serve(A.ip, 8080, () => (hits.a++, { body: "a" }));
  await mesh.serve(B.ip, 8080, () => (hits.b++, { body: "b" }));
  load = startLoad(6, () => mesh.call(WEB, CATALOGUE));
  await eventually("the load", () => assert.ok(load.done > 20));
});
test.after(async () => {
  await load?.stop();
  await mesh?.end();
});

/** Requests reach a replica from now on. */
async function reaches(name: "a" | "b"): Promise<void> {
  const before = hits[name];
  await eventually(`requests reach ${name}`, () => assert.ok(hits[name] > before + 5));
}

/** They no longer do. */
async function leaves(name: "a" | "b"): Promise<void> {
  await eventually(`requests leave ${name}`, async () => {
    const before = hits[name];
    const done = load.done;
    await eventually("the load goes on", () => assert.ok(load.done > done + 30));
    assert.is(hits[name], before);
  });
}

/** A line of the control plane's log that matches. */
async function complains(line: RegExp): Promise<void> {
  await eventually(`the control plane says ${line}`, () => {
    assert.ok(mesh.log.some((l) => l.startsWith("control plane: ") && line.test(l)));
  });
}

test("an endpoint that is added is used, one that is removed is left, and no request fails", async () => {
  assert.is(hits.b, 0);
  await mesh.write("service.yaml", endpoints(A, B));
  await reaches("b");
  await mesh.write("service.yaml", endpoints(B));
  await leaves("a");
  await mesh.write("service.yaml", endpoints(A));
  await leaves("b");
  await reaches("a");
  assert.equal(load.failures, []);
});

test("a file that is no YAML is named with its line, and the rest is served", async () => {
  await mesh.write("broken.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: [}\n");
  await complains(/WARN .*broken\.yaml:3: /);
  await mesh.write("service.yaml", endpoints(A, B));
  await reaches("b");
  await mesh.remove("broken.yaml");
  assert.equal(load.failures, []);
});

test("an object with a bad field is named with line and field, and its last version stays", async () => {
  const lines = endpoints(A).split("\n");
  const at = lines.findIndex((line) => line.includes("addresses:")) + 1;
  const bad = lines.map((line, i) => i === at ? line.replace(A.ip, "not-an-address") : line);
  await mesh.write("service.yaml", bad.join("\n"));
  await complains(
    new RegExp(
      `WARN .*service\\.yaml:${
        at + 1
      }: EndpointSlice shop/catalogue-1: .*addresses.*not-an-address` +
        ".*; the version before it stays in force",
    ),
  );
  await reaches("a");
  await reaches("b");
  await mesh.write("service.yaml", endpoints(A));
  await leaves("b");
  assert.equal(load.failures, []);
});

test("a control plane that is killed and restarted costs no request, and edits reach proxies again", async () => {
  const anchors = mesh.control.trustAnchors;
  const crossed = await load.crossing(async () => {
    await mesh.killControl();
    // What was known last goes on.
    const before = sum(await mesh.metrics(A), "request_total", { direction: "inbound" });
    await eventually("requests without a control plane", async () => {
      const now = sum(await mesh.metrics(A), "request_total", { direction: "inbound" });
      assert.ok(now > before + 50);
    });
    await mesh.write("service.yaml", endpoints(A, B)); // nobody reads it yet
    await pause(500);
    assert.is((await mesh.call(WEB, CATALOGUE)).body, "a");
    await mesh.startControl();
    await reaches("b");
    await mesh.write("service.yaml", endpoints(B));
    await leaves("a");
  });
  assert.ok(crossed > 100);
  assert.equal(load.failures, []);
  // The same authority: a proxy that starts now is trusted by those that started before.
  assert.is(mesh.control.trustAnchors, anchors);
  await mesh.startProxy(LOAD);
  assert.is((await mesh.call(LOAD, CATALOGUE)).body, "b");
  assert.ok(
    sum(await mesh.metrics(B), "request_total", { tls: "true", client_id: identityOf(LOAD) }) > 0,
  );
});

test("a policy that is withdrawn and given again is obeyed on open connections", async () => {
  await load.stop();
  const statuses = async (status: number) => {
    await eventually(`status ${status}`, async () => {
      assert.is((await mesh.call(WEB, CATALOGUE)).status, status);
    });
  };
  await statuses(200);
  await mesh.write("policy.yaml", yaml(...allow("catalogue", "http", "HTTP/1", ["load"])));
  await statuses(403);
  assert.is((await mesh.call(LOAD, CATALOGUE)).status, 200);
  await mesh.write("policy.yaml", yaml(...allow("catalogue", "http", "HTTP/1", ["load", "web"])));
  await statuses(200);
  assert.equal(load.failures, []);
});

test.run();
