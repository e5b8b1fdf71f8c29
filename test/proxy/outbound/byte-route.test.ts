// Connections whose bytes are no requests: which route, which backend, which endpoint. In memory.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import { SILENT } from "../../../src/core/log.ts";
import type { Route } from "../../../src/model/route.ts";
import type { SniMatch } from "../../../src/model/sni.ts";
import type { OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { outboundAccept } from "../../../src/proxy/outbound/accept.ts";
import { byteRoute } from "../../../src/proxy/outbound/byte-route.ts";
import { serverOptions } from "../../../src/proxy/serve.ts";
import { type TestPeer, turn } from "../../support/memory-driver.ts";
import {
  A,
  B,
  endpoint,
  outboundFixture,
  route,
  snapshot,
} from "../../support/outbound-fixture.ts";

const ORIGINAL = { ip: "10.0.0.9", port: 5432 };

/** A proxy and clients that were redirected to it on their way to one place. */
function redirected(value: OutboundSnapshot) {
  const proxy = outboundFixture(value);
  const { driver, metrics, targets, draining } = proxy;
  const accept = outboundAccept({
    driver,
    metrics,
    targets,
    fixed: null,
    server: serverOptions({ metrics, log: SILENT, draining, tellMesh: () => true }),
  });
  const connect = () =>
    driver.accept(accept, {
      local: { ip: "127.77.0.1", port: 4140 },
      remote: { ip: "127.77.0.1", port: 50000 },
      tls: null,
      original: ORIGINAL,
    });
  return {
    ...proxy,
    connect,
    /** A client whose connection goes on at once; the endpoint's end of it. */
    through(): { client: TestPeer; server: TestPeer } {
      const client = connect();
      const server = driver.connects.at(-1) as TestPeer;
      driver.open(server);
      return { client, server };
    },
    shown: (family: string) =>
      exposition(metrics.sheet, []).split("\n").filter((line) => line.startsWith(`${family}{`)),
  };
}

const opaque = (...endpoints: Parameters<typeof endpoint>[]) => ({
  ...snapshot({ exists: true, endpoints: endpoints.map((e) => endpoint(...e)) }),
  opaque: true,
});

test("a new connection goes where fewer are open", async () => {
  const f = redirected(opaque([A], [B]));
  const open = Array.from({ length: 20 }, () => f.through());
  const at = (ip: string) => open.filter(({ server }) => server.to?.addr.ip === ip);
  assert.equal([at(A.ip).length, at(B.ip).length], [10, 10]);
  // Five of one endpoint's end, on both sides: the next five go there.
  for (const { client, server } of at(A.ip).slice(0, 5)) {
    f.driver.end(server);
    f.driver.end(client);
    await turn();
    server.core?.closed(server.ch, null);
  }
  const next = Array.from({ length: 5 }, () => f.through().server.to?.addr.ip);
  assert.equal(next, new Array(5).fill(A.ip));
});

test("an endpoint that cannot be reached is left alone while there is another", async () => {
  const f = redirected(opaque([A], [B]));
  f.connect();
  const [refused] = f.driver.connects;
  f.driver.fail(refused!, { kind: "connect", message: "ECONNREFUSED" });
  await turn();
  for (let i = 0; i < 5; i++) assert.not.equal(f.through().server.to?.addr, refused?.to?.addr);
});

test("connections over several backends are shared by weight", () => {
  const split = {
    pick: "random" as const,
    backends: [{ authority: "old:1", weight: 3 }, { authority: "new:1", weight: 1 }],
  };
  const f = redirected({
    ...opaque([A, { backend: "old:1" }], [B, { backend: "new:1" }]),
    routes: [{ route: route({ split }), chain: NO_FILTERS }],
  });
  const ips = Array.from({ length: 400 }, () => f.through().server.to?.addr.ip);
  const share = ips.filter((ip) => ip === B.ip).length / ips.length;
  assert.ok(share > 0.18 && share < 0.32, `${share} of the connections`);
});

/** A ClientHello with nothing but a name, as one record. */
function clientHello(name: string): string {
  const u16 = (n: number) => String.fromCharCode(n >> 8, n & 255);
  const sni = name === "" ? "" : `\0${u16(name.length)}${name}`;
  const list = sni === "" ? "" : `\0\0${u16(sni.length + 2)}${u16(sni.length)}${sni}`;
  const body = `\x03\x03${"r".repeat(32)}\0\0\x02\x13\x01\x01\0${u16(list.length)}${list}`;
  const handshake = `\x01\0${u16(body.length)}${body}`;
  return `\x16\x03\x01${u16(handshake.length)}${handshake}`;
}

function tls() {
  const to = (authority: string, snis: readonly SniMatch[]) => ({
    route: route({
      snis,
      split: { pick: "first" as const, backends: [{ authority, weight: 1 }] },
      origin: { group: "g", kind: "TLSRoute", namespace: "shop", name: authority, port: 0 },
    }),
    chain: NO_FILTERS,
  });
  return redirected({
    ...opaque([A, { backend: "a" }], [B, { backend: "b" }]),
    tls: true,
    routes: [
      to("b", [{ kind: "suffix", name: "example.com" }]),
      to("a", [{ kind: "exact", name: "a.example.com" }]),
    ],
  });
}

test("TLS goes by the name that its client asks for, byte for byte", async () => {
  for (const [name, addr] of [["a.example.com", A], ["B.Example.Com", B]] as const) {
    const f = tls();
    const client = f.connect();
    const hello = clientHello(name);
    f.driver.feed(client, hello.slice(0, 7));
    f.driver.feed(client, hello.slice(7, 60));
    assert.is(f.driver.connects.length, 0);
    f.driver.feed(client, hello.slice(60));
    const [server] = f.driver.connects;
    assert.equal(server?.to?.addr, addr);
    f.driver.open(server!);
    await turn();
    assert.is(server?.sent, hello);
    const [opened] = f.shown("outbound_tls_route_open_total");
    assert.match(opened ?? "", `route_name="${addr === A ? "a" : "b"}"`);
    assert.match(f.shown("outbound_tcp_protocol_connections_total").join(), /protocol="tls"/);
  }
});

test("TLS for a name without route, and what is no TLS, go nowhere", async () => {
  for (const bytes of [clientHello("example.com"), clientHello(""), "GET / HTTP/1.1\r\n\r\n"]) {
    const f = tls();
    const client = f.connect();
    f.driver.feed(client, bytes);
    await turn();
    assert.is(client.closed, "reset");
    assert.is(client.sent, "");
    assert.is(f.driver.connects.length, 0);
  }
  const silent = tls();
  const client = silent.connect();
  silent.driver.advance(10_100);
  assert.is(client.closed, "reset");
  assert.match(silent.shown("outbound_tcp_errors_total").join(), /error="not TLS"[^}]*\} 1/);
  assert.match(tlsErrors(), /error="invalid_policy"\} 1/);
});

