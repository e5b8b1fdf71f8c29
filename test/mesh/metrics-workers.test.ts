// Metrics of a real proxy with two worker threads: one document for both, with exemplars, and series that
// go when nobody counts in them any more.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { identityOf, loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { pod, service, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(120);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const VOTE: MeshPod = { name: "vote", app: "vote", ip: `${NET}.3`, ports: [8080] };
const TRACE = "80f198ee56343ba864fe8b2a57d3eff7";
const REQUESTS = 16;

let mesh: TestMesh;
test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("vote", VOTE.ip, "vote"),
        ...service("vote", `${NET}.103`, { vote: VOTE.ip }),
      ),
    },
    pods: [WEB],
  });
  await mesh.startProxy(VOTE, {
    LINKERD2_PROXY_CORES: "2",
    LINKERD2_PROXY_METRICS_RETAIN_IDLE: "2s",
    LINKERD2_PROXY_ACCESS_LOG: "json",
  });
  await mesh.serve(VOTE.ip, 8080, () => ({ status: 200 }));
});
test.after(() => mesh?.end());

/** Requests of the workload itself: each connection is one worker's, which the system chooses. */
const ask = (n: number) =>
  Promise.all(
    Array.from({ length: n }, () =>
      mesh.call(VOTE, "http://vote.shop.svc.cluster.local:8080/", {
        headers: { b3: `${TRACE}-e457b5a2e4d86bd1-1` },
      })),
  );
const count = async (name: string, labels = {}) => sum(await mesh.metrics(VOTE), name, labels);

test("the requests of both workers are one sum, and an exemplar of either is shown", async () => {
  await ask(REQUESTS);
  await eventually("all are counted", async () => {
    const family = "outbound_http_route_request_statuses_total";
    assert.is(await count(family, { http_status: "200" }), REQUESTS);
  });
  assert.is(await count("request_total", { direction: "outbound" }), REQUESTS);
  const document = await fetch(`http://${VOTE.ip}:4191/metrics`, {
    headers: { accept: "application/openmetrics-text" },
  }).then((r) => r.text());
  assert.match(document, `# {trace_id="${TRACE}"}`);
});

test("the access log of every worker is on standard error", async () => {
  const paths = Array.from({ length: 8 }, (_, n) => `/n${n}`);
  for (const path of paths) {
    await mesh.call(WEB, `http://vote.shop.svc.cluster.local:8080${path}`);
  }
  await eventually("each request has its line", () => {
    const lines = mesh.log.filter((line) => line.includes('"client.id"'))
      .map((line) => JSON.parse(line.slice(line.indexOf("{"))) as Record<string, unknown>);
    const ofWeb = lines.filter((line) => line["client.id"] === identityOf(WEB));
    assert.equal(ofWeb.map((line) => line["uri"]).sort(), paths);
    assert.ok(ofWeb.every((line) => line["status"] === 200));
  });
});

test("what nobody counts in goes, and begins at nothing when it comes again", async () => {
  await eventually(
    "the series are gone",
    async () => {
      const samples = await mesh.metrics(VOTE);
      const left = samples.filter(({ name, labels }) =>
        /^(request_total|response_total|outbound_http_route_request_statuses_total)$/.test(name) &&
        labels["direction"] !== "inbound"
      );
      assert.equal(left.map(({ name }) => name), []);
    },
    60_000,
  );
  await ask(1);
  await eventually("the next one is the first", async () => {
    assert.is(await count("request_total", { direction: "outbound" }), 1);
  });
});

test.run();
