// Discovery of targets whose traffic goes to several backends: profile overrides and policy rules.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { clone, create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { addUpdate } from "../../../src/api/endpoint.ts";
import {
  type Backend,
  BackendSchema,
  HttpRoute_DistributionSchema,
} from "../../../src/api/gen/outbound_pb.ts";
import { settle } from "../../support/fake-clock.ts";
import {
  endpoint,
  ips,
  ready,
  route,
  setUp,
  WEB,
  wirePolicy,
  wireProfile,
} from "./mesh-fixture.ts";

test("overrides of a profile share the traffic, for HTTP and opaque", async () => {
  const s = setUp();
  const watched = await ready(s);
  s.control.get.at(WEB).send(addUpdate([endpoint("10.0.0.1")], {}));
  await settle();
  const overrides = [
    { authority: "blue.shop.svc.cluster.local:80", weight: 10 },
    { authority: "green.shop.svc.cluster.local:80", weight: 990 },
  ];
  const split = () => watched.value?.routes[0]?.route.split;
  const backends = () => watched.value?.endpoints?.endpoints.map((e) => e.backend);
  s.control.profile.at(WEB).send(wireProfile({ overrides }));
  await settle();
  const [blue, green] = overrides.map((o) => s.control.get.at(o.authority));
  blue?.send(addUpdate([endpoint("10.0.0.8")], {}));
  await settle();
  assert.equal(ips(watched), ["10.0.0.1"], "until both destinations have answered");
  green?.send(addUpdate([endpoint("10.0.0.9")], {}));
  await settle();
  assert.equal(ips(watched), ["10.0.0.8", "10.0.0.9"]);
  assert.equal(split(), { pick: "random", backends: overrides });
  assert.equal(backends(), overrides.map((o) => o.authority));
  const [first] = watched.value?.endpoints?.endpoints ?? [];
  green?.send(addUpdate([endpoint("10.0.0.10")], {}));
  await settle();
  assert.equal(ips(watched), ["10.0.0.8", "10.0.0.9", "10.0.0.10"]);
  assert.is(
    watched.value?.endpoints?.endpoints[0],
    first,
    "what did not change is the same object",
  );
  s.control.profile.at(WEB).send(wireProfile({ overrides, opaque: true }));
  await settle();
  assert.equal(ips(watched), ["10.0.0.8", "10.0.0.9", "10.0.0.10"]);
  s.control.profile.at(WEB).send(wireProfile({ overrides: overrides.slice(1) }));
  await settle();
  assert.equal(ips(watched), ["10.0.0.9", "10.0.0.10"], "one override is no split");
  assert.is(split(), undefined);
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

test("a part of a split that does not exist leaves the traffic to the others", async () => {
  const s = setUp();
  const watched = await ready(s);
  const overrides = [
    { authority: "blue.shop.svc.cluster.local:80", weight: 1 },
    { authority: "green.shop.svc.cluster.local:80", weight: 1 },
  ];
  s.control.profile.at(WEB).send(wireProfile({ overrides }));
  await settle();
  s.control.get.at(overrides[0]!.authority).fail(Code.NotFound);
  s.control.get.at(overrides[1]!.authority).send(addUpdate([endpoint("10.0.0.9")], {}));
  await settle();
  assert.equal(ips(watched), ["10.0.0.9"]);
  assert.is(watched.value?.endpoints?.exists, true);
  await s.done();
});

test("rules of a policy lead to backends of their own", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).send(splitPolicy());
  await settle();
  for (const [i, name] of ["v1", "v2", "v3"].entries()) {
    s.control.get.at(`${name}.shop.svc.cluster.local:80`)
      .send(addUpdate([endpoint(`10.0.1.${i}`)], {}));
  }
  await settle();
  const origin = { group: "core", kind: "Service", namespace: "shop", name: "web", port: 80 };
  assert.equal(watched.value?.routes.map((r) => r.route.split), [
    { pick: "first", backends: [{ authority: "v3.shop.svc.cluster.local:80", weight: 1, origin }] },
    {
      pick: "random",
      backends: [
        { authority: "v1.shop.svc.cluster.local:80", weight: 90, origin },
        { authority: "v2.shop.svc.cluster.local:80", weight: 10, origin },
      ],
    },
  ]);
  assert.is(watched.value?.authority, "web.shop.svc.cluster.local:80");
  assert.equal(ips(watched), ["10.0.1.0", "10.0.1.1", "10.0.1.2"]);
  await s.done();
});

test("where the profile decides, a target keeps its name whatever the policy leads to first", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  s.control.profile.at(WEB).send(
    wireProfile({ routes: [route("r", { match: { kind: "method", method: "GET" } })] }),
  );
  s.control.outbound.at(WEB).send(splitPolicy());
  await settle();
  s.control.get.at(WEB).send(addUpdate([endpoint("10.0.0.1")], {}));
  await settle();
  assert.is(watched.value?.authority, WEB);
  assert.is(watched.value?.parent, null);
  assert.equal(ips(watched), ["10.0.0.1"]);
  await s.done();
});

