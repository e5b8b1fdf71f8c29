// A traffic split between real processes: a ServiceProfile's dstOverrides share a Service's requests by
// weight over two others, each with pods of its own, and a part without pods is passed over.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { NAMESPACE, pod, service, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(110);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const BLUE: MeshPod = { name: "blue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const GREEN: MeshPod = { name: "green", app: "catalogue", ip: `${NET}.4`, ports: [8080] };
const nameOf = (service: string) => `${service}.${NAMESPACE}.svc.cluster.local`;
const SHARED = `${nameOf("shared")}:8080`;
const REQUESTS = 400;
const AT_ONCE = 20;

let mesh: TestMesh;

const objects = (blue: Readonly<Record<string, string>>) =>
  yaml(
    pod("web", WEB.ip, "web"),
    pod("blue", BLUE.ip, "catalogue"),
    pod("green", GREEN.ip, "catalogue"),
    ...service("shared", `${NET}.103`, { green: GREEN.ip }),
    ...service("blue", `${NET}.104`, blue),
    ...service("green", `${NET}.105`, { green: GREEN.ip }),
    {
      apiVersion: "linkerd.io/v1alpha2",
      kind: "ServiceProfile",
      metadata: { name: nameOf("shared"), namespace: NAMESPACE },
      spec: {
        dstOverrides: [
          { authority: `${nameOf("blue")}:8080`, weight: "750m" },
          { authority: `${nameOf("green")}:8080`, weight: "250m" },
        ],
      },
    },
  );

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: { "mesh.yaml": objects({ blue: BLUE.ip }) },
    pods: [WEB, BLUE, GREEN],
  });
  await mesh.serve(BLUE.ip, 8080, () => ({ body: "blue" }));
  await mesh.serve(GREEN.ip, 8080, () => ({ body: "green" }));
});
test.after(() => mesh?.end());

/** How many of the answers came from where. */
async function askMany(requests: number): Promise<Record<string, number>> {
  const answers: Record<string, number> = {};
  for (let i = 0; i < requests; i += AT_ONCE) {
    const some = await Promise.all(
      Array.from({ length: AT_ONCE }, () => mesh.call(WEB, `http://${SHARED}/`)),
    );
    for (const { status, body } of some) {
      const what = status === 200 ? body : String(status);
      answers[what] = (answers[what] ?? 0) + 1;
    }
  }
  return answers;
}

test("requests go to both parts by weight, and metrics tell them apart", async () => {
  const answers = await askMany(REQUESTS);
  // 300 of 400; the standard deviation is 8.7, and six of them are allowed.
  assert.ok(Math.abs((answers["blue"] ?? 0) - 300) < 52, JSON.stringify(answers));
  assert.is((answers["blue"] ?? 0) + (answers["green"] ?? 0), REQUESTS);
  const samples = await mesh.metrics(WEB);
  for (const part of ["blue", "green"]) {
    const authority = `${nameOf(part)}:8080`;
    assert.is(sum(samples, "request_total", { direction: "outbound", authority }), answers[part]);
  }
});

test("a part that has no pods any more leaves its share to the other", async () => {
  await mesh.write("mesh.yaml", objects({}));
  await eventually("all of it goes to green", async () => {
    assert.equal(await askMany(AT_ONCE), { green: AT_ONCE });
  });
  assert.equal(await askMany(100), { green: 100 });
});

test.run();
