import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Peer, PeerTls } from "../../../src/core/driver.ts";
import {
  CONTINUE,
  type FilterChain,
  HOOK_CONNECTION,
  HOOK_CONNECTION_END,
  HOOK_END,
  HOOK_REQUEST,
  NO_FILTERS,
  REPLY,
} from "../../../src/core/filter.ts";
import { SILENT } from "../../../src/core/log.ts";
import type { Authentication } from "../../../src/model/policy.ts";
import type { InboundSnapshot, Watched } from "../../../src/proxy/discovery/discovery.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { Inbound } from "../../../src/proxy/inbound/accept.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { Draining, MAX_HEAD_BYTES, serverOptions } from "../../../src/proxy/serve.ts";
import { encodeTransportHeader } from "../../../src/api/transport-header.ts";
import { MemoryDriver, type TestPeer, turn } from "../../support/memory-driver.ts";
import { route } from "../../support/outbound-fixture.ts";

const ALPN = "transport.l5d.io/v1";
const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

function snapshot(
  authentication: Authentication,
  chain: FilterChain = NO_FILTERS,
): InboundSnapshot {
  const origin = {
    group: "policy.linkerd.io",
    kind: "server",
    namespace: "shop",
    name: "catalogue-http",
    port: 0,
  };
  const only = route();
  return {
    policy: {
      origin,
      protocol: "http1",
      detectMs: 10_000,
      authorizations: [{
        origin: { ...origin, kind: "authorizationpolicy", name: "catalogue-web" },
        networks: [{ cidr: "0.0.0.0/0", except: [] }],
        authentication,
      }],
      routes: [only],
      filters: [],
    },
    routes: [{ route: only, chain }],
  };
}

const ONLY_WEB: Authentication = { kind: "identities", names: ["web.shop"], suffixes: [] };

function fixture(
  value: InboundSnapshot | null,
  more: { fixedPort?: number; maxInFlight?: number } = {},
) {
  const driver = new MemoryDriver();
  const metrics = new ProxyMetrics();
  const listeners = new Set<(value: InboundSnapshot) => void>();
  const watched = {
    value,
    why: "",
    subscribe(listener: (value: InboundSnapshot) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    release() {},
  } satisfies Watched<InboundSnapshot>;
  const asked: number[] = [];
  const inbound = new Inbound({
    driver,
    metrics,
    discovery: {
      inbound(port) {
        asked.push(port);
        return watched;
      },
      outbound: () => {
        throw new Error("not used here");
      },
    },
    sourceIp: "127.77.0.9",
    application: (port) => ({ ip: "127.77.0.9", port }),
    connectMs: 100,
    poolIdleMs: 3000,
    maxIdle: 10,
    maxInFlight: more.maxInFlight ?? 100,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    server: serverOptions({
      metrics,
      log: SILENT,
      draining: new Draining(),
      tellMesh: (conn) => conn.tls !== null,
    }),
    fixedPort: more.fixedPort ?? null,
    log: SILENT,
  });
  const connect = (tls: PeerTls | null): TestPeer => {
    const peer: Peer = {
      local: { ip: "127.77.0.9", port: 4143 },
      remote: { ip: "127.77.0.2", port: 50001 },
      tls,
    };
    return driver.accept(inbound.accept, peer);
  };
  return {
    driver,
    metrics,
    asked,
    connect,
    app: () => driver.connects.at(-1) as TestPeer,
    set(next: InboundSnapshot) {
      watched.value = next;
      for (const listener of [...listeners]) listener(next);
    },
    metric: (name: string) =>
      exposition(metrics.sheet, []).split("\n").filter((line) => line.startsWith(name)),
  };
}

const meshed = (identity: string | null): PeerTls => ({ identity, alpn: ALPN });
const header = (protocol: "http1" | "opaque", port = 8080) =>
  encodeTransportHeader({ port, name: "", protocol });

test("a meshed client reaches the application, which is told who asks", () => {
  const f = fixture(snapshot(ONLY_WEB));
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("http1"));
  f.driver.feed(client, GET.replace("\r\n\r\n", "\r\nl5d-client-id: admin.shop\r\n\r\n"));
  assert.equal(f.asked, [8080]);
  assert.equal(f.app().to?.addr, { ip: "127.77.0.9", port: 8080 });
  assert.is(f.app().to?.from, "127.77.0.9");
  assert.is(f.app().to?.tls, null);
  f.driver.open(f.app());
  assert.is(f.app().take(), "GET /a HTTP/1.1\r\nhost: web\r\nl5d-client-id: web.shop\r\n\r\n");
  f.driver.feed(f.app(), OK);
  assert.is(client.take(), OK);
  assert.match(
    f.metric("request_total")[0] ?? "",
    /direction="inbound".*tls="true",client_id="web\.shop",srv_.*authz_name="catalogue-web".* 1$/,
  );
  assert.match(f.metric("inbound_http_authz_allow_total")[0] ?? "", / 1$/);
});

