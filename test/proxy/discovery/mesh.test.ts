// Discovery over the control plane's streams: which calls a target causes and how their answers combine.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { addUpdate } from "../../../src/api/endpoint.ts";
import { OutboundPolicySchema } from "../../../src/api/gen/outbound_pb.ts";
import type { OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { settle } from "../../support/fake-clock.ts";
import { type NamedChain } from "./fake-engine.ts";
import {
  endpoint,
  ips,
  ready,
  route,
  setUp,
  until,
  WEB,
  wirePolicy,
  wireProfile,
} from "./mesh-fixture.ts";

test("outbound() asks for profile and policy in parallel, then for the endpoints they lead to", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  assert.is(watched.value, null);
  assert.is(s.control.profile.count(WEB), 1);
  assert.is(s.control.outbound.count(WEB), 1);
  assert.is(s.control.get.opened.length, 0);
  s.control.outbound.at(WEB).send(wirePolicy());
  await settle();
  assert.is(watched.value, null, "the profile is not answered yet");
  s.control.profile.at(WEB).send(wireProfile());
  await settle();
  const first = watched.value as OutboundSnapshot;
  assert.is(first.authority, WEB);
  assert.is(first.exists, true);
  assert.is(first.endpoints, null, "not known yet");
  s.control.get.at(WEB).send(addUpdate([endpoint("10.0.0.1")], { service: "web" }));
  await settle();
  assert.equal(ips(watched), ["10.0.0.1"]);
  assert.equal(watched.value?.endpoints?.endpoints[0]?.labels, { service: "web" });
  assert.equal(s.control.tokens, new Set(['{"ns":"shop"}']));
  assert.ok(s.control.workloads.has('{"ns":"shop","pod":"front-1"}'));
  await s.done();
});

test("outbound() publishes to listeners after every reader can see the value", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ authority: "web" });
  const other = s.mesh.outbound({ authority: "web.shop.svc:80" });
  const seen: boolean[] = [];
  watched.subscribe((value) => seen.push(other.value === value && watched.value === value));
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).send(wirePolicy());
  await settle();
  assert.ok(seen.length > 0 && seen.every((x) => x));
  await s.done();
});

test("outbound() shares one set of streams between names that mean the same", async () => {
  const s = setUp();
  const names = ["web", "web:80", "WEB.shop", "web.shop.svc", "web.shop.svc.cluster.local.:80"];
  const all = names.map((authority) => s.mesh.outbound({ authority }));
  await settle();
  assert.is(s.control.outbound.opened.length, 1);
  assert.is(s.control.profile.opened.length, 1);
  assert.is(s.mesh.stats().targets, 1);
  for (const w of all) w.release();
  await s.done();
});

test("release() keeps a target for the idle time, and a new reader keeps it longer", async () => {
  const s = setUp();
  const watched = await ready(s);
  watched.release();
  watched.release(); // twice does no harm
  await s.clock.advanceAsync(4999);
  const again = s.mesh.outbound({ authority: "web" });
  assert.ok(again.value, "known at once");
  await s.clock.advanceAsync(60_000);
  assert.is(s.mesh.stats().targets, 1);
  again.release();
  await s.clock.advanceAsync(5000);
  assert.is(s.mesh.stats().targets, 0);
  await settle();
  for (
    const pipe of [
      ...s.control.profile.opened,
      ...s.control.outbound.opened,
      ...s.control.get.opened,
    ]
  ) {
    assert.ok(pipe.cancelled, `${pipe.subject} is still open`);
  }
  await s.done();
});

test("outbound() goes on without a profile when GetProfile fails or is slow", async () => {
  for (const how of ["fails", "is slow"]) {
    const s = setUp();
    const watched = s.mesh.outbound({ authority: "web" });
    await settle();
    s.control.outbound.at(WEB).send(wirePolicy());
    if (how === "fails") s.control.profile.at(WEB).fail(Code.Unknown);
    else await s.clock.advanceAsync(499);
    if (how !== "fails") assert.is(watched.value, null);
    await s.clock.advanceAsync(1);
    assert.ok(watched.value, how);
    if (how !== "fails") {
      // It may still come.
      s.control.profile.at(WEB).send(wireProfile({ opaque: true }));
      await settle();
      assert.is(watched.value?.opaque, true);
    }
    await s.done();
  }
});

test("outbound() asks for no profile outside the profile networks and suffixes", async () => {
  const s = setUp({ destination: { profileSuffixes: ["other.domain"] } });
  s.mesh.outbound({ authority: "web" });
  s.mesh.outbound({ original: { ip: "192.0.2.1", port: 80 } });
  s.mesh.outbound({ original: { ip: "10.1.1.1", port: 80 } });
  await settle();
  assert.equal(s.control.profile.opened.map((p) => p.subject), ["10.1.1.1:80"]);
  assert.is(s.control.outbound.opened.length, 3);
  await s.done();
});

test("a policy that is not found forwards to the profile's endpoint, else to the original address", async () => {
  for (const code of [Code.NotFound, Code.Unimplemented]) {
    const s = setUp();
    const pod = s.mesh.outbound({ original: { ip: "10.1.1.1", port: 8080 } });
    const other = s.mesh.outbound({ original: { ip: "10.1.1.2", port: 8080 } });
    await settle();
    s.control.profile.at("10.1.1.1:8080").send(wireProfile({
      fullyQualifiedName: "",
      endpoint: { ...endpoint("10.1.1.1", 8080, { pod: "web-1" }), transportPort: 4143 },
    }));
    s.control.profile.at("10.1.1.2:8080").fail(Code.Unknown);
    s.control.outbound.at("10.1.1.1:8080").fail(code);
    s.control.outbound.at("10.1.1.2:8080").fail(code);
    await settle();
    const [meshed] = pod.value?.endpoints?.endpoints ?? [];
    assert.is(meshed?.transportPort, 4143);
    assert.equal(meshed?.labels, { pod: "web-1" });
    assert.equal(ips(other), ["10.1.1.2"]);
    assert.is(other.value?.authority, "10.1.1.2:8080");
    await s.clock.advanceAsync(60_000);
    assert.is(s.control.outbound.count("10.1.1.1:8080"), 1, "the status is final");
    await s.done();
  }
});

