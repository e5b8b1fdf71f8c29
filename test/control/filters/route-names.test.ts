// Filters for named routes, of ServiceProfiles and of routes that are objects: which run, and what is said
// of a name that nothing has.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { DEFAULT_OPTIONS } from "../../../src/control/options.ts";
import { adminState, Changes } from "../../../src/control/view.ts";
import { apply, resource } from "../support/mesh-fixture.ts";
import { route, service } from "../support/routes.ts";
import { filter, setUp, SHA1, WEB } from "./registry-fixture.ts";

test("a filter's routes may be HTTPRoutes and GRPCRoutes of its Service, and others are told", async () => {
  const t = await setUp({ yaml: filter(SHA1, "  routes: [cart, calls]\n") });
  const { cluster, registry, counters } = t;
  const state = adminState({
    mesh: { cluster, options: DEFAULT_OPTIONS, filters: registry },
    ...{ registry, counters, changes: new Changes(), issued: new Map() },
    ...{ sourceProblems: () => [], anchors: () => [], notReady: () => null },
  });
  apply(cluster, service("web", "10.0.0.1"));
  const missing = () =>
    state.problems().map((p) => /has no route "(\w+)"/.exec(p.message)?.[1] ?? p.message);
  assert.equal(missing(), ["cart", "calls"]);
  apply(cluster, route("cart", "rules: [{}]"));
  assert.equal(missing(), ["calls"]);
  apply(cluster, route("calls", "rules: [{}]", { kind: "GRPCRoute" }));
  assert.equal(missing(), []);
  assert.is(registry.refs(WEB, "cart").length, 1);
  assert.is(registry.refs(WEB, "other").length, 0);
  cluster.remove(resource(route("cart", "")));
  assert.equal(missing(), ["cart"]);
  registry.close();
});

test.run();
