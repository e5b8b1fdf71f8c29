// Two proxies of a mesh, both with worker threads: mutual TLS between them, filters that a roll-out
// replaces, a certificate that reaches every worker, and figures of all threads.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { availableCpus } from "../../src/runtime/workers.ts";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { testUnless } from "../support/skip.ts";
import { ask } from "./support/http.ts";
import { startLoad } from "./support/load.ts";
import { pod, service, wasmFilter, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(108);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const CATALOGUE: MeshPod = { name: "catalogue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const URL_OF_IT = "http://catalogue.shop.svc.cluster.local:8080/";
const SLOW_MACHINE_MS = 30_000;
const MISSING = availableCpus() < 2 ? "one CPU, on which a proxy has no workers" : null;

const modifier = (value: string, sha256: string, file: string) =>
  yaml(wasmFilter("header-modifier", {
    service: "catalogue",
    sha256,
    file,
    order: 10,
    config: { responseSet: { "x-edited": value } },
  }));

testUnless(
  MISSING,
  test,
  "two proxies with workers carry requests, roll a filter out and count them",
  async () => {
    const digests = await Promise.all(
      ["header-modifier", "header-modifier.v2"].map(async (name) => {
        const wasm = await readFile(new URL(`../../filters/build/${name}.wasm`, import.meta.url));
        return createHash("sha256").update(wasm).digest("hex");
      }),
    );
    const mesh = await TestMesh.start({
      net: NET,
      files: {
        "mesh.yaml": yaml(
          pod("web", WEB.ip, "web"),
          pod("catalogue", CATALOGUE.ip, "catalogue"),
          ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
        ),
        "modifier.yaml": modifier("first", digests[0]!, "header-modifier.wasm"),
      },
      pods: [],
    });
    try {
      for (const one of [WEB, CATALOGUE]) {
        await mesh.startProxy(one, { LINKERD2_PROXY_CORES: "2" });
      }
      await mesh.serve(CATALOGUE.ip, 8080, () => ({ body: "ok" }));
      // Each request on a connection of its own: the kernel gives them to both workers.
      const call = () =>
        ask({
          host: WEB.ip,
          port: 4140,
          localAddress: WEB.ip,
          path: URL_OF_IT,
          headers: { host: new URL(URL_OF_IT).host },
          agent: false,
        });
      await eventually("the first filter serves", async () => {
        assert.is((await call()).headers["x-edited"], "first");
      }, SLOW_MACHINE_MS);
      const load = startLoad(4, call);
      const allServe = (value: string) =>
        eventually(`all serve ${value}`, async () => {
          const answers = await Promise.all(Array.from({ length: 20 }, call));
          assert.equal([...new Set(answers.map((a) => a.headers["x-edited"]))], [value]);
        }, SLOW_MACHINE_MS);
      await allServe("first");
      await mesh.write("modifier.yaml", modifier("second", digests[1]!, "header-modifier.v2.wasm"));
      await allServe("second");
      await load.stop();
      assert.equal(load.failures, []);
      assert.ok(load.done > 20);
      // Each worker reports what it ran; the newest version may be a moment behind its answers.
      await eventually("the status says that the second serves", async () => {
        const { filters, proxy } = await mesh.stats(WEB);
        assert.is(filters.find((f) => f.sha256 === digests[1])?.state, "ready");
        assert.ok(proxy.mtlsConnections > 0);
      }, SLOW_MACHINE_MS);
      for (const one of [WEB, CATALOGUE]) {
        const samples = await mesh.metrics(one);
        assert.is(sum(samples, "worker_threads_serving"), 2);
        assert.is(sum(samples, "worker_exits_total"), 0);
        assert.ok(sum(samples, "request_total") >= load.done);
      }
      assert.ok(sum(await mesh.metrics(CATALOGUE), "inbound_http_authz_allow_total") >= load.done);
      assert.not.ok(mesh.log.some((line) => line.includes("PRIVATE KEY")));
    } finally {
      await mesh.end();
    }
  },
);

test.run();
