// Detection in front of both stacks: a server that speaks first, policies that allow it or not, and
// HTTP of either version on the same port. In memory, with a fake clock.

import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Core, PeerTls } from "../../../src/core/driver.ts";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import { SILENT } from "../../../src/core/log.ts";
import type { Authentication, ServerPolicy } from "../../../src/model/policy.ts";
import { createStaticDiscovery } from "../../../src/proxy/discovery/static.ts";
import type { InboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { Inbound } from "../../../src/proxy/inbound/accept.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { outboundAccept } from "../../../src/proxy/outbound/accept.ts";
import { Targets } from "../../../src/proxy/outbound/targets.ts";
import {
  Draining,
  MAX_HEAD_BYTES,
  reachOptions,
  serverOptions,
  STATIC_OUTBOUND,
} from "../../../src/proxy/serve.ts";
import { MemoryDriver, type TestPeer, turn } from "../../support/memory-driver.ts";
import { endpoint, route } from "../../support/outbound-fixture.ts";
import { GET, RawPeer } from "../http2/raw-peer.ts";

const APP = { ip: "127.77.0.9", port: 2525 };

function parts() {
  const driver = new MemoryDriver();
  const metrics = new ProxyMetrics();
  const server = serverOptions({
    metrics,
    log: SILENT,
    draining: new Draining(),
    tellMesh: () => true,
  });
  return {
    driver,
    metrics,
    server,
    app: () => driver.connects.at(-1) as TestPeer,
    metric: (name: string) =>
      exposition(metrics.sheet, []).split("\n").filter((line) => line.startsWith(name)),
  };
}

function inbound(policy: Partial<ServerPolicy> = {}, who: Authentication["kind"] | null = null) {
  const p = parts();
  const origin = { group: "", kind: "server", namespace: "shop", name: "mail", port: 0 };
  const value: InboundSnapshot = {
    policy: {
      origin,
      protocol: "detect",
      detectMs: 10_000,
      authorizations: who === null ? [] : [{
        origin,
        networks: [{ cidr: "0.0.0.0/0", except: [] }],
        authentication: { kind: "unauthenticated" },
      }],
      routes: [route()],
      filters: [],
      ...policy,
    },
    routes: (policy.routes ?? [route()]).map((r) => ({ route: r, chain: NO_FILTERS })),
  };
  const made = new Inbound({
    driver: p.driver,
    metrics: p.metrics,
    discovery: {
      inbound: () => ({ value, why: "", subscribe: () => () => {}, release: () => {} }),
      outbound: () => {
        throw new Error("not used here");
      },
    },
    sourceIp: null,
    application: () => APP,
    connectMs: 100,
    poolIdleMs: 3000,
    maxIdle: 10,
    maxInFlight: 100,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    server: p.server,
    fixedPort: APP.port,
    log: SILENT,
  });
  /** As a listener with mesh TLS asks about a client that has said nothing for so long. */
  const silent = (silentMs = 60, tls: PeerTls | null = null) => {
    const { driver } = p;
    const before = driver.peers.length;
    let core: Core | null = null;
    const client = driver.accept((ch, peer) => {
      core = made.acceptSilent(ch, { ...peer, tls, silentMs });
      return core ?? IGNORED;
    });
    return core === null ? null : { client, before };
  };
  return { ...p, silent, client: () => p.driver.accept(made.accept) };
}

/** Stands for a listener that goes on waiting. */
const IGNORED: Core = {
  opened: () => {},
  feed: () => 0,
  writable: () => {},
  ended: () => {},
  closed: () => {},
};

function outbound(httpOnly = false) {
  const p = parts();
  const targets = new Targets(
    createStaticDiscovery({
      endpoints: [endpoint(APP)],
      chain: NO_FILTERS,
      filters: [],
      allow: null,
    }),
    reachOptions({
      driver: p.driver,
      metrics: p.metrics,
      sourceIp: null,
      podIps: null,
      connectMs: 1000,
      poolIdleMs: 3000,
      maxIdle: 10,
    }),
    { ...STATIC_OUTBOUND, inFlight: { count: 0 } },
    Infinity,
  );
  const accept = outboundAccept({
    driver: p.driver,
    metrics: p.metrics,
    targets,
    fixed: { authority: "static" },
    server: p.server,
    httpOnly,
  });
  return { ...p, client: () => p.driver.accept(accept) };
}

test("inbound: a port of HTTP/1 by policy, which has no time for detection, waits for its clients", async () => {
  for (const waitMs of [0, 500]) {
    const f = inbound({ protocol: "http1", detectMs: 0 });
    const client = f.client();
    if (waitMs > 0) f.driver.advance(waitMs);
    f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
    await turn();
    assert.match(client.take(), /^HTTP\/1\.1 403 /, `after ${waitMs} ms`);
  }
});

for (
  const [side, make] of [["inbound", () => inbound({}, "unauthenticated")], [
    "outbound",
    () => outbound(),
  ]] as const
) {
  test(`${side}: a server that speaks first needs no annotation and no stall`, async () => {
    const f = make();
    const client = f.client();
    f.driver.advance(100);
    f.driver.open(f.app());
    f.driver.feed(f.app(), "220 mail.test ESMTP\r\n");
    await turn();
    assert.is(client.take(), "220 mail.test ESMTP\r\n");
    f.driver.feed(client, "QUIT\r\n");
    await turn();
    assert.is(f.app().take(), "QUIT\r\n");
    f.driver.feed(f.app(), "221 bye\r\n");
    f.driver.end(f.app());
    await turn();
    assert.is(client.take(), "221 bye\r\n");
    assert.ok(client.shutdown);
    f.driver.end(client);
    await turn();
    // Both directions have ended: the driver says so of the application's channel.
    f.app().core?.closed(f.app().ch, null);
    assert.match(
      f.metric(`${side}_tcp_detect_http_results_total`).join("\n"),
      /result="server_first"\} 1/,
    );
    assert.ok(f.metric(`${side}_tcp_detect_http_duration_seconds_count`)[0]?.endsWith(" 1"));
    assert.match(f.metric("tcp_open_connections").join("\n"), /peer="src".* 0/);
  });

  test(`${side}: HTTP/1, HTTP/2 and opaque bytes share a port`, async () => {
    const f = make();
    const one = f.client();
    f.driver.feed(one, "GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
    f.driver.open(f.app());
    assert.match(f.app().take(), /^GET \/a HTTP\/1\.1\r\n/);
    f.driver.feed(f.app(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert.match(one.take(), /^HTTP\/1\.1 200 OK\r\n/);
    const three = f.client();
    f.driver.feed(three, "PING\r\n");
    f.driver.open(f.app());
    await turn();
    assert.is(f.app().take(), "PING\r\n");
    const two = new RawPeer(f.driver, f.client());
    two.hello().headers(1, GET);
    assert.ok(f.app() !== undefined);
    const results = f.metric(`${side}_tcp_detect_http_results_total`).join("\n");
    for (const result of ["http/1", "http/2", "not_http"]) {
      assert.match(results, new RegExp(`result="${result}"\\} 1`));
    }
    assert.is(two.peer.closed, null);
  });
}

test("a client that the policy does not know has no upstream opened for it, ever", async () => {
  const f = inbound({}, null);
  const client = f.client();
  f.driver.advance(10_200);
  await turn();
  assert.is(f.driver.connects.length, 0);
  assert.is(client.closed, "reset");
  assert.is(client.sent, "");
  assert.match(f.metric("inbound_tcp_authz_deny_total").join("\n"), / 1$/);
});

test("where a request decides, no byte of the server reaches a client that has sent none", () => {
  const filter = {
    name: "route-policy",
    sha256: "0".repeat(64),
    size: 1,
    config: new Uint8Array(0),
    failurePolicy: "closed" as const,
    fuelPerHook: 0,
    memoryPages: 0,
  };
  for (const policy of [{ filters: [filter] }, { routes: [route({ filters: [filter] })] }]) {
    const f = inbound(policy, "unauthenticated");
    const client = f.client();
    f.driver.advance(9_900);
    assert.is(f.driver.connects.length, 0);
    f.driver.feed(client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    f.driver.open(f.app());
    assert.match(f.app().take(), /^GET \/ /);
  }
});

test("where the target speaks HTTP only, other bytes and silence are refused", async () => {
  const f = outbound(true);
  const other = f.client();
  f.driver.feed(other, "PING\r\n");
  const silent = f.client();
  f.driver.advance(10_200);
  await turn();
  assert.is(f.driver.connects.length, 0);
  assert.equal([other.closed, silent.closed], ["flush", "flush"]);
  const policy = inbound({ protocol: "http1" }, "unauthenticated");
  const third = policy.client();
  policy.driver.feed(third, "\x16\x03\x01\x05\xa8\x01\x00");
  assert.is(third.closed, "flush");
});

test("ports whose protocol is known are not detected", () => {
  const opaque = inbound({ protocol: "opaque" }, "unauthenticated");
  opaque.client();
  assert.is(opaque.driver.connects.length, 1);
  const http2 = inbound({ protocol: "grpc" }, "unauthenticated");
  const peer = new RawPeer(http2.driver, http2.client());
  assert.ok(peer.peer.sent.length > 0); // our SETTINGS, before the client says anything
  peer.hello().headers(1, GET);
  assert.is(http2.driver.connects.length, 1);
  for (const f of [opaque, http2]) {
    assert.equal(f.metric("inbound_tcp_detect_http_results_total"), []);
  }
});

test("while TLS of the mesh may still come, a server that speaks first is heard where its client may", async () => {
  const f = inbound({}, "unauthenticated");
  const served = f.silent(60);
  assert.ok(served !== null);
  f.driver.advance(32); // its silence counts: nothing is waited for any longer
  f.driver.open(f.app());
  f.driver.feed(f.app(), "220 mail.test ESMTP\r\n");
  await turn();
  assert.is(served!.client.take(), "220 mail.test ESMTP\r\n");
  assert.match(
    f.metric("inbound_tcp_detect_http_duration_seconds_sum").join("\n"),
    / 0\.0[6-9]/,
    "the silence before is part of the time",
  );
  const opaque = inbound({ protocol: "opaque" }, "unauthenticated");
  assert.ok(opaque.silent() !== null);
  assert.is(opaque.driver.connects.length, 1);
});

test("a client that begins TLS after all ends what was opened for it, and is not counted", () => {
  const f = inbound({}, "unauthenticated");
  const served = f.silent();
  f.driver.advance(32);
  f.driver.open(f.app());
  served!.client.core!.closed(served!.client.ch, null);
  assert.is(f.app().closed, "flush");
  assert.equal(f.metric("inbound_tcp_detect_http_results_total"), []);
  assert.match(f.metric("tcp_open_connections").join("\n"), /peer="src".* 0/);
});

test("a silent client gets nothing opened where TLS is required, a request decides, or HTTP is spoken", () => {
  const filter = {
    name: "route-policy",
    sha256: "0".repeat(64),
    size: 1,
    config: new Uint8Array(0),
    failurePolicy: "closed" as const,
    fuelPerHook: 0,
    memoryPages: 0,
  };
  const needsTls = inbound({
    authorizations: [{
      origin: { group: "", kind: "server", namespace: "shop", name: "mail", port: 0 },
      networks: [{ cidr: "0.0.0.0/0", except: [] }],
      authentication: { kind: "identities", names: ["client.test"], suffixes: [] },
    }],
  });
  for (
    const f of [
      needsTls,
      inbound({}, null),
      inbound({ filters: [filter] }, "unauthenticated"),
      inbound({ routes: [route({ filters: [filter] })] }, "unauthenticated"),
      inbound({ protocol: "http1" }, "unauthenticated"),
      inbound({ protocol: "grpc" }, "unauthenticated"),
    ]
  ) {
    assert.is(f.silent(), null);
    f.driver.advance(20_000);
    assert.is(f.driver.connects.length, 0);
    assert.equal(f.metric("inbound_tcp_authz_deny_total"), [], "it may yet show who it is");
  }
});

test.run();
