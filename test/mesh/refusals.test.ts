// What a caller is told when the mesh cannot serve it: one status each, with the reason in
// `l5d-proxy-error`, a count, and service again as soon as it is possible. Real processes.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import type { Answer, Said } from "./support/http.ts";
import { pod, profile, service, unmeshed, yaml } from "./support/objects.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(100);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const CATALOGUE: MeshPod = { name: "catalogue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
/** Has neither a proxy nor an application. */
const GONE: MeshPod = { name: "gone", app: "vote", ip: `${NET}.4`, ports: [8080] };
/** Has no proxy: an address where nobody listens. */
const BARE_IP = `${NET}.5`;
const MAX_IN_FLIGHT = 3;
const FAILFAST_MS = 400;

let mesh: TestMesh;
/** Requests that the application holds, until each is answered. */
const held: ((said: Said) => void)[] = [];

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("catalogue", CATALOGUE.ip, "catalogue"),
        pod("gone", GONE.ip, "vote"),
        ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
        ...service("gone", `${NET}.104`, { gone: GONE.ip }),
        unmeshed(pod("bare", BARE_IP, "vote")),
        ...service("bare", `${NET}.107`, { bare: BARE_IP }),
        ...service("hasty", `${NET}.105`, { catalogue: CATALOGUE.ip }),
        profile("hasty", { retryRatio: 0, minRetriesPerSecond: 0, ttl: "10s" }, {
          timeout: "200ms",
        }),
      ),
      "empty.yaml": yaml(...service("empty", `${NET}.106`, {})),
    },
    pods: [CATALOGUE],
  });
  await mesh.startProxy(WEB, {
    LINKERD2_PROXY_OUTBOUND_MAX_IN_FLIGHT: String(MAX_IN_FLIGHT),
    LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT: `${FAILFAST_MS}ms`,
  });
  await mesh.serve(
    CATALOGUE.ip,
    8080,
    ({ path }) => path === "/slow" ? new Promise((resolve) => held.push(resolve)) : { body: "ok" },
  );
});
test.after(() => mesh?.end());

const call = (name: string, path = "/") =>
  mesh.call(WEB, `http://${name}.shop.svc.cluster.local:8080${path}`);

/** The status and a reason that matches, and one more of `error` in the caller's proxy's metrics. */
async function refused(
  error: string,
  status: number,
  reason: RegExp,
  ask: () => Promise<Answer>,
): Promise<void> {
  const count = async () => sum(await mesh.metrics(WEB), "outbound_http_errors_total", { error });
  const before = await count();
  const answer = await ask();
  assert.is(answer.status, status);
  const said = answer.headers["l5d-proxy-error"] ?? "";
  assert.ok(reason.test(said), said);
  assert.is(await count(), before + 1);
}

test("a service that does not exist is 404", async () => {
  const why = /No such service: nothing\.shop\.svc\.cluster\.local:8080$/;
  await refused("no-service", 404, why, () => call("nothing"));
});

test("a name outside the mesh is 404", async () => {
  const why = /example\.com is outside the mesh/;
  await refused("no-service", 404, why, () => mesh.call(WEB, "http://www.example.com/"));
});

test("a service without a ready endpoint is 504, and served once there is one", async () => {
  const why = /^No endpoint of empty\.shop\.svc\.cluster\.local:8080 is ready/;
  const started = performance.now();
  await refused("failfast", 504, why, () => call("empty"));
  assert.ok(performance.now() - started >= FAILFAST_MS - 50, "it waits for one first");
  const again = performance.now();
  await refused("failfast", 504, why, () => call("empty"));
  assert.ok(performance.now() - again < FAILFAST_MS, "the next fails at once");
  await mesh.write(
    "empty.yaml",
    yaml(...service("empty", `${NET}.106`, { catalogue: CATALOGUE.ip })),
  );
  await eventually("it is served", async () => assert.is((await call("empty")).body, "ok"));
});

test("an endpoint of HTTP/1 that refuses connections is 502 with its address", async () => {
  await refused("i/o", 502, new RegExp(`${BARE_IP}.*ECONNREFUSED`), () => call("bare"));
});

test("a meshed endpoint that refuses connections is waited for, then 504 with its address", async () => {
  const why = new RegExp(
    `^No endpoint of gone\\.shop.* can be connected to: .*${GONE.ip}.*ECONNREFUSED`,
  );
  const started = performance.now();
  await refused("failfast", 504, why, () => call("gone"));
  assert.ok(performance.now() - started >= FAILFAST_MS - 50, "it waits for one first");
});

test("an answer that takes longer than its route allows is 504", async () => {
  const why = /^No response on route all within 200 ms$/;
  await refused("response timeout", 504, why, () => call("hasty", "/slow"));
  held.splice(0).forEach((answer) => answer({}));
});

test("more requests at once than the bound are 503, and served when others are done", async () => {
  const asked = Array.from({ length: MAX_IN_FLIGHT }, () => call("catalogue", "/slow"));
  await eventually("they arrived", () => assert.is(held.length, MAX_IN_FLIGHT));
  const why = new RegExp(`^${MAX_IN_FLIGHT} requests are in flight, which is the limit$`);
  await refused("loadshed", 503, why, () => call("catalogue"));
  held.splice(0).forEach((answer) => answer({ body: "late" }));
  assert.equal((await Promise.all(asked)).map((a) => a.body), Array(MAX_IN_FLIGHT).fill("late"));
  assert.is((await call("catalogue")).status, 200);
});

test.run();
