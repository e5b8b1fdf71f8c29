// Ingress mode: an application that is a proxy itself says in `l5d-dst-override` which service a request
// is for. The real proxy, over a control plane that the test plays.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { sum } from "../mesh/support/waiting.ts";
import { add, policy, profile } from "./support/messages.ts";
import { World } from "./support/world.ts";

let world: World;
test.before(async () => {
  world = await World.start(138, { env: { LINKERD2_PROXY_INGRESS_MODE: "true" } });
});
test.after(() => world?.end());

/** Known by name, as what a header says is looked up. */
function known(label: string, at: string) {
  const service = world.named(label);
  world.control.profile.at(service.path).set(profile(service.name));
  world.control.outbound.at(service.path).set(policy(service.path));
  world.control.get.at(service.path).set(add([at]));
  return service;
}

for (const dialect of ["HTTP/1", "HTTP/2"] as const) {
  test(`${dialect}: the header decides, whatever the address, and goes no further`, async () => {
    const version = dialect === "HTTP/1" ? "http1" : "http2";
    const there = await world.app(version, "where the header says");
    const here = await world.app(version, "where the connection goes");
    const named = known("named", there.at);
    const connected = world.service("connected", here.at);
    const headers = { "l5d-dst-override": named.path.toUpperCase() };
    const answer = await world.ask(dialect, connected, "/a", { headers });
    assert.is(answer.body, "where the header says");
    assert.is(there.got[0]?.headers["l5d-dst-override"], undefined);
    assert.is(here.got.length, 0);
  });
}

test("a request without it goes where its connection does, and is counted", async () => {
  const app = await world.app("http1", "here");
  const service = world.service("plain", app.at);
  const name = "outbound_http_ingress_without_override_total";
  const before = sum(await world.proxy.metrics(), name);
  assert.is((await world.ask("HTTP/1", service)).body, "here");
  assert.is(sum(await world.proxy.metrics(), name), before + 1);
});

test("requests of one connection may name different services", async () => {
  const one = known("one", (await world.app("http1", "one")).at);
  const two = known("two", (await world.app("http1", "two")).at);
  const service = world.service("connected");
  for (const [named, body] of [[one, "one"], [two, "two"], [one, "one"]] as const) {
    const headers = { "l5d-dst-override": named.path };
    assert.is((await world.ask("HTTP/1", service, "/", { headers })).body, body);
  }
});

test("a header that is no name is a destination that does not exist", async () => {
  const service = world.service("connected");
  const headers = { "l5d-dst-override": "no such name!" };
  assert.is((await world.ask("HTTP/1", service, "/", { headers })).status, 404);
});

test.run();