test("a policy that fails otherwise gives no snapshot, a reason, and is asked for again", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).fail(Code.Unavailable, "gone fishing");
  await settle();
  assert.is(watched.value, null);
  assert.match(watched.why, /policy of web\.shop.* is not known: gone fishing/);
  await s.clock.advanceAsync(100);
  assert.is(s.control.outbound.count(WEB), 2);
  s.control.outbound.at(WEB).send(wirePolicy());
  await settle();
  assert.ok(watched.value);
  assert.is(watched.why, "");
  await s.done();
});

test("a policy that is refused is not asked for again", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).fail(Code.InvalidArgument, "no");
  await s.clock.advanceAsync(60_000);
  assert.is(watched.value, null);
  assert.match(watched.why, /is refused: no/);
  assert.is(s.control.outbound.count(WEB), 1);
  await s.done();
});

test("a policy that cannot be converted leaves the last good one in force", async () => {
  const s = setUp();
  const watched = await ready(s);
  const good = watched.value;
  s.control.outbound.at(WEB).send(create(OutboundPolicySchema, {}));
  await settle();
  assert.is(watched.value, good);
  await s.done();
});

test("an opaque profile makes the target opaque whatever its policy says", async () => {
  const s = setUp();
  const watched = await ready(s);
  assert.is(watched.value?.opaque, false);
  s.control.profile.at(WEB).send(wireProfile({ opaque: true }));
  await settle();
  assert.is(watched.value?.opaque, true);
  await s.done();
});

test("the profile's routes win over the policy's iff it has a name and routes or overrides", async () => {
  const s = setUp();
  const watched = await ready(s);
  const names = () => watched.value?.routes.map((r) => r.route.name);
  assert.equal(names(), ["http"]);
  const books = route("books", {
    match: { kind: "method", method: "GET" },
    labels: { route: "books" },
  });
  s.control.profile.at(WEB).send(wireProfile({ routes: [books] }));
  await settle();
  assert.equal(names(), ["books", "default"]);
  s.control.profile.at(WEB).send(wireProfile({ fullyQualifiedName: "", routes: [books] }));
  await settle();
  assert.equal(names(), ["http"]);
  await s.done();
});

test("a policy that forwards to an address or nowhere needs no endpoint stream", async () => {
  const s = setUp();
  const watched = await ready(s);
  s.control.outbound.at(WEB).send(wirePolicy({ destination: "", forward: endpoint("192.0.2.7") }));
  await settle();
  assert.equal(ips(watched), ["192.0.2.7"]);
  s.control.outbound.at(WEB).send(wirePolicy({ destination: "", forward: null }));
  await settle();
  assert.is(watched.value?.exists, false);
  assert.match(watched.why, /forwards nowhere/);
  await s.done();
});

test("authorities that are no service of the cluster do not exist, with a reason and no stream", async () => {
  const s = setUp();
  for (
    const [authority, why] of [
      ["www.example.com", /outside the mesh/],
      ["a b", /not a host name/],
      ["web:0", /port 0/],
      ["", /not HOST/],
      ["127.0.0.1:4140", /this proxy itself/],
    ] as const
  ) {
    const watched = s.mesh.outbound({ authority });
    assert.is(watched.value?.exists, false, authority);
    assert.match(watched.why, why);
    watched.release();
  }
  await settle();
  assert.is(s.control.outbound.opened.length, 0);
  await s.done();
});

test("a path that no profile route names is no way around the filters of the service", async () => {
  const s = setUp();
  const watched = await ready(s);
  const guard = {
    name: "guard",
    ...await s.control.publish("module 1"),
    config: new Uint8Array(),
    failurePolicy: "closed" as const,
    fuelPerHook: 0,
    memoryPages: 0,
  };
  s.control.outbound.at(WEB).send(wirePolicy({ routes: [route("http", { filters: [guard] })] }));
  const books = route("books", {
    match: { kind: "method", method: "GET" },
    labels: { route: "books" },
    filters: [guard],
  });
  s.control.profile.at(WEB).send(wireProfile({ routes: [books] }));
  await until(() => watched.value?.routes.length === 2);
  assert.equal(watched.value?.routes.map((r) => r.route.name), ["books", "default"]);
  assert.ok(
    watched.value?.routes.every((r) => (r.chain as NamedChain).parts[0] === "guard@module 1"),
  );
  assert.is(watched.value?.routes[0]?.chain, watched.value?.routes[1]?.chain);
  await s.done();
});

test("targets past the bound are refused with a reason, after idle ones made room", async () => {
  const s = setUp({ maxTargets: 5 });
  const held = [];
  for (let i = 0; i < 4; i++) held.push(s.mesh.outbound({ authority: `svc-${i}` }));
  s.mesh.outbound({ authority: "idle" }).release();
  const last = s.mesh.outbound({ authority: "last" });
  assert.is(last.why, "");
  assert.is(s.mesh.stats().targets, 5);
  const over = s.mesh.outbound({ authority: "over" });
  assert.is(over.value, null);
  assert.match(over.why, /over\.shop.* is not looked up: 5 other targets/);
  over.release();
  held[0]?.release();
  assert.is(s.mesh.outbound({ authority: "over" }).why, "");
  await s.done();
});

test.run();