test("the header and the first request in 1-byte pieces are the same", () => {
  const f = fixture(snapshot(ONLY_WEB));
  const client = f.connect(meshed("web.shop"));
  for (const byte of header("http1")) f.driver.feed(client, Uint8Array.of(byte));
  for (const char of GET) f.driver.feed(client, char);
  f.driver.open(f.app());
  assert.match(f.app().take(), /^GET \/a HTTP\/1\.1/);
});

test("a client with another identity is refused with 403 and counted", () => {
  const f = fixture(snapshot(ONLY_WEB));
  const client = f.connect(meshed("vote.shop"));
  f.driver.feed(client, header("http1"));
  f.driver.feed(client, GET);
  assert.match(
    client.take(),
    /^HTTP\/1\.1 403 Forbidden[^]*l5d-proxy-error: vote\.shop is not authorized on catalogue-http port 8080/,
  );
  assert.is(f.driver.connects.length, 0);
  assert.match(f.metric("inbound_http_authz_deny_total")[0] ?? "", /client_id="vote\.shop".* 1$/);
});

test("on the mesh port plain text, no client certificate and no header are refused and counted", () => {
  const f = fixture(snapshot({ kind: "unauthenticated" }));
  assert.is(f.connect(null).closed, "reset");
  assert.is(f.connect(meshed(null)).closed, "reset");
  assert.is(f.connect({ identity: "web.shop", alpn: null }).closed, "reset");
  const strange = f.connect(meshed("web.shop"));
  f.driver.feed(strange, GET);
  assert.is(strange.closed, "reset");
  assert.match(f.metric("inbound_tcp_errors_total").join(), /error="not meshed"} 4$/);
  assert.is(f.metrics.plaintextConnections, 1);
});

test("a port of its own serves plain text too, told apart by its missing identity", () => {
  const f = fixture(snapshot({ kind: "unauthenticated" }), { fixedPort: 8080 });
  const client = f.connect(null);
  f.driver.feed(client, GET.replace("\r\n\r\n", "\r\nl5d-client-id: admin.shop\r\n\r\n"));
  f.driver.open(f.app());
  assert.is(f.app().take(), GET);
  assert.match(
    f.metric("request_total")[0] ?? "",
    /tls="no_identity",no_tls_reason="no_tls_from_remote"/,
  );
});

test("a plain client is told nothing but the status", () => {
  const f = fixture(snapshot(ONLY_WEB), { fixedPort: 8080 });
  const client = f.connect(null);
  f.driver.feed(client, GET);
  assert.is(client.take(), "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
});

test("a policy that changes applies to the next request of an open connection", async () => {
  const f = fixture(snapshot(ONLY_WEB));
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("http1"));
  f.driver.feed(client, GET);
  f.driver.open(f.app());
  f.driver.feed(f.app(), OK);
  client.take();
  f.set(snapshot({ kind: "identities", names: [], suffixes: ["infra"] }));
  await turn();
  f.driver.feed(client, GET);
  assert.match(client.take(), /^HTTP\/1\.1 403/);
});

