import { test } from "uvu";
import * as assert from "uvu/assert";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { get, moduleBytes, refTo } from "../wasm/support.ts";

const module = moduleBytes("route-metrics");

async function open(config: object | null) {
  const engine = createEngine({ clock: new FakeClock() });
  const chain = engine.chain([await engine.prepare(module, refTo(module, config, { name: "rm" }))]);
  const request = (path: string, status: number, elapsedMs: number) => {
    const x = get(path);
    chain.requestHead(x);
    chain.end(x, status, elapsedMs);
  };
  const counts = () =>
    Object.fromEntries(
      engine.series().filter((s) => s.metric.kind === "counter").map((
        s,
      ) => [`${s.labels.route} ${s.labels.path} ${s.labels.status_class}`, s.values[0]]),
    );
  return { engine, request, counts };
}

test("route-metrics counts by route and class of status", async () => {
  const { request, counts, engine } = await open({ route: "books" });
  for (const status of [200, 204, 301, 404, 503, 0, 101]) request("/", status, 1);
  assert.equal(counts(), {
    "books other 1xx": 1,
    "books other 2xx": 2,
    "books other 3xx": 1,
    "books other 4xx": 1,
    "books other 5xx": 1,
    "books other none": 1,
  });
  assert.ok(engine.series().every((s) => s.labels.filter === "rm"));
});

test("route-metrics names a path by the first configured prefix", async () => {
  const { request, counts } = await open({ paths: ["/api/books", "/api", "/"] });
  for (const path of ["/api/books/1", "/api/votes", "/api", "/x"]) request(path, 200, 1);
  assert.equal(counts(), {
    "default /api/books 2xx": 1,
    "default /api 2xx": 2,
    "default / 2xx": 1,
  });
  const two = await open({ paths: ["/api"] });
  two.request("/ap", 200, 1);
  assert.equal(two.counts(), { "default other 2xx": 1 });
});

test("route-metrics keeps latencies in buckets, each counted once, with their sum", async () => {
  const { engine, request } = await open(null);
  for (const ms of [0.4, 1, 1.5, 30, 9999]) request("/", 200, ms);
  const histogram = engine.series().find((s) => s.metric.kind === "histogram");
  const { bounds } = histogram?.metric ?? { bounds: [] };
  const filled = histogram?.values.slice(0, -1).flatMap((n, i) =>
    n > 0 ? [[bounds[i] ?? "+Inf", n]] : []
  );
  assert.equal(filled, [[1, 2], [2, 1], [50, 1], ["+Inf", 1]]);
  assert.ok(Math.abs((histogram?.values.at(-1) ?? 0) - 10031.9) < 1e-6);
});

test("route-metrics counts on over two builds of itself", async () => {
  const engine = createEngine({ clock: new FakeClock() });
  for (const name of ["route-metrics", "route-metrics.v2"]) {
    const bytes = moduleBytes(name);
    const chain = engine.chain([
      await engine.prepare(bytes, refTo(bytes, { route: "r" }, { name: "rm" })),
    ]);
    const x = get("/");
    chain.requestHead(x);
    chain.end(x, 200, 1);
  }
  const counters = engine.series().filter((s) => s.metric.kind === "counter");
  assert.is(counters.length, 1);
  assert.equal(counters[0]?.values, [2]);
});

test.run();
