// Retries as the failing replica sees them: real processes, the `retry` filter where a WasmFilter says
// so, and the proxy's own counts of what callers and what attempts got.

import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import type { Answer } from "./support/http.ts";
import { pod, profile, service, wasmFilter, yaml } from "./support/objects.ts";
import { sum } from "./support/waiting.ts";

const NET = loopbackNet(92);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const GOOD: MeshPod = { name: "good", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const BAD: MeshPod = { name: "bad", app: "catalogue", ip: `${NET}.4`, ports: [8080] };
const REQUESTS = 60;
/** One after another they would all go to the replica that happened to be faster at first. */
const AT_ONCE = 10;
const GENEROUS = { retryRatio: 1, minRetriesPerSecond: 100, ttl: "10s" };

/**
 * Four Services over the same failing replica: with the filter, without it, with the filter but hardly
 * a budget, and without it but with a ServiceProfile that calls its one route retryable.
 */
const WITH = "with.shop.svc.cluster.local:8080";
const WITHOUT = "without.shop.svc.cluster.local:8080";
const MARKED = "marked.shop.svc.cluster.local:8080";
const SCARCE = "scarce.shop.svc.cluster.local:8080";

let mesh: TestMesh;
/** What the failing replica got: name of the request, and whether it failed it. */
const hits: { readonly id: string; readonly failed: boolean; readonly body: string }[] = [];

test.before(async () => {
  const digests = JSON.parse(
    await readFile(new URL("../../filters/build/digests.json", import.meta.url), "utf8"),
  ) as Record<string, string>;
  const retry = (name: string, serviceName: string) =>
    wasmFilter(name, {
      service: serviceName,
      sha256: digests["retry"]!,
      file: "retry.wasm",
      config: { statuses: "502-504", maxRetries: 3, backoffMs: 1 },
    });
  const both = { good: GOOD.ip, bad: BAD.ip };
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("good", GOOD.ip, "catalogue"),
        pod("bad", BAD.ip, "catalogue"),
        ...service("with", `${NET}.103`, both),
        ...service("without", `${NET}.104`, both),
        ...service("marked", `${NET}.106`, both),
        ...service("scarce", `${NET}.105`, { bad: BAD.ip }),
        profile("with", GENEROUS),
        profile("without", GENEROUS, { isRetryable: false }),
        profile("marked", GENEROUS),
        profile("scarce", { retryRatio: 0.1, minRetriesPerSecond: 1, ttl: "10s" }),
      ),
      "filters.yaml": yaml(retry("retry", "with"), retry("retry-scarce", "scarce")),
    },
    pods: [WEB, GOOD, BAD],
  });
  await mesh.serve(GOOD.ip, 8080, ({ body }) => ({ body: `good ${body}` }));
  // Fails each request once, or for ever when it asks for that: so that what retries bring is certain.
  await mesh.serve(BAD.ip, 8080, ({ headers, body }) => {
    const id = headers["x-id"] ?? "";
    const failed = headers["x-always"] !== undefined || !hits.some((h) => h.id === id);
    hits.push({ id, failed, body });
    return failed ? { status: 503, body: "not now" } : { body: `bad ${body}` };
  });
});
test.after(() => mesh?.end());
test.before.each(() => {
  hits.length = 0;
});

let requests = 0;

/** One request with a name of its own. */
function ask(
  authority: string,
  o: { method?: string; body?: string; always?: boolean } = {},
): Promise<Answer & { readonly id: string }> {
  const id = `r${++requests}`;
  const headers = { "x-id": id, ...(o.always === true ? { "x-always": "1" } : {}) };
  return mesh.call(WEB, `http://${authority}/`, { ...o, headers }).then((a) => ({ ...a, id }));
}

async function askMany(authority: string, o: Parameters<typeof ask>[1] = {}): Promise<number[]> {
  const statuses: number[] = [];
  for (let i = 0; i < REQUESTS; i += AT_ONCE) {
    const some = await Promise.all(Array.from({ length: AT_ONCE }, () => ask(authority, o)));
    statuses.push(...some.map((a) => a.status));
  }
  return statuses;
}

const count = <T>(values: readonly T[], is: (value: T) => boolean) => values.filter(is).length;

test("without the filter the caller sees what the failing replica says", async () => {
  const statuses = await askMany(WITHOUT);
  assert.ok(hits.length > 0, "the failing replica was asked");
  assert.ok(hits.every((h) => h.failed));
  assert.is(count(statuses, (s) => s === 503), hits.length);
  assert.is(count(statuses, (s) => s === 200), REQUESTS - hits.length);
});