test("no policy yet is an error of ours, not a permission", () => {
  const f = fixture(null);
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("http1"));
  f.driver.feed(client, GET);
  assert.match(client.take(), /^HTTP\/1\.1 500 [^]*No policy for port 8080 yet/);
});

test("an application that refuses is 502, one that does not answer 504", () => {
  const f = fixture(snapshot(ONLY_WEB));
  const fail = (kind: "connect" | "connect-timeout", message: string) => {
    const client = f.connect(meshed("web.shop"));
    f.driver.feed(client, header("http1"));
    f.driver.feed(client, GET);
    f.driver.fail(f.app(), { kind, message });
    assert.ok(client.closed, "the client may have another replica");
    return client.take();
  };
  const what = "127\\.77\\.0\\.9:8080 failed: ECONNREFUSED\\r\\nl5d-proxy-connection: close\\r\\n";
  assert.match(fail("connect", "ECONNREFUSED"), new RegExp(`^HTTP/1\\.1 502 [^]*${what}`));
  assert.match(fail("connect-timeout", "no answer within 100 ms"), /^HTTP\/1\.1 504 /);
});

test("requests over the bound are 503, over all connections", () => {
  const f = fixture(snapshot(ONLY_WEB), { maxInFlight: 1 });
  const clients = [f.connect(meshed("web.shop")), f.connect(meshed("web.shop"))];
  for (const client of clients) {
    f.driver.feed(client, header("http1"));
    f.driver.feed(client, GET);
  }
  assert.match(clients[1]?.take() ?? "", /^HTTP\/1\.1 503 /);
});

test("filters of the server run after authorization, their end once", () => {
  const seen: string[] = [];
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_REQUEST | HOOK_END,
    requestHead(x) {
      seen.push(`request ${x.conn.tls?.identity}`);
      return CONTINUE;
    },
    end: (_x, status) => void seen.push(`end ${status}`),
  };
  const f = fixture(snapshot(ONLY_WEB, chain));
  const denied = f.connect(meshed("vote.shop"));
  f.driver.feed(denied, header("http1"));
  f.driver.feed(denied, GET);
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("http1"));
  f.driver.feed(client, GET);
  f.driver.open(f.app());
  f.driver.feed(f.app(), OK);
  assert.equal(seen, ["request web.shop", "end 200"]);
});

test("a route may admit whom the server does not, and only on that route", () => {
  const base = snapshot(ONLY_WEB);
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_REQUEST,
    requestHead(x) {
      x.local = { status: 403, headers: [], body: "" };
      return x.conn.tls?.identity === "vote.shop" ? CONTINUE : REPLY;
    },
  };
  const own = {
    ...route({ name: "own", match: { kind: "path-prefix", prefix: "/own" } }),
    actions: [{ kind: "authorize" as const, allow: ["id:vote.shop"] }],
  };
  const routes = [{ route: own, chain }, ...base.routes];
  const f = fixture({ policy: { ...base.policy, routes: routes.map((r) => r.route) }, routes });
  const ask = (identity: string, path: string) => {
    const client = f.connect(meshed(identity));
    f.driver.feed(client, header("http1"));
    f.driver.feed(client, GET.replace("/a", path));
    return client.take().slice(9, 12);
  };
  assert.is(ask("vote.shop", "/a"), "403", "no filter is asked where none decides");
  assert.is(ask("load.shop", "/own"), "403");
  assert.is(f.driver.connects.length, 0, "the application heard nothing of it");
  assert.is(ask("vote.shop", "/own"), "");
  f.driver.open(f.app());
  assert.match(f.app().take(), /^GET \/own /);
});

