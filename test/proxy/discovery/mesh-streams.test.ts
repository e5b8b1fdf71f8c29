// Discovery over streams that end, fail and come back.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code } from "@connectrpc/connect";
import { addUpdate, noEndpointsUpdate, removeUpdate } from "../../../src/api/endpoint.ts";
import { createLogger } from "../../../src/core/log.ts";
import type { Endpoint } from "../../../src/model/endpoint.ts";
import { settle } from "../../support/fake-clock.ts";
import { seeded } from "../../support/random.ts";
import { endpoint, ips, ready, setUp, WEB, wirePolicy, wireProfile } from "./mesh-fixture.ts";

test("Get: the first add after a reconnect replaces, and a remove before it is ignored", async () => {
  const s = setUp();
  const watched = await ready(s);
  const [a, b, c] = [endpoint("10.0.0.1"), endpoint("10.0.0.2"), endpoint("10.0.0.3")];
  s.control.get.at(WEB).send(addUpdate([a, b], {}));
  s.control.get.at(WEB).send(addUpdate([c], {}));
  await settle();
  assert.equal(ips(watched), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  s.control.get.at(WEB).fail(Code.Unavailable);
  await settle();
  assert.equal(ips(watched), ["10.0.0.1", "10.0.0.2", "10.0.0.3"], "the last good state stays");
  await s.clock.advanceAsync(100);
  s.control.get.at(WEB).send(removeUpdate([a.addr]));
  await settle();
  assert.is(ips(watched)?.length, 3);
  s.control.get.at(WEB).send(addUpdate([b], {}));
  await settle();
  assert.equal(ips(watched), ["10.0.0.2"]);
  await s.done();
});

test("Get: an empty set and a service that does not exist are told apart", async () => {
  const s = setUp();
  const watched = await ready(s);
  s.control.get.at(WEB).send(noEndpointsUpdate(true));
  await settle();
  assert.is(watched.value?.exists, true);
  assert.equal(ips(watched), []);
  s.control.get.at(WEB).send(noEndpointsUpdate(false));
  await settle();
  assert.is(watched.value?.exists, false);
  assert.match(watched.why, /No such service/);
  await s.done();
});

test("Get: NotFound means that there is no such service, and is asked again", async () => {
  const s = setUp();
  const watched = await ready(s);
  s.control.get.at(WEB).fail(Code.NotFound, "no such service");
  await settle();
  assert.is(watched.value?.exists, false);
  assert.match(watched.why, /No such service/);
  await s.clock.advanceAsync(100);
  s.control.get.at(WEB).send(addUpdate([endpoint("10.0.0.1")], {}));
  await settle();
  assert.is(watched.value?.exists, true);
  assert.is(watched.why, "");
  await s.done();
});

test("Get: random updates and reconnects end in the set that the server holds", async () => {
  const random = seeded(0x6e7);
  const s = setUp();
  const watched = await ready(s);
  let held = new Map<string, Endpoint>();
  for (let step = 0; step < 300; step++) {
    const pipe = s.control.get.at(WEB);
    const pick = () =>
      endpoint(`10.0.${random.int(0, 3)}.${random.int(1, 4)}`, 80, { v: `${step}` });
    switch (random.int(0, 5)) {
      case 0:
        pipe.fail(random.pick([Code.Unavailable, Code.Internal, Code.Unknown]));
        await s.clock.advanceAsync(200);
        // A new stream begins with everything, in one message.
        s.control.get.at(WEB).send(addUpdate([...held.values()], {}));
        break;
      case 1: {
        const gone = [...held.values()].filter(() => random() < 0.5);
        pipe.send(removeUpdate(gone.map((e) => e.addr)));
        for (const e of gone) held.delete(e.addr.ip);
        break;
      }
      case 2:
        pipe.send(noEndpointsUpdate(true));
        held = new Map();
        break;
      default: {
        const added = [pick(), pick()];
        pipe.send(addUpdate(added, {}));
        for (const e of added) held.set(e.addr.ip, e);
      }
    }
    await settle();
    const got = new Map(watched.value?.endpoints?.endpoints.map((e) => [e.addr.ip, e.labels]));
    const want = new Map([...held].map(([ip, e]) => [ip, e.labels]));
    assert.equal([...got].sort(), [...want].sort(), `seed ${random.seed}, step ${step}`);
  }
  await s.done();
});

test("streams come back with exponential back-off, which starts over after a message", async () => {
  const s = setUp();
  await ready(s);
  const count = () => s.control.get.count(WEB);
  for (const waitMs of [100, 200, 400, 800]) {
    s.control.get.at(WEB).fail(Code.Unavailable);
    await settle();
    const before = count();
    await s.clock.advanceAsync(waitMs - 1);
    assert.is(count(), before, `not before ${waitMs} ms`);
    await s.clock.advanceAsync(1);
    assert.is(count(), before + 1);
  }
  s.control.get.at(WEB).send(noEndpointsUpdate(true));
  await settle();
  s.control.get.at(WEB).end(); // a clean end too
  await s.clock.advanceAsync(100);
  assert.is(count(), 6);
  await s.done();
});

test("streams to a remote control plane keep the three time limits", async () => {
  const s = setUp({
    limits: { initialTimeoutMs: 3000, idleTimeoutMs: 10_000, lifetimeMs: 25_000 },
  });
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).send(wirePolicy());
  await settle();
  const count = () => s.control.outbound.count(WEB);
  // Endpoints: no first message in time.
  await s.clock.advanceAsync(3000);
  await s.clock.advanceAsync(100);
  assert.is(s.control.get.count(WEB), 2);
  // Policy: silent for too long.
  await s.clock.advanceAsync(6900);
  assert.is(count(), 1);
  await s.clock.advanceAsync(100);
  assert.is(count(), 2);
  // Policy: never silent, but too old.
  for (let i = 0; i < 24; i++) {
    s.control.outbound.at(WEB).send(wirePolicy());
    await s.clock.advanceAsync(1000);
  }
  assert.is(count(), 2);
  await s.clock.advanceAsync(1200);
  assert.is(count(), 3);
  assert.ok(watched.value);
  await s.done();
});

test("a lost control plane is said once, not once for each stream", async () => {
  const lines: string[] = [];
  const log = createLogger({
    level: "info",
    format: "plain",
    wall: () => 0,
    write: (l) => lines.push(l),
  });
  const s = setUp({ log });
  await ready(s);
  const pipes = [s.control.profile.at(WEB), s.control.outbound.at(WEB), s.control.get.at(WEB)];
  for (const pipe of pipes) pipe.fail(Code.Unavailable, "connection refused");
  s.control.inbound.at("8080").fail(Code.Unavailable, "connection refused");
  await s.clock.advanceAsync(5000);
  assert.is(lines.filter((l) => l.includes("cannot be reached")).length, 2, lines.join("\n"));
  s.control.outbound.at(WEB).send(wirePolicy());
  s.control.profile.at(WEB).send(wireProfile());
  await settle();
  assert.is(lines.filter((l) => l.includes("answers again")).length, 2);
  await s.done();
});

test.run();
