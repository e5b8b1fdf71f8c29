import { test } from "uvu";
import * as assert from "uvu/assert";
import { create } from "@bufbuild/protobuf";
import {
  addUpdate,
  EndpointFold,
  endpointFromWire,
  endpointToWire,
  MAX_ENDPOINTS,
  noEndpointsUpdate,
  removeUpdate,
} from "../../src/api/endpoint.ts";
import { Http2ClientParamsSchema, UpdateSchema } from "../../src/api/gen/destination_pb.ts";
import type { WireError } from "../../src/api/wire-error.ts";
import type { Endpoint } from "../../src/model/endpoint.ts";

const NAME = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const endpoint = (ip: string, more: Partial<Endpoint> = {}): Endpoint => ({
  addr: { ip, port: 8080 },
  weight: 10000,
  labels: {},
  identity: { name: NAME, serverName: NAME },
  transportPort: 4143,
  hint: "none",
  ...more,
});

function fold() {
  const skipped: WireError[] = [];
  return { fold: new EndpointFold((why) => skipped.push(why)), skipped };
}

test("an endpoint comes back from the wire as it was", () => {
  const all = [
    endpoint("10.0.0.1", { labels: { pod: "a" } }),
    endpoint("::1", { hint: "opaque" }),
    endpoint("10.0.0.1", { hint: "h2", transportPort: 0 }),
    endpoint("10.0.0.1", { identity: null, transportPort: 0 }),
    endpoint("10.0.0.1", {
      hint: "h2",
      http2: {
        keepAlive: { intervalMs: 10_000, timeoutMs: 3000 },
        windows: { stream: 65_535, connection: 1_048_576 },
      },
    }),
    endpoint("10.0.0.1", { authority: "web.shop.svc.cluster.local:80" }),
    endpoint("10.0.0.1", { identity: { name: "spiffe://mesh/ns/a", serverName: "vm.shop" } }),
  ];
  for (const e of all) assert.equal(endpointFromWire(endpointToWire(e), {}, "e"), e);
});

test("an authority that could not stand in a request is refused", () => {
  for (const authority of ["a b", "a:99999", "a:", "a\r\nx: y", "x".repeat(300), "http://a"]) {
    const wire = endpointToWire(endpoint("10.0.0.1", { authority }));
    assert.throws(() => endpointFromWire(wire, {}, "e"), /^e\.authority_override/);
  }
});

test("HTTP/2 parameters that are not whole say nothing", () => {
  const none = { keepAlive: null, windows: null };
  for (
    const params of [
      {},
      { keepAlive: { interval: { seconds: 1n }, whileIdle: true } },
      { keepAlive: { interval: { seconds: 1n }, timeout: { seconds: 1n } } },
      { flowControl: { initialStreamWindowSize: 65_535 } },
    ]
  ) {
    const wire = endpointToWire(endpoint("10.0.0.1"));
    wire.http2 = create(Http2ClientParamsSchema, params);
    assert.equal(endpointFromWire(wire, {}, "e").http2, none);
  }
});

test("labels of the set are joined with the endpoint's own, which win", () => {
  const e = endpoint("10.0.0.1", { labels: { pod: "a", zone: "own" } });
  const { labels } = endpointFromWire(endpointToWire(e), { service: "web", zone: "set" }, "e");
  assert.equal(labels, { service: "web", zone: "own", pod: "a" });
});

test("the first add replaces, later ones join, remove takes away", () => {
  const { fold: f } = fold();
  const ips = (update: ReturnType<typeof addUpdate>) =>
    f.apply(update)?.endpoints.map((e) => e.addr.ip) ?? null;
  assert.is(ips(removeUpdate([{ ip: "10.0.0.9", port: 8080 }])), null);
  assert.equal(ips(addUpdate([endpoint("10.0.0.1"), endpoint("10.0.0.2")], {})), [
    "10.0.0.1",
    "10.0.0.2",
  ]);
  assert.equal(ips(addUpdate([endpoint("10.0.0.3")], {})), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  assert.equal(ips(removeUpdate([{ ip: "10.0.0.1", port: 8080 }])), ["10.0.0.2", "10.0.0.3"]);
  f.reconnected();
  assert.is(ips(removeUpdate([{ ip: "10.0.0.2", port: 8080 }])), null);
  assert.equal(ips(addUpdate([endpoint("10.0.0.4")], {})), ["10.0.0.4"]);
  assert.equal(f.apply(noEndpointsUpdate(false)), { exists: false, endpoints: [] });
  assert.equal(f.apply(noEndpointsUpdate(true)), { exists: true, endpoints: [] });
});

test("an endpoint whose identity cannot be read is left out, never spoken to in plain text", () => {
  const { fold: f, skipped } = fold();
  f.apply(addUpdate([endpoint("10.0.0.1"), endpoint("10.0.0.2")], {}));
  const bad = addUpdate([endpoint("10.0.0.2")], {});
  if (bad.update.case === "add") {
    const tls = bad.update.value.addrs[0]?.tlsIdentity;
    assert.ok(tls);
    tls.strategy = { case: undefined };
  }
  // Known before under a good identity: it goes.
  assert.equal(f.apply(bad)?.endpoints.map((e) => e.addr.ip), ["10.0.0.1"]);
  assert.is(skipped[0]?.field, "add.addrs[0].tls_identity");
  const noSni = endpointToWire(
    endpoint("10.0.0.1", { identity: { name: "spiffe://mesh/a", serverName: "" } }),
  );
  assert.throws(() => endpointFromWire(noSni, {}, "e"), /server_name/);
});

test("bad addresses and updates of unknown kind change nothing and are told", () => {
  const { fold: f, skipped } = fold();
  f.apply(addUpdate([endpoint("10.0.0.1")], {}));
  assert.equal(
    f.apply(addUpdate([endpoint("10.0.0.2", { addr: { ip: "1.1.1.1", port: 0 } })], {}))
      ?.endpoints.length,
    1,
  );
  assert.is(f.apply(create(UpdateSchema)), null);
  assert.equal(skipped.map((s) => s.field), ["add.addrs[0].addr.port", "update"]);
});

test("the set is bounded", () => {
  const { fold: f, skipped } = fold();
  const many = Array.from(
    { length: MAX_ENDPOINTS + 3 },
    (_, i) => endpoint(`10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`),
  );
  assert.is(f.apply(addUpdate(many, {}))?.endpoints.length, MAX_ENDPOINTS);
  assert.is(skipped.length, 3);
});

test.run();
