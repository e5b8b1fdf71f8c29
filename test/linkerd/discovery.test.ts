// Discovery as Linkerd's proxy does it: what is asked of the control plane and when, and what becomes of
// requests while it says nothing, says no, or goes away.

import { Code } from "@connectrpc/connect";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../mesh/support/waiting.ts";
import { add, noEndpoints } from "./support/messages.ts";
import { DIALECTS, versionOf, World } from "./support/world.ts";

let world: World;
test.before(async () => {
  world = await World.start(120, {
    env: { LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT: "1s" },
  });
});
test.after(() => world?.end());

for (const dialect of DIALECTS) {
  const version = versionOf(dialect);

  test(`${dialect}: an address is looked up once, and requests go where the control plane says`, async () => {
    // A whole URL goes on as such.
    const app = await world.app(version, ({ path }) => `at /${path.split("/").at(-1)}`);
    const service = world.service("asked", app.at);
    const { control } = world;
    assert.is((await world.ask(dialect, service, "/one")).body, "at /one");
    assert.is((await world.ask(dialect, service, "/two")).body, "at /two");
    // Each request came on a connection of its own.
    assert.is(control.profile.at(service.clusterAddr).opened, 1);
    assert.is(control.outbound.at(service.clusterAddr).opened, 1);
    assert.is(control.get.at(service.path).opened, 1);
  });

  test(`${dialect}: streams that end are opened again, and requests are served meanwhile`, async () => {
    const app = await world.app(version, "still here");
    const service = world.service("ended", app.at);
    const feeds = [
      world.control.profile.at(service.clusterAddr),
      world.control.outbound.at(service.clusterAddr),
      world.control.get.at(service.path),
    ];
    assert.is((await world.ask(dialect, service)).body, "still here");
    for (const feed of feeds) feed.end();
    assert.is((await world.ask(dialect, service)).body, "still here");
    await eventually("they are open again", () => {
      assert.equal(feeds.map((f) => [f.opened, f.open]), [[2, 1], [2, 1], [2, 1]]);
    });
    assert.is((await world.ask(dialect, service)).body, "still here");
  });

  for (const [what, exists] of [["has no endpoints", true], ["does not exist", false]] as const) {
    test(`${dialect}: a destination that ${what} is 504 soon, and not the original address`, async () => {
      const trap = await world.app(version, "the original address");
      const service = { ...world.named("empty"), clusterAddr: trap.at };
      world.know(service);
      world.control.get.at(service.path).set(noEndpoints(exists));
      assert.is((await world.ask(dialect, service)).status, 504);
      assert.is(trap.connections, 0);
    });

    test(`${dialect}: after a reconnect, a destination that ${what} has lost its endpoints`, async () => {
      const app = await world.app(version, "before");
      const service = world.service("reset", app.at);
      const feed = world.control.get.at(service.path);
      assert.is((await world.ask(dialect, service)).body, "before");
      feed.next(noEndpoints(exists)).end();
      await eventually("the second stream", () => assert.is(feed.opened, 2));
      await eventually("no endpoint", async () => {
        assert.is((await world.ask(dialect, service)).status, 504);
      });
    });
  }

  test(`${dialect}: a destination of which nothing is said is 504 soon`, async () => {
    const service = world.service("silent");
    assert.is((await world.ask(dialect, service)).status, 504);
  });

  test(`${dialect}: an address of which neither profile nor policy is known is gone to as it is`, async () => {
    const app = await world.app(version, "my own site");
    const site = { name: "my-own-site.example", clusterAddr: app.at };
    assert.is((await world.ask(dialect, site)).body, "my own site");
    assert.is(world.control.profile.at(app.at).opened, 1);
    assert.equal(world.control.get.asked()[app.at], undefined, "no endpoints are asked for");
  });
}

test("an address outside the profile networks is not asked a profile of", async () => {
  const app = await world.app("http1", "elsewhere", "127.0.0.77");
  const other = await World.start(122, {
    env: { LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS: "192.0.2.0/24" },
  });
  try {
    const site = { name: "elsewhere.example", clusterAddr: app.at };
    assert.is((await other.ask("HTTP/1", site)).body, "elsewhere");
    assert.equal(other.control.profile.asked(), {});
    assert.is(other.control.outbound.at(app.at).opened, 1);
  } finally {
    await other.end();
  }
});

test("a control plane that cannot be reached at first is reached when it is there", async () => {
  const app = await world.app("http1", "late");
  const service = world.named("late");
  const { control } = world;
  control.outbound.at(service.clusterAddr).refuse(Code.Unavailable);
  control.profile.at(service.clusterAddr).refuse(Code.Unavailable);
  const early = world.ask("HTTP/1", service);
  await eventually("it was tried", () => {
    assert.ok(control.outbound.at(service.clusterAddr).opened >= 2);
  });
  world.know(service);
  control.get.at(service.path).set(add([app.at]));
  await early;
  await eventually("it is served", async () => {
    assert.is((await world.ask("HTTP/1", service)).body, "late");
  });
});

test.run();
