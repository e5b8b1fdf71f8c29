import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { EndpointFold } from "../../../src/api/endpoint.ts";
import { Destination, type Update } from "../../../src/api/gen/destination_pb.ts";
import { profileFromWire } from "../../../src/api/profile.ts";
import { Counters } from "../../../src/control/counters.ts";
import { destinationService } from "../../../src/control/destination/destination-service.ts";
import type { Mesh } from "../../../src/control/mesh.ts";
import type { EndpointSet } from "../../../src/model/endpoint.ts";
import { PROFILE_RETRY } from "../../../src/model/route.ts";
import { apply, filterRef, meshOf, pod, resource, SERVICE } from "../support/mesh-fixture.ts";
import { type Reading, reading } from "../support/streams.ts";

const WEB = "web.shop.svc.cluster.local";
const TOKEN = '{"ns":"client", "nodeName":"node-1"}\n';
const never = (why: Error) => assert.unreachable(why.message);

function clientOf(mesh: Mesh) {
  const counters = new Counters();
  const transport = createRouterTransport((router) => {
    router.service(Destination, destinationService(mesh, counters));
  });
  const client = createClient(Destination, transport);
  return {
    counters,
    get: (path: string) =>
      reading((signal) => client.get({ path, contextToken: TOKEN }, { signal })),
    getProfile: (path: string) =>
      reading((signal) => client.getProfile({ path, contextToken: TOKEN }, { signal })),
  };
}

async function set(fold: EndpointFold, stream: Reading<Update>): Promise<EndpointSet | null> {
  return fold.apply(await stream.next());
}
const ips = (of: EndpointSet | null) => of?.endpoints.map((e) => `${e.addr.ip}:${e.addr.port}`);

test("Get sends endpoints from pods, then only what changes", async () => {
  const mesh = meshOf([SERVICE, pod("a", "10.1.0.1"), pod("b", "10.1.0.2")].join("---"));
  const { get, counters } = clientOf(mesh);
  const stream = get(`${WEB}:80`);
  const fold = new EndpointFold(never);
  const first = await set(fold, stream);
  assert.equal(ips(first), ["10.1.0.1:8080", "10.1.0.2:8080"]);
  assert.equal(first?.endpoints[0]?.labels, {
    namespace: "shop",
    service: "web",
    pod: "a",
    deployment: "web",
    serviceaccount: "web",
    control_plane_ns: "linkerd",
    zone_locality: "unknown",
  });
  const identity = "web.shop.serviceaccount.identity.linkerd.cluster.local";
  assert.equal(first?.endpoints[0]?.identity, { name: identity, serverName: identity });
  assert.is(first?.endpoints[0]?.transportPort, 4143);
  assert.is(first?.endpoints[0]?.hint, "h2");

  apply(mesh.cluster, pod("c", "10.1.0.3"));
  const added = await stream.next();
  assert.is(added.update.case, "add");
  assert.is(
    added.update.value && "addrs" in added.update.value && added.update.value.addrs.length,
    1,
  );
  assert.equal(ips(fold.apply(added)), ["10.1.0.1:8080", "10.1.0.2:8080", "10.1.0.3:8080"]);

  mesh.cluster.remove(resource(pod("a", "10.1.0.1")));
  const removed = await stream.next();
  assert.is(removed.update.case, "remove");
  assert.equal(ips(fold.apply(removed)), ["10.1.0.2:8080", "10.1.0.3:8080"]);

  // A change of metadata sends the endpoint again.
  apply(mesh.cluster, pod("b", "10.1.0.2", 'config.linkerd.io/opaque-ports: "8080"'));
  const again = fold.apply(await stream.next());
  assert.is(again?.endpoints.find((e) => e.addr.ip === "10.1.0.2")?.hint, "opaque");

  apply(mesh.cluster, pod("b", "10.1.0.2", 'config.linkerd.io/opaque-ports: "8080", x: y'));
  assert.ok(await stream.quiet(), "what does not matter sends nothing");
  assert.is(counters.streamsOpen["destination.Get"], 1);
  await stream.end();
  assert.is(counters.streamsOpen["destination.Get"], 0);
});

test("Get sees the newest set only, however many there were meanwhile", async () => {
  const mesh = meshOf([SERVICE, pod("a", "10.1.0.1")].join("---"));
  const stream = clientOf(mesh).get(`${WEB}:80`);
  const fold = new EndpointFold(never);
  await set(fold, stream);
  for (let n = 2; n < 9; n++) apply(mesh.cluster, pod("a", `10.1.0.${n}`));
  let now: EndpointSet | null = null;
  for (let messages = 0; ips(now)?.join() !== "10.1.0.8:8080"; messages++) {
    assert.ok(messages < 3, "no backlog");
    now = await set(fold, stream);
  }
  await stream.end();
});

