// Discovery of the ServiceProfile of a name alone, as the inbound side asks for it.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code } from "@connectrpc/connect";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import { MAX_PROFILES } from "../../../src/proxy/discovery/mesh.ts";
import { settle } from "../../support/fake-clock.ts";
import { profile, ready, route, setUp, WEB, wireProfile } from "./mesh-fixture.ts";

const ALL = { match: { kind: "all", of: [] } } as const;

test("outbound() says the canonical name where the ServiceProfile decides, and nowhere else", async () => {
  const s = setUp();
  const watched = await ready(s);
  assert.is(watched.value?.canonical, null, "a profile without routes decides nothing");
  s.control.profile.at(WEB).send(wireProfile({ routes: [route("a", ALL)] }));
  await settle();
  assert.is(watched.value?.canonical, WEB);
  s.control.profile.at(WEB).send(wireProfile({
    overrides: [{ authority: "other.shop.svc.cluster.local:80", weight: 1 }],
  }));
  await settle();
  assert.is(watched.value?.canonical, WEB, "the service that was meant, not where it goes");
  s.control.profile.at(WEB).send(wireProfile({ routes: [route("a", ALL)], opaque: true }));
  await settle();
  assert.is(watched.value?.canonical, null);
  await s.done();
});

test("a profile is looked up by its name alone: no policy, no endpoints, and no filters on its routes", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ profile: WEB });
  await settle();
  assert.equal(s.control.profile.opened.map((p) => p.subject), [WEB]);
  assert.is(s.control.outbound.opened.length + s.control.get.opened.length, 0);
  assert.is(watched.value, null);
  const a = route("a", { ...ALL, labels: { route: "a" }, timeoutMs: 100 });
  s.control.profile.at(WEB).send(wireProfile({ routes: [a] }));
  await settle();
  const routes = watched.value?.routes ?? [];
  assert.equal(routes.map(({ route: r }) => r.labels), [{ route: "a" }, {}]);
  for (const { route: r, chain } of routes) {
    assert.is(chain, NO_FILTERS);
    assert.equal([r.retry, r.timeoutMs, r.filters.length], [null, 0, 0]);
  }
  assert.is(watched.value?.authority, WEB);
  // The last one stays while the control plane is away; an empty one counts nothing.
  s.control.profile.at(WEB).fail(Code.Unavailable);
  await settle();
  assert.is(watched.value?.routes.length, 2);
  await s.clock.advanceAsync(200);
  s.control.profile.at(WEB).send(wireProfile(profile()));
  await settle();
  assert.equal(watched.value?.routes, []);
  await s.done();
});

test("a profile is shared, let go when idle, and never asked for outside the suffixes or the bound", async () => {
  const s = setUp({ inbound: { discoveryIdleMs: 1000 } });
  const one = s.mesh.outbound({ profile: WEB });
  const two = s.mesh.outbound({ profile: WEB });
  for (const name of ["10.1.1.1:80", "example.com:80", "", "a.b.svc.cluster.local:x"]) {
    assert.is(s.mesh.outbound({ profile: name }).value, null);
  }
  await settle();
  assert.is(s.control.profile.opened.length, 1);
  one.release();
  two.release();
  await s.clock.advanceAsync(1000);
  assert.is(s.control.profile.opened[0]?.cancelled, true);
  const held = Array.from(
    { length: MAX_PROFILES + 20 },
    (_, i) => s.mesh.outbound({ profile: `n${i}.shop.svc.cluster.local:80` }),
  );
  await settle();
  assert.is(s.control.profile.opened.length, 1 + MAX_PROFILES);
  assert.match(held.at(-1)?.why ?? "", /is not looked up: 200 others are in use$/);
  // What nobody reads makes room.
  held[0]?.release();
  s.mesh.outbound({ profile: "late.shop.svc.cluster.local:80" });
  await settle();
  assert.is(s.control.profile.opened.length, 2 + MAX_PROFILES);
  await s.done();
});

test.run();
