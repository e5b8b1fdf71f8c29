// Discovery of inbound policies.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { ServerSchema } from "../../../src/api/gen/inbound_pb.ts";
import { serverPolicyToWire } from "../../../src/api/server-policy.ts";
import { authorize, type ServerPolicy } from "../../../src/model/policy.ts";
import { settle } from "../../support/fake-clock.ts";
import { type NamedChain } from "./fake-engine.ts";
import { route, setUp, until } from "./mesh-fixture.ts";

test("inbound() has the default policy at once and the controller's when it comes", async () => {
  const s = setUp();
  const watched = s.mesh.inbound(8080);
  const first = watched.value?.policy as ServerPolicy;
  assert.is(first.origin.name, "all-unauthenticated");
  assert.ok(authorize(first, { ip: "10.9.9.9", meshed: false, identity: null }));
  let answered = false;
  const waiting = s.mesh.portsAnswered().then(() => answered = true);
  await settle();
  assert.is(answered, false);
  s.control.inbound.at("8080").send(
    serverPolicyToWire({ ...first, authorizations: [], protocol: "http1" }),
  );
  await waiting;
  await settle();
  const now = watched.value?.policy as ServerPolicy;
  assert.is(now.protocol, "http1");
  assert.is(authorize(now, { ip: "10.9.9.9", meshed: false, identity: null }), null);
  for (const ip of ["127.0.0.1", "::1", "127.77.1.2"]) {
    assert.is(authorize(now, { ip, meshed: false, identity: null })?.origin.name, "localhost");
  }
  assert.is(authorize(now, { ip: "127.77.1.3", meshed: false, identity: null }), null);
  assert.equal(watched.value?.routes.map((r) => r.route.name), ["default"]);
  await s.done();
});

test("inbound() denies everybody when a policy cannot be converted", async () => {
  const s = setUp();
  const watched = s.mesh.inbound(8080);
  await settle();
  s.control.inbound.at("8080").send(create(ServerSchema, {}));
  await settle();
  const { authorizations } = watched.value?.policy as ServerPolicy;
  assert.equal(authorizations, []);
  await s.done();
});

test("inbound() watches configured ports for ever and others until they are idle", async () => {
  const s = setUp();
  await settle();
  assert.is(s.control.inbound.count("8080"), 1, "from the start");
  const other = s.mesh.inbound(9999);
  await settle();
  assert.is(s.control.inbound.count("9999"), 1);
  s.control.inbound.at("9999").fail(Code.NotFound);
  await s.clock.advanceAsync(100);
  assert.is(s.control.inbound.count("9999"), 2, "the pod may not be known yet");
  other.release();
  s.mesh.inbound(8080).release();
  await s.clock.advanceAsync(90_000);
  assert.is(s.mesh.stats().ports, 1);
  assert.ok(s.control.inbound.opened.filter((p) => p.subject === "9999").every((p) => p.cancelled));
  assert.is(s.control.inbound.at("8080").cancelled, false);
  await s.done();
});

test("inbound() follows each default policy", async () => {
  const meshed = { ip: "192.0.2.1", meshed: true, identity: "web.shop" };
  const plain = { ip: "192.0.2.1", meshed: false, identity: null };
  const inside = { ip: "10.0.0.1", meshed: false, identity: null };
  const insideMeshed = { ip: "10.0.0.1", meshed: true, identity: "web.shop" };
  const expected = {
    "deny": [0, 0, 0, 0],
    "all-authenticated": [1, 0, 0, 1],
    "all-unauthenticated": [1, 1, 1, 1],
    "cluster-authenticated": [0, 0, 0, 1],
    "cluster-unauthenticated": [0, 0, 1, 1],
    "audit": [1, 1, 1, 1],
  } as const;
  for (const [defaultPolicy, want] of Object.entries(expected)) {
    const s = setUp({ inbound: { defaultPolicy: defaultPolicy as "deny" } });
    const { policy } = s.mesh.inbound(8080).value as { policy: ServerPolicy };
    const got = [meshed, plain, inside, insideMeshed].map((c) =>
      authorize(policy, c) === null ? 0 : 1
    );
    assert.equal(got, [...want], defaultPolicy);
    const opaque = s.mesh.inbound(3306);
    assert.is(opaque.value?.policy.protocol, "opaque");
    opaque.release();
    await s.done();
  }
});

test("inbound() admits by the new policy at once and swaps its routes when their filters are there", async () => {
  const s = setUp();
  const watched = s.mesh.inbound(8080);
  await settle();
  const module = await s.control.publish("module 1");
  const guard = {
    name: "guard",
    ...module,
    config: new Uint8Array(),
    failurePolicy: "closed" as const,
    fuelPerHook: 0,
    memoryPages: 0,
  };
  const base = watched.value?.policy as ServerPolicy;
  const gate = Promise.withResolvers<void>();
  s.engine.gate = gate.promise;
  s.control.inbound.at("8080").send(serverPolicyToWire({
    ...base,
    authorizations: [],
    filters: [guard],
    routes: [route("api", { filters: [{ ...guard, name: "own" }] })],
  }));
  await settle();
  assert.is(
    authorize(watched.value?.policy as ServerPolicy, {
      ip: "10.9.9.9",
      meshed: false,
      identity: null,
    }),
    null,
  );
  assert.equal(watched.value?.routes.map((r) => r.route.name), ["default"]);
  gate.resolve();
  await until(() => watched.value?.routes[0]?.route.name === "api");
  assert.equal(watched.value?.routes.map((r) => r.route.name), ["api"]);
  const { parts } = watched.value?.routes[0]?.chain as NamedChain;
  assert.equal(parts, ["guard@module 1", "own@module 1"], "the server's filters come first");
  assert.equal(s.mesh.filterStatus().map((f) => f.name), ["guard", "own"]);
  await s.done();
});

test.run();