test("opaque TCP passes in both directions with half-closes", async () => {
  const f = fixture(snapshot(ONLY_WEB));
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("opaque", 7000));
  f.driver.feed(client, "early ");
  assert.equal(f.app().to?.addr, { ip: "127.77.0.9", port: 7000 });
  f.driver.open(f.app());
  await turn();
  f.driver.feed(client, "late");
  assert.is(f.app().take(), "early late");
  f.driver.feed(f.app(), "answer");
  assert.is(client.take(), "answer");
  f.driver.end(client);
  assert.ok(f.app().shutdown);
  f.driver.end(f.app());
  assert.ok(client.shutdown);
});

test("filters are asked about an opaque connection and told once what it carried", () => {
  const seen: string[] = [];
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_CONNECTION | HOOK_CONNECTION_END,
    connectionOpen(x) {
      seen.push(`open ${x.conn.tls?.identity} ${x.conn.target.port}`);
      x.filterError = "not today";
      return x.conn.target.port === 7000 ? CONTINUE : REPLY;
    },
    connectionEnd: (_x, bytesIn, bytesOut) => void seen.push(`end ${bytesIn} ${bytesOut}`),
  };
  const f = fixture(snapshot(ONLY_WEB, chain));
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("opaque", 7000));
  f.driver.open(f.app());
  f.driver.feed(client, "hello");
  f.driver.feed(f.app(), "hi");
  f.driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  assert.equal(seen, ["open web.shop 7000", "end 5 2"]);
  const denied = f.connect(meshed("web.shop"));
  f.driver.feed(denied, header("opaque", 7001));
  assert.is(denied.closed, "reset");
  assert.is(f.driver.connects.length, 1, "the application heard nothing of it");
  assert.equal(seen.slice(2), ["open web.shop 7001"]);
});

test("connections and their bytes are counted on both sides", () => {
  const f = fixture(snapshot(ONLY_WEB));
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("http1"));
  f.driver.feed(client, GET);
  f.driver.open(f.app());
  f.driver.feed(f.app(), OK);
  const of = (name: string, peer: string) =>
    Number(f.metric(name).find((line) => line.includes(`peer="${peer}"`))?.split(" ").at(-1));
  assert.is(of("tcp_open_total", "src"), 1);
  assert.is(of("tcp_open_connections", "dst"), 1);
  assert.is(of("tcp_read_bytes_total", "src"), GET.length);
  assert.is(of("tcp_write_bytes_total", "src"), OK.length);
  assert.is(of("tcp_read_bytes_total", "dst"), OK.length);
  assert.is(of("tcp_write_bytes_total", "dst"), `${GET}l5d-client-id: web.shop\r\n`.length);
  f.driver.end(client);
  assert.is(of("tcp_open_connections", "src"), 0);
  assert.is(of("tcp_close_total", "src"), 1);
});

test("opaque TCP of a client that may not is closed, and ended when the policy says so later", () => {
  const f = fixture(snapshot(ONLY_WEB));
  const denied = f.connect(meshed("vote.shop"));
  f.driver.feed(denied, header("opaque", 7000));
  assert.is(denied.closed, "reset");
  assert.is(f.metric("inbound_tcp_authz_deny_total").length, 1);
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("opaque", 7000));
  f.driver.open(f.app());
  f.set(snapshot({ kind: "identities", names: ["nobody"], suffixes: [] }));
  assert.is(client.closed, "reset");
  assert.is(f.app().closed, "reset");
});

test("a slow application stops the client of a TCP connection", () => {
  const f = fixture(snapshot(ONLY_WEB));
  const client = f.connect(meshed("web.shop"));
  f.driver.feed(client, header("opaque", 7000));
  f.driver.open(f.app());
  f.app().full = true;
  f.driver.feed(client, "x");
  assert.ok(client.paused);
  f.driver.drain(f.app());
  assert.not(client.paused);
});

test.run();