const SLICE = (ready: string, node = "node-1") => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080 }, { name: db, port: 5432 }]
endpoints:
  - addresses: [10.1.0.1]
    hostname: first
    conditions: { ready: true }
    nodeName: node-1
    zone: z1
    targetRef: { kind: Pod, name: a, namespace: shop }
  - addresses: [10.1.0.9]
    conditions: { ready: ${ready} }
    nodeName: ${node}
`;

test("a pod may name its proxy's inbound port, and its own ports get no transport header", async () => {
  const own = pod("a", "10.1.0.1").replace(
    "status:",
    `    - name: linkerd-proxy
      env: [{ name: LINKERD2_PROXY_INBOUND_LISTEN_ADDR, value: "0.0.0.0:14143" }]
status:`,
  );
  const mesh = meshOf([SERVICE, own].join("---"));
  const ports = async (port: number) => {
    const stream = clientOf(mesh).getProfile(`10.1.0.1:${port}`);
    const profile = profileFromWire(await stream.next(), never);
    await stream.end();
    return [profile.endpoint?.transportPort, profile.endpoint?.identity !== null];
  };
  assert.equal(await ports(8080), [14143, true]);
  assert.equal(await ports(14143), [0, true]);
  assert.equal(await ports(4190), [0, true]);
  // the admin server has no TLS
  assert.equal(await ports(4191), [0, false]);
});

test("Get prefers EndpointSlices, leaves out what is not ready, knows pods by reference", async () => {
  const mesh = meshOf([SERVICE, pod("a", "10.1.0.1"), SLICE("false")].join("---"));
  const { get } = clientOf(mesh);
  const stream = get(`${WEB}:80`);
  const fold = new EndpointFold(never);
  const first = await set(fold, stream);
  assert.equal(ips(first), ["10.1.0.1:8080"]);
  assert.is(first?.endpoints[0]?.labels["zone"], "z1");
  apply(mesh.cluster, SLICE("true"));
  const both = await set(fold, stream);
  assert.equal(ips(both), ["10.1.0.1:8080", "10.1.0.9:8080"]);
  assert.is(both?.endpoints[1]?.identity, null, "no pod, no identity");
  assert.is(both?.endpoints[1]?.transportPort, 0);
  await stream.end();

  const host = get(`first.${WEB}:80`);
  assert.equal(ips(await set(new EndpointFold(never), host)), ["10.1.0.1:8080"]);
  await host.end();
  const undefinedPort = get(`${WEB}:9999`);
  assert.equal(ips(await set(new EndpointFold(never), undefinedPort)), [
    "10.1.0.1:9999",
    "10.1.0.9:9999",
  ]);
  await undefinedPort.end();
});

test("Get with internalTrafficPolicy Local keeps endpoints of the client's node", async () => {
  const local = SERVICE.replace("spec:", "spec:\n  internalTrafficPolicy: Local");
  const mesh = meshOf([local, SLICE("true", "node-2")].join("---"));
  const stream = clientOf(mesh).get(`${WEB}:80`);
  assert.equal(ips(await set(new EndpointFold(never), stream)), ["10.1.0.1:8080"]);
  await stream.end();
});

test("Get tells an empty service, and one that is deleted, from one that never was", async () => {
  const mesh = meshOf(SERVICE);
  const { get } = clientOf(mesh);
  const stream = get(`${WEB}:80`);
  const fold = new EndpointFold(never);
  assert.equal(await set(fold, stream), { exists: true, endpoints: [] });
  apply(mesh.cluster, pod("a", "10.1.0.1"));
  assert.is((await set(fold, stream))?.endpoints.length, 1);
  mesh.cluster.remove(resource(SERVICE));
  assert.equal(await set(fold, stream), { exists: false, endpoints: [] });
  apply(mesh.cluster, SERVICE);
  const back = await set(fold, stream);
  assert.ok(back?.exists);
  assert.equal(ips(back), ["10.1.0.1:8080"]);
  await stream.end();
  assert.is(await get("nobody.shop.svc.cluster.local:80").status(), Code.NotFound);
});

test("Get refuses addresses, short names and ExternalName services", async () => {
  const mesh = meshOf(
    [
      SERVICE,
      SERVICE.replace("name: web", "name: out").replace(
        "spec:",
        "spec:\n  type: ExternalName\n  externalName: example.org",
      ),
    ]
      .join("---"),
  );
  const { get } = clientOf(mesh);
  for (
    const path of [
      "10.0.0.1:80",
      "[::1]:80",
      "web",
      "web.shop:80",
      "a.b.c.d.svc.cluster.local",
      "",
      `${WEB}:0`,
      `${WEB}:99999`,
      "out.shop.svc.cluster.local:80",
    ]
  ) assert.is(await get(path).status(), Code.InvalidArgument, path);
});

const PROFILE = `
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: { name: ${WEB}, namespace: shop }
spec:
  routes:
    - name: GET /x
      condition: { method: GET, pathRegex: /x }
      isRetryable: true
      timeout: 250ms
      responseClasses:
        - condition: { status: { min: 500 } }
          isFailure: true
  retryBudget: { retryRatio: 0.5, minRetriesPerSecond: 3, ttl: 5s }
  dstOverrides:
    - { authority: other.shop.svc.cluster.local, weight: 500m }