function tlsErrors(): string {
  const f = tls();
  f.driver.feed(f.connect(), clientHello("elsewhere.test"));
  return f.shown("outbound_tls_route_close_total").join();
}

const FORBIDDEN = { name: "tcp-egress-deny", refuses: "forbidden" as const };

test("bytes whose route refuses them are reset at once, and counted", async () => {
  const shut = { route: route(FORBIDDEN), chain: NO_FILTERS };
  const nothing = snapshot({ exists: false, endpoints: [] }, [shut]);
  const waits = { exists: true, endpoints: [] };
  for (
    const value of [
      { ...opaque([A]), routes: [shut] },
      // Nobody waits for what would not be used.
      { ...nothing, opaque: true },
      { ...nothing, opaque: true, endpoints: waits, exists: true },
    ]
  ) {
    const f = redirected(value);
    const client = f.connect();
    await turn();
    assert.is(client.closed, "reset");
    assert.is(f.driver.connects.length, 0);
    const [closed] = f.shown("outbound_tcp_route_close_total");
    assert.match(closed ?? "", /route_name="tcp-egress-deny"[^}]*error="forbidden"\} 1/);
  }
  const invalid = redirected({
    ...opaque([A]),
    routes: [{ route: route({ refuses: "invalid" }), chain: NO_FILTERS }],
  });
  assert.is(invalid.connect().closed, "reset");
  assert.match(
    invalid.shown("outbound_tcp_route_close_total").join(),
    /error="invalid_policy"\} 1/,
  );
});

test("bytes have a route of their own beside those of requests", async () => {
  const both = (bytes: Route) => redirected({ ...opaque([A]), opaque: false, bytes });
  const f = both(route(FORBIDDEN));
  const http = f.connect();
  f.driver.feed(http, "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  assert.is(f.driver.connects.length, 1, "requests go on");
  const client = f.connect();
  f.driver.feed(client, clientHello("db.example.com"));
  await turn();
  assert.is(client.closed, "reset");
  assert.match(f.shown("outbound_tcp_route_close_total").join(), /error="forbidden"\} 1/);
  // A client that is silent opens nothing either, and is not ended before it is known what it speaks.
  const silent = f.connect();
  f.driver.advance(100);
  assert.equal([silent.closed, f.driver.connects.length], [null, 1]);
  f.driver.advance(10_100);
  assert.is(silent.closed, "reset");
  assert.is(f.driver.connects.length, 1);
});

test("where every request fails, bytes are no way around", async () => {
  const fail = { kind: "fail", status: 403, grpcStatus: null, message: "no", ratio: 1 } as const;
  const f = redirected({
    ...opaque([A]),
    opaque: false,
    routes: [{ route: route({ actions: [fail] }), chain: NO_FILTERS }],
  });
  const client = f.connect();
  f.driver.feed(client, clientHello("db.example.com"));
  await turn();
  assert.is(client.closed, "reset");
  assert.is(f.driver.connects.length, 0);
});

test("on a port that is declared to speak HTTP nothing else is spoken", async () => {
  const f = redirected({ ...opaque([A]), opaque: false, httpOnly: true });
  f.driver.feed(f.connect(), "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  assert.is(f.driver.connects.length, 1);
  const client = f.connect();
  f.driver.feed(client, clientHello("db.example.com"));
  await turn();
  assert.is(client.closed, "reset");
  // Nobody waits for what a server says first.
  f.connect();
  f.driver.advance(100);
  assert.is(f.driver.connects.length, 1);
  assert.match(f.shown("outbound_tcp_errors_total").join(), /error="not HTTP"[^}]*\} 1/);
});

test("the longest suffix and the exact name win, in whatever order", () => {
  const routes = ([["example.com"], ["b.example.com"], []] as const).map(([name], i) => ({
    i,
    route: name === undefined ? {} : { snis: [{ kind: "suffix" as const, name }] },
  }));
  assert.is(byteRoute(routes, "a.b.example.com")?.i, 1);
  assert.is(byteRoute(routes, "b.example.com")?.i, 0);
  assert.is(byteRoute(routes, "example.com")?.i, 2);
  assert.is(byteRoute(routes, null)?.i, 2);
  assert.is(byteRoute([], "a"), undefined);
});

test.run();
