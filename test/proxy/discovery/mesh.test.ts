// Discovery over the control plane's streams: which calls a target causes, how their answers combine, and
// what stays when the control plane goes away.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { clientPolicyToWire } from "../../../src/api/client-policy.ts";
import { addUpdate, noEndpointsUpdate, removeUpdate } from "../../../src/api/endpoint.ts";
import { OutboundPolicySchema } from "../../../src/api/gen/outbound_pb.ts";
import { ServerSchema } from "../../../src/api/gen/inbound_pb.ts";
import { profileToWire } from "../../../src/api/profile.ts";
import { serverPolicyToWire } from "../../../src/api/server-policy.ts";
import { createLogger, type Logger, SILENT } from "../../../src/core/log.ts";
import type { Endpoint } from "../../../src/model/endpoint.ts";
import { authorize, type ServerPolicy } from "../../../src/model/policy.ts";
import type { ClientPolicy, Profile } from "../../../src/model/profile.ts";
import { DEFAULT_RETRY_BUDGET, type Route } from "../../../src/model/route.ts";
import type { ProxyConfig } from "../../../src/proxy/config.ts";
import type { OutboundSnapshot, Watched } from "../../../src/proxy/discovery/discovery.ts";
import { createMeshDiscovery } from "../../../src/proxy/discovery/mesh.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import { seeded } from "../../support/random.ts";
import { FakeControl } from "./fake-control.ts";
import { FakeEngine, type NamedChain } from "./fake-engine.ts";

const WEB = "web.shop.svc.cluster.local:80";
const NO_LIMITS = { initialTimeoutMs: null, idleTimeoutMs: null, lifetimeMs: null };
const SVC = {
  host: "127.0.0.1",
  port: 8086,
  identity: null,
  backoff: { minMs: 100, maxMs: 10_000, jitter: 0 },
};

type Overrides = {
  log?: Logger;
  maxTargets?: number;
  limits?: { [name in keyof typeof NO_LIMITS]: number };
  inbound?: Partial<ProxyConfig["inbound"]>;
  destination?: Partial<ProxyConfig["destination"]>;
};

function setUp(over: Overrides = {}) {
  const control = new FakeControl();
  const clock = new FakeClock();
  const engine = new FakeEngine();
  const svc = { ...SVC, ...NO_LIMITS, ...over.limits };
  const config = {
    inbound: {
      ips: ["127.77.1.2"],
      ports: [8080],
      defaultPolicy: "all-unauthenticated",
      opaquePorts: { ranges: [[3306, 3306]] },
      detectTimeoutMs: 10_000,
      discoveryIdleMs: 90_000,
      ...over.inbound,
    },
    outbound: { listen: [{ ip: "127.0.0.1", port: 4140 }], discoveryIdleMs: 5000 },
    destination: {
      svc,
      context: '{"ns":"shop"}',
      profileInitialTimeoutMs: 500,
      profileSuffixes: ["svc.cluster.local"],
      profileNetworks: ["10.0.0.0/8"],
      ...over.destination,
    },
    policy: { svc, workload: '{"ns":"shop","pod":"front-1"}', clusterNetworks: ["10.0.0.0/8"] },
    clusterDomain: "cluster.local",
    namespace: "shop",
  } as unknown as ProxyConfig;
  const mesh = createMeshDiscovery({
    config,
    destination: control.transport,
    policy: control.transport,
    engine,
    moduleCache: null,
    clock,
    random: () => 0.5,
    log: over.log ?? SILENT,
    ...(over.maxTargets === undefined ? {} : { maxTargets: over.maxTargets }),
  });
  /** After the test: nothing may be left that would keep a process alive. */
  const done = async () => {
    mesh.close();
    await settle();
    assert.is(clock.pending, 0, "timers left");
    const { streams } = mesh.stats();
    for (const [name, { kept }] of Object.entries(streams)) {
      assert.is(kept, 0, `${name} streams left`);
    }
  };
  return { control, clock, engine, mesh, done };
}

const endpoint = (ip: string, port = 8080, labels = {}): Endpoint => ({
  addr: { ip, port },
  weight: 10_000,
  labels,
  identity: null,
  transportPort: 0,
  hint: "none",
});

const route = (name: string, more: Partial<Route> = {}): Route => ({
  name,
  match: { kind: "path-prefix", prefix: "/" },
  responseClasses: [],
  labels: {},
  retryable: false,
  timeoutMs: 0,
  filters: [],
  ...more,
});

const policy = (more: Partial<ClientPolicy> = {}): ClientPolicy => ({
  origin: { group: "core", kind: "Service", namespace: "shop", name: "web", port: 80 },
  protocol: "detect",
  routes: [route("http")],
  destination: WEB,
  forward: null,
  defaultRttMs: 30,
  decayMs: 10_000,
  ...more,
});

const profile = (more: Partial<Profile> = {}): Profile => ({
  fullyQualifiedName: "web.shop.svc.cluster.local",
  opaque: false,
  routes: [],
  budget: DEFAULT_RETRY_BUDGET,
  overrides: [],
  endpoint: null,
  ...more,
});

const wirePolicy = (more: Partial<ClientPolicy> = {}) => clientPolicyToWire(policy(more), 10_000);
const wireProfile = (more: Partial<Profile> = {}) => profileToWire(profile(more));
const ips = (w: Watched<OutboundSnapshot>) =>
  w.value?.endpoints?.endpoints.map((e) => e.addr.ip) ?? null;

/** Lets digests be computed, outside the event loop, until what the test waits for is there. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 5000 && !holds(); i++) await settle();
}

/** A target whose profile and policy are answered, with the endpoint stream open. */
async function ready(s: ReturnType<typeof setUp>, authority = "web") {
  const watched = s.mesh.outbound({ authority });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).send(wirePolicy());
  await settle();
  return watched;
}

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

test("the heaviest override of a profile takes the traffic, for HTTP and opaque", async () => {
  const s = setUp();
  const watched = await ready(s);
  s.control.get.at(WEB).send(addUpdate([endpoint("10.0.0.1")], {}));
  await settle();
  const overrides = [
    { authority: "blue.shop.svc.cluster.local:80", weight: 10 },
    { authority: "green.shop.svc.cluster.local:80", weight: 990 },
  ];
  s.control.profile.at(WEB).send(wireProfile({ overrides }));
  await settle();
  const green = s.control.get.at("green.shop.svc.cluster.local:80");
  assert.equal(ips(watched), ["10.0.0.1"], "until the new destination has answered");
  green.send(addUpdate([endpoint("10.0.0.9")], {}));
  await settle();
  assert.equal(ips(watched), ["10.0.0.9"]);
  s.control.profile.at(WEB).send(wireProfile({ overrides, opaque: true }));
  await settle();
  assert.equal(ips(watched), ["10.0.0.9"]);
  s.control.profile.at(WEB).send(
    wireProfile({
      routes: [route("r", { match: { kind: "method", method: "GET" } })],
      opaque: true,
    }),
  );
  await settle();
  assert.is(s.control.get.at(WEB).cancelled, false, "routes alone do not win for opaque");
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
  assert.match(watched.why, /knows no service/);
  await s.done();
});

test("Get: NotFound means that there is no such service, and is asked again", async () => {
  const s = setUp();
  const watched = await ready(s);
  s.control.get.at(WEB).fail(Code.NotFound, "no such service");
  await settle();
  assert.is(watched.value?.exists, false);
  assert.match(watched.why, /no such service/);
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