`;

test("GetProfile sends whole profiles, and nothing when nothing changed", async () => {
  const mesh = meshOf([SERVICE, PROFILE].join("---"));
  const { getProfile } = clientOf(mesh);
  const stream = getProfile("10.0.0.1:80");
  const wire = await stream.next();
  const profile = profileFromWire(wire, never);
  assert.is(profile.fullyQualifiedName, WEB);
  assert.not(profile.opaque);
  assert.equal(profile.budget, { ratio: 0.5, minPerSecond: 3, ttlMs: 5000 });
  assert.equal(profile.overrides, [{ authority: "other.shop.svc.cluster.local:80", weight: 5000 }]);
  const [route] = profile.routes;
  assert.is(profile.routes.length, 1);
  assert.equal(route?.labels, { route: "GET /x" });
  assert.equal(route?.retry, PROFILE_RETRY);
  assert.is(route?.timeoutMs, 250);
  assert.equal(route?.responseClasses, [
    { match: { kind: "status", range: { min: 500, max: 500 } }, isFailure: true },
  ]);
  assert.is(wire.parentRef?.kind.case === "resource" && wire.parentRef.kind.value.kind, "Service");
  assert.is(
    wire.profileRef?.kind.case === "resource" && wire.profileRef.kind.value.kind,
    "ServiceProfile",
  );

  apply(mesh.cluster, pod("a", "10.1.0.1"));
  apply(mesh.cluster, PROFILE.replace("spec:", "spec:\n  # nothing"));
  assert.ok(await stream.quiet());
  apply(mesh.cluster, PROFILE.replace("250ms", "1s"));
  assert.is(profileFromWire(await stream.next(), never).routes[0]?.timeoutMs, 1000);
  // The client's namespace has its own profile.
  apply(
    mesh.cluster,
    PROFILE.replace("namespace: shop", "namespace: client").replace("250ms", "2s"),
  );
  assert.is(profileFromWire(await stream.next(), never).routes[0]?.timeoutMs, 2000);
  await stream.end();
});

test("GetProfile answers addresses of services, pods and strangers", async () => {
  const mesh = meshOf(
    [SERVICE, pod("a", "10.1.0.1", 'config.linkerd.io/opaque-ports: "9000"')].join("---"),
  );
  const { getProfile } = clientOf(mesh);
  const one = async (path: string) => {
    const stream = getProfile(path);
    const wire = await stream.next();
    await stream.end();
    return { wire, profile: profileFromWire(wire, never) };
  };
  assert.ok((await one("10.0.0.1:5432")).profile.opaque, "a port of the default list");
  assert.is((await one("10.0.0.1:81")).wire.retryBudget, undefined, "undefined port: empty");
  const { profile: ofPod } = await one("10.1.0.1:9000");
  assert.ok(ofPod.opaque);
  assert.is(ofPod.fullyQualifiedName, "");
  assert.is(ofPod.endpoint?.hint, "opaque");
  assert.is(ofPod.endpoint?.labels["namespace"], "shop");
  assert.ok(ofPod.endpoint?.identity);
  const { profile: stranger } = await one("192.0.2.1:80");
  assert.equal(stranger.endpoint?.addr, { ip: "192.0.2.1", port: 80 });
  assert.is(stranger.endpoint?.identity, null);
  assert.is((await one(`${WEB}:80`)).profile.fullyQualifiedName, WEB);
  assert.is(await getProfile("nobody.shop.svc.cluster.local:80").status(), Code.Unknown);
  assert.is(await getProfile(`nobody.${WEB}:80`).status(), Code.NotFound);
  assert.is(await getProfile("example.org:80").status(), Code.InvalidArgument);
  apply(mesh.cluster, SERVICE.replace("name: web", "name: twin"));
  assert.is(await getProfile("10.0.0.1:80").status(), Code.FailedPrecondition);
});

test("routes of a profile carry their filters, and requests that no route fits those for all", async () => {
  const filters = {
    refs: (
      _target: unknown,
      route: string | null,
    ) => [filterRef("everywhere"), ...route === "GET /x" ? [filterRef("only-x")] : []],
  };
  const mesh = meshOf([SERVICE, PROFILE].join("---"), {}, filters);
  const stream = clientOf(mesh).getProfile(`${WEB}:80`);
  const profile = profileFromWire(await stream.next(), never);
  assert.equal(profile.routes.map((r) => [r.name, r.filters.map((f) => f.name)]), [
    ["GET /x", ["everywhere", "only-x"]],
    ["", ["everywhere"]],
  ]);
  await stream.end();
  // Without routes the policy's count, which carry the filters: no route is made up.
  mesh.cluster.remove(resource(PROFILE));
  const bare = clientOf(mesh).getProfile(`${WEB}:80`);
  assert.equal(profileFromWire(await bare.next(), never).routes, []);
  await bare.end();
});

test.run();