test("with the filter the caller sees success, and the failing replica its hits", async () => {
  const statuses = await askMany(WITH);
  assert.ok(statuses.every((s) => s === 200), `${statuses}`);
  const failed = count(hits, (h) => h.failed);
  assert.ok(failed > 0, "the failing replica was asked");

  // What callers got and what attempts got are counted apart.
  const samples = await mesh.metrics(WEB);
  const of = (name: string, labels: Record<string, string>) =>
    sum(samples, name, { dst: WITH, ...labels });
  assert.is(of("route_response_total", { classification: "success" }), REQUESTS);
  assert.is(of("route_response_total", { classification: "failure" }), 0);
  assert.is(of("route_actual_response_total", { classification: "success" }), REQUESTS);
  assert.is(of("route_actual_response_total", { classification: "failure" }), failed);
  assert.is(of("route_request_total", {}), REQUESTS);
  assert.is(of("route_actual_request_total", {}), REQUESTS + failed);
  assert.is(of("route_retryable_total", {}), failed);
  const { filters } = await mesh.stats(WEB);
  assert.ok(filters.find((f) => f.name === "retry")!.calls >= REQUESTS + failed);
});

test("a route that its ServiceProfile calls retryable is retried without a filter, for any method", async () => {
  for (const method of ["GET", "POST"]) {
    const statuses = await askMany(MARKED, { method, ...(method === "GET" ? {} : { body: "1" }) });
    assert.ok(statuses.every((s) => s === 200), `${method}: ${statuses}`);
  }
  const failed = count(hits, (h) => h.failed);
  assert.ok(failed > 0, "the failing replica was asked");
  const samples = await mesh.metrics(WEB);
  const of = (name: string, labels: Record<string, string>) =>
    sum(samples, name, { dst: MARKED, ...labels });
  assert.is(of("route_response_total", { classification: "success" }), 2 * REQUESTS);
  assert.is(of("route_actual_response_total", { classification: "failure" }), failed);
  assert.is(of("route_retryable_total", {}), failed);
  const { filters } = await mesh.stats(WEB);
  assert.ok(filters.some((f) => f.name === "standard-retry" && f.calls > 0));
});

test("a body is sent again as it was", async () => {
  const bodies = Array.from({ length: 20 }, (_, i) => `${i} ${"body ".repeat(2000)}`);
  let retried = 0;
  const asked = bodies.map(async (body) => ({
    body,
    answer: await ask(WITH, { method: "PUT", body }),
  }));
  for (const { body, answer: { id, status, body: got } } of await Promise.all(asked)) {
    const attempts = hits.filter((h) => h.id === id);
    assert.is(status, 200);
    assert.ok(got === `good ${body}` || got === `bad ${body}`);
    assert.ok(attempts.every((h) => h.body === body));
    if (attempts.some((h) => h.failed)) retried++;
  }
  assert.ok(retried > 0, "some were sent again");
});

test("what is not idempotent is not repeated", async () => {
  const statuses = await askMany(WITH, { method: "POST", body: "1" });
  assert.ok(hits.length > 0 && hits.every((h) => h.failed));
  assert.is(count(statuses, (s) => s === 503), hits.length);
});

test("the budget bounds how often a replica that always fails is asked again", async () => {
  const statuses = await askMany(SCARCE, { always: true });
  assert.ok(statuses.every((s) => s === 503));
  const retries = hits.length - REQUESTS;
  // A reserve of 1/s over 10 s, and a tenth of what was asked.
  assert.ok(retries >= 10, `${retries} retries`);
  assert.ok(retries <= 10 + REQUESTS / 10, `${retries} retries`);
  const samples = await mesh.metrics(WEB);
  const wanted = (labels: Record<string, string>) =>
    sum(samples, "route_retryable_total", { dst: SCARCE, ...labels });
  assert.is(wanted({}) - wanted({ skipped: "no_budget" }), retries);
  assert.ok(wanted({ skipped: "no_budget" }) > 0);
  assert.is(sum(samples, "route_actual_request_total", { dst: SCARCE }), hits.length);
});

test("a replica that was killed costs the caller nothing, whatever the method", async () => {
  await mesh.killProxy(BAD);
  for (const method of ["GET", "POST"]) {
    const statuses = await askMany(WITH, { method, body: "1" });
    assert.ok(statuses.every((s) => s === 200), `${method}: ${statuses}`);
  }
  assert.is(hits.length, 0);
});

test.run();
