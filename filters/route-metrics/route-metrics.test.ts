import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

test("route-metrics counts requests by path and class of status", async () => {
  const config = { route: "shop", paths: ["/items", "/cart"] };
  const filter = await loadFilter(import.meta.dirname ?? ".", { config });
  const ended = [["/items/1", 200], ["/items/2", 503], ["/about", 200], ["/cart", 0]] as const;
  for (const [path, status] of ended) {
    filter.request({ path });
    filter.end({ status, elapsedMs: 4 });
  }
  const requests = (labels: Record<string, string>) =>
    filter.metric("route_requests_total", labels);
  assert.is(requests({ route: "shop" }), 4);
  assert.is(requests({ path: "/items" }), 2);
  assert.is(requests({ path: "/items", status_class: "5xx" }), 1);
  assert.is(requests({ path: "other" }), 1);
  assert.equal(filter.histogram("route_latency_ms", { path: "/items" }), { count: 2, sum: 8 });
});

test.run();
