// TLS of an application to a server outside the mesh, over real sockets: it passes through both
// directions' proxies as it is, by its name, and each side's end reaches the other.

import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseSamples } from "../../../src/cli/demo-scrape.ts";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import type { OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { createStaticDiscovery } from "../../../src/proxy/discovery/static.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { eventually, sum } from "../../mesh/support/waiting.ts";
import { material } from "../../support/driver-fixture.ts";
import { type NetProxy, netProxy } from "../../support/net-proxy.ts";
import { endpoint, route } from "../../support/outbound-fixture.ts";
import { createTestCa } from "../../support/test-ca.ts";

const ca = await createTestCa("outside");

/** Says its name, echoes, and says goodbye after the client's end. */
async function outsideServer(name: string) {
  const { keyPem, certPem } = await material(ca, name);
  const server = tls.createServer(
    { key: keyPem, cert: certPem, allowHalfOpen: true },
    (socket) => {
      socket.on("error", () => {});
      socket.write(`${name}\n`);
      socket.on("data", (bytes: Uint8Array) => void socket.write(bytes));
      socket.on("end", () => socket.end("goodbye"));
    },
  );
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, addr: { ip: "127.0.0.1", port: (server.address() as net.AddressInfo).port } };
}

const one = await outsideServer("one.example.test");
const two = await outsideServer("two.example.test");
test.after(() => {
  one.server.close();
  two.server.close();
});

const sums = (proxy: NetProxy, name: string, labels: Record<string, string> = {}) =>
  sum(parseSamples(exposition(proxy.metrics.sheet, []), () => true), name, labels);

function connect(port: number, servername: string): tls.TLSSocket {
  // Not among the types, and honoured.
  const halfOpen = { allowHalfOpen: true };
  return tls.connect({
    host: "127.0.0.1",
    port,
    servername,
    ca: ca.pem,
    checkServerIdentity: () => undefined,
    ...halfOpen,
  });
}

/** Talks to whoever answers, ends first, and resolves with all that came. */
async function talk(socket: tls.TLSSocket): Promise<string> {
  let heard = "";
  socket.on("data", (bytes: Uint8Array) => heard += new TextDecoder().decode(bytes));
  await once(socket, "secureConnect");
  await eventually("the server's name", () => assert.match(heard, "\n"));
  socket.write("hello ");
  await eventually("the echo", () => assert.ok(heard.endsWith("hello ")));
  socket.end();
  await once(socket, "end");
  return heard;
}

const backends = [endpoint(one.addr, { backend: "one" }), endpoint(two.addr, { backend: "two" })];

/** An outbound proxy whose policy for the place is TLS with a route for each name. */
async function outbound(): Promise<NetProxy> {
  const fixed = createStaticDiscovery({
    endpoints: backends,
    chain: NO_FILTERS,
    filters: [],
    allow: null,
  });
  const to = (authority: string, name: string) => ({
    route: route({
      snis: [{ kind: "exact" as const, name }],
      split: { pick: "first" as const, backends: [{ authority, weight: 1 }] },
    }),
    chain: NO_FILTERS,
  });
  return await netProxy({
    to: [one.addr],
    original: { ip: "198.51.100.7", port: 443 },
    discovery: {
      ...fixed,
      outbound(key) {
        const watched = fixed.outbound(key);
        const value: OutboundSnapshot = {
          ...(watched.value as OutboundSnapshot),
          opaque: true,
          tls: true,
          routes: [to("two", "two.example.test"), to("one", "one.example.test")],
        };
        return { ...watched, value };
      },
    },
  });
}

test("outbound: the name decides, the certificate is the server's, and each end is heard", async () => {
  const proxy = await outbound();
  for (const name of ["one.example.test", "two.example.test"]) {
    const socket = connect(proxy.port, name);
    const heard = talk(socket);
    await once(socket, "secureConnect");
    assert.is(socket.getPeerX509Certificate()?.subjectAltName, `DNS:${name}`);
    assert.is(await heard, `${name}\nhello goodbye`);
  }
  await eventually("the connections are closed", () => {
    assert.is(sums(proxy, "outbound_tls_route_close_total", { error: "" }), 2);
    assert.is(sums(proxy, "tcp_open_connections"), 0);
  });
  assert.is(sums(proxy, "outbound_tcp_protocol_connections_total", { protocol: "tls" }), 2);
  assert.equal(proxy.defects, []);
  await proxy.close();
});

test("outbound: a name that no route has reaches nobody", async () => {
  const proxy = await outbound();
  const socket = connect(proxy.port, "three.example.test");
  socket.on("error", () => {}); // that it is refused is what is asked for
  await new Promise<void>((resolve) => socket.on("close", () => resolve()));
  assert.is(sums(proxy, "outbound_tls_route_close_total", { error: "invalid_policy" }), 1);
  await proxy.close();
});

test("inbound: TLS for another name passes to the application, and is counted by its name", async () => {
  const proxy = await netProxy({
    to: [one.addr],
    inbound: true,
    identity: await material(await createTestCa("mesh"), "server.mesh.test"),
    anyName: false,
  });
  const socket = connect(proxy.port, "one.example.test");
  assert.is(await talk(socket), "one.example.test\nhello goodbye");
  await eventually("the connection is closed", () => {
    assert.is(sums(proxy, "tcp_open_connections"), 0);
  });
  const passed = { peer: "src", tls: "opaque", sni: "one.example.test" };
  assert.is(sums(proxy, "tcp_open_total", passed), 1);
  assert.is(sums(proxy, "inbound_tcp_detect_http_results_total", { result: "not_http" }), 1);
  assert.equal(proxy.defects, []);
  await proxy.close();
});

test.run();
