// Our proxy under a control plane that is not ours: every message that it gets is built and encoded with
// Linkerd's own types, and what it asks is read with them.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { CLIENT_IP, identityOf } from "../linkerd/support/proxy.ts";
import { eventually } from "../mesh/support/waiting.ts";
import { testUnless } from "../support/skip.ts";
import { NO_PEER } from "./support/peer.ts";
import { MESHED, WEB, World } from "./support/world.ts";

for (const [version, half] of [["http1", 160], ["http2", 162]] as const) {
  const world = new World(version, half);
  const worldTest = (name: string, body: () => void | Promise<void>) =>
    testUnless(NO_PEER, test, `${version}: ${name}`, body);
  if (NO_PEER === null) await world.start();
  test.after(() => world.end());

  worldTest("certificates and policies are asked for as Linkerd's proxy does", () => {
    const { linkerd } = world;
    const certify = linkerd.of("Certify").find((c) => c["identity"] === identityOf("web"));
    assert.is(certify?.["token"], "a token");
    const workload = '{"ns":"test","pod":"web"}';
    assert.ok(
      linkerd.of("WatchPort").some((w) => w["workload"] === workload && w["port"] === 8080),
    );
  });

  worldTest("a request goes to the endpoint that Get tells", async () => {
    const { status, body } = await world.request("web", WEB, "/");
    assert.equal([status, body], [200, "v1 /"]);
    const token = '{"ns":"test","pod":"web","nodeName":"node"}';
    const gets = world.linkerd.of("Get");
    assert.ok(gets.some((g) => g["path"] === `${WEB.host}:8080` && g["token"] === token));
    assert.ok(world.linkerd.of("Watch").some((w) => w["target"] === WEB.addr));
    assert.ok(world.linkerd.of("GetProfile").some((g) => g["path"] === WEB.addr));
  });

  worldTest("a header routes, and headers are changed", async () => {
    const headers = { "x-version": "2", "x-secret": "s" };
    const { body, headers: got } = await world.request("web", WEB, "/a", headers);
    assert.is(body, "v2 /a");
    const saw = JSON.parse(String(got["x-saw"]));
    assert.equal([saw["x-routed"], saw["x-secret"]], ["by-header", undefined]);
  });

  worldTest("a time-out, an injected failure and a redirect", async () => {
    // The application would answer after two seconds.
    assert.is((await world.request("web", WEB, "/slow")).status, 504);
    assert.is((await world.request("web", WEB, "/tea")).status, 418);
    const moved = await world.request("web", WEB, "/old/a");
    assert.is(moved.status, 301);
    assert.is(moved.headers["location"], "https://new.example/new/a");
  });

  worldTest("from outside: what a route's authorization admits, and no more", async () => {
    assert.is(await world.fromOutside("/public"), 200);
    assert.is(await world.fromOutside("/private"), 403);
    assert.is(await world.fromOutside("/near"), 200, `${CLIENT_IP} is in the network`);
    assert.is(await world.fromOutside("/far"), 403);
    assert.is(await world.fromOutside("/none"), 404);
  });

  worldTest("over mesh TLS: the identity that may, and one that may not", async () => {
    // Other proxies come to the mesh port itself and say in the transport header where to.
    world.proxy("web").inbound = null;
    const admitted = await world.request("admin", MESHED, "/private");
    assert.equal([admitted.status, admitted.body], [200, "meshed /private"]);
    const saw = JSON.parse(String(admitted.headers["x-saw"]));
    assert.is(saw["l5d-client-id"], identityOf("admin"));
    assert.is((await world.request("other", MESHED, "/private")).status, 403);
    assert.is((await world.request("other", MESHED, "/public")).status, 200);
  });

  worldTest("an endpoint that moves is followed", async () => {
    world.linkerd.move(world.app(1));
    await eventually("requests reach the new endpoint", async () => {
      assert.is((await world.request("web", WEB, "/")).body, "v2 /");
    }, 30_000);
  });
}

test.run();