test("a rule may lead to a Service where the rest goes to the address that was asked for", async () => {
  const s = setUp();
  const addr = { ip: "192.0.2.7", port: 80 };
  const watched = s.mesh.outbound({ original: addr });
  await settle();
  const origin = {
    group: "policy.linkerd.io",
    kind: "EgressNetwork",
    namespace: "shop",
    name: "internet",
    port: 80,
  };
  const gateway = "gateway.shop.svc.cluster.local:80";
  const send = (weight: number) =>
    s.control.outbound.at("192.0.2.7:80").send(wirePolicy({
      origin,
      egress: "Deny",
      destination: "",
      forward: { ...endpoint("192.0.2.7", 80), weight },
      routes: [route("http-egress-deny")],
      attached: {
        kind: "http",
        routes: [{
          origin: { ...origin, group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "api" },
          hosts: ["api.example.com"],
          rules: [{
            matches: [],
            filters: [],
            backends: [{
              weight: 1,
              origin: { ...origin, group: "core", kind: "Service", name: "gateway" },
              to: { kind: "balancer", destination: gateway, hash: null },
              filters: [],
            }],
            retry: null,
            limits: null,
          }],
          chain: [],
        }],
      },
    }));
  send(1);
  await settle();
  s.control.get.at(gateway).send(addUpdate([endpoint("10.0.0.8")], {}));
  await settle();
  const backends = () => watched.value?.endpoints?.endpoints.map((e) => [e.addr.ip, e.backend]);
  const both = [["10.0.0.8", gateway], ["192.0.2.7", "192.0.2.7:80"]];
  assert.equal(backends(), both);
  assert.equal(
    watched.value?.routes.map((r) => r.route.split?.backends.map((b) => b.authority)),
    [[gateway], ["192.0.2.7:80"]],
  );
  assert.is(watched.value?.bytes?.refuses, "forbidden");
  const [, before] = watched.value?.endpoints?.endpoints ?? [];
  s.control.get.at(gateway).send(addUpdate([endpoint("10.0.0.9")], {}));
  await settle();
  assert.is(watched.value?.endpoints?.endpoints[2], before, "what did not change is the same");
  send(2);
  await settle();
  assert.equal(ips(watched), ["10.0.0.8", "10.0.0.9", "192.0.2.7"]);
  await s.done();
});

test("an address that stands alone is never ejected for its answers", async () => {
  const s = setUp();
  const watched = s.mesh.outbound({ original: { ip: "192.0.2.7", port: 80 } });
  await settle();
  const accrual = { maxFailures: 3, minBackoffMs: 1000, maxBackoffMs: 60_000, jitter: 0.5 };
  const forward = endpoint("192.0.2.7", 80);
  s.control.outbound.at("192.0.2.7:80").send(wirePolicy({ destination: "", forward, accrual }));
  await settle();
  assert.equal([ips(watched), watched.value?.accrual], [["192.0.2.7"], null]);
  s.control.outbound.at("192.0.2.7:80").send(wirePolicy({ accrual }));
  await settle();
  assert.equal(watched.value?.accrual, accrual, "behind a balancer it is");
  await s.done();
});

/** Two rules: 90 to 10 over v1 and v2 for `/`, all of `/beta` to v3; v4 has weight 0. */
function splitPolicy() {
  const wire = wirePolicy({
    routes: [route("main"), route("beta", { match: { kind: "path-exact", path: "/beta" } })],
  });
  if (wire.protocol?.kind.case !== "detect") throw new Error("not what this test changes");
  const rules = wire.protocol.kind.value.http1?.routes.map((r) => r.rules[0]) ?? [];
  const backend = (name: string) => {
    const made = clone(
      BackendSchema,
      rules[0]?.backends?.kind.case === "firstAvailable"
        ? rules[0].backends.kind.value.backends[0]?.backend as Backend
        : create(BackendSchema),
    );
    if (made.kind.case === "balancer") {
      const { discovery } = made.kind.value;
      if (discovery?.kind.case === "dst") {
        discovery.kind.value.path = `${name}.shop.svc.cluster.local:80`;
      }
    }
    return made;
  };
  const random = create(HttpRoute_DistributionSchema, {
    kind: {
      case: "randomAvailable",
      value: {
        backends: [["v1", 90], ["v2", 10], ["v4", 0]].map(([name, weight]) => ({
          backend: { backend: backend(String(name)) },
          weight: Number(weight),
        })),
      },
    },
  });
  const first = create(HttpRoute_DistributionSchema, {
    kind: { case: "firstAvailable", value: { backends: [{ backend: backend("v3") }] } },
  });
  rules.forEach((rule, i) => {
    if (rule !== undefined) rule.backends = i === 0 ? random : first;
  });
  return wire;
}

test.run();
