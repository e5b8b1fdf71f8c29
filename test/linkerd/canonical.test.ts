// `l5d-dst-canonical` between two proxies, under Linkerd's control plane: what the inbound side counts by
// the routes of the ServiceProfile that the client's side used.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { add, profile, profileRoute, responseClass } from "./support/messages.ts";
import { startProxy, type TestProxy } from "./support/proxy.ts";
import { type Dialect, type Service, World } from "./support/world.ts";

let world: World;
let inbound: TestProxy;
test.before(async () => {
  world = await World.start(150);
  inbound = await startProxy(world.control, { ip: `${world.net}.3`, name: "app" });
  inbound.inbound = null; // everybody comes to the mesh port itself
  world.onEnd(() => inbound.end());
});
test.after(() => world?.end());

/** A Service whose only endpoint is meshed, with a profile for clients and by its name. */
function meshed(at: string, service: Service, routes = true): void {
  const { identity } = inbound;
  world.control.get.at(service.path).set(
    add([[at, { identity, inboundPort: 4143, hint: "h2" }]]),
  );
  if (!routes) return;
  const said = profile(service.name, {
    routes: [profileRoute({
      condition: { path: { regex: "/a.*" } },
      metricsLabels: { route: "a" },
      responseClasses: [responseClass(404, 404, true)],
    })],
  });
  world.control.profile.at(service.clusterAddr).set(said);
  world.control.profile.at(service.path).set(said);
}

for (const dialect of ["HTTP/1", "HTTP/2"] as const satisfies readonly Dialect[]) {
  test(`${dialect}: the inbound side counts by the routes of the ServiceProfile`, async () => {
    const app = await world.app(
      dialect === "HTTP/1" ? "http1" : "http2",
      ({ path }) => ({ status: path === "/a/gone" ? 404 : 200, body: "hello" }),
      inbound.ip,
    );
    const service = world.service("canonical");
    meshed(app.at, service);
    const labels = { direction: "inbound", dst: service.path };
    const count = async (name: string, more: Readonly<Record<string, string>> = {}) =>
      sum(await inbound.metrics(), name, { ...labels, ...more });
    await eventually("the profile is known", async () => {
      await world.ask(dialect, service, "/a");
      assert.ok(await count("route_request_total", { rt_route: "a" }) >= 1);
    });
    assert.is((await world.ask(dialect, service, "/a/gone")).status, 404);
    assert.is((await world.ask(dialect, service, "/other")).status, 200);
    await eventually("the requests are counted", async () => {
      const failed = { rt_route: "a", status_code: "404", classification: "failure" };
      assert.is(await count("route_response_total", failed), 1);
      assert.ok(await count("route_response_latency_ms_count", { rt_route: "a" }) >= 2);
      const of = await count("route_request_total", { rt_route: "a" });
      assert.is(await count("route_request_total") - of, 1);
    });
    assert.is(await count("route_actual_request_total"), 0);
    assert.ok(app.got.every(({ headers }) => headers["l5d-dst-canonical"] === undefined));
  });
}

test("a Service without ServiceProfile is not named, and a name that a client made up is nobody's", async () => {
  const app = await world.app("http1", "hello", inbound.ip);
  const service = world.service("plain");
  meshed(app.at, service, false);
  const headers = { "l5d-dst-canonical": "made-up.test.svc.cluster.local:8080" };
  for (let i = 0; i < 3; i++) await world.ask("HTTP/1", service, "/", { headers });
  assert.is(app.got.length, 3);
  assert.ok(app.got.every((got) => got.headers["l5d-dst-canonical"] === undefined));
  const metrics = await inbound.metrics();
  const named = { direction: "inbound" };
  assert.is(sum(metrics, "route_request_total", { ...named, dst: service.path }), 0);
  const other = { ...named, dst: headers["l5d-dst-canonical"] };
  assert.is(sum(metrics, "route_request_total", other), 0);
});

test.run();
