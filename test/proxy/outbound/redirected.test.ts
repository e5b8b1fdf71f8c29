import { test } from "uvu";
import * as assert from "uvu/assert";
import type { SocketAddr } from "../../../src/core/addr.ts";
import { SILENT } from "../../../src/core/log.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { outboundAccept } from "../../../src/proxy/outbound/accept.ts";
import { ownListener } from "../../../src/proxy/own-listener.ts";
import { serverOptions } from "../../../src/proxy/serve.ts";
import { type TestPeer, turn } from "../../support/memory-driver.ts";
import { A, B, endpoint, outboundFixture, snapshot } from "../../support/outbound-fixture.ts";

const OWN = [{ ip: "127.77.0.1", port: 4140 }];
const REQUEST = "GET / HTTP/1.1\r\nhost: somewhere.test\r\n\r\n";

/** A proxy and a client that was redirected to it on its way to `original`. */
function redirected(original: SocketAddr, value: Parameters<typeof outboundFixture>[0]) {
  const proxy = outboundFixture(value);
  const { driver, metrics, targets, draining } = proxy;
  const accept = outboundAccept({
    driver,
    metrics,
    targets,
    fixed: null,
    isOwn: ownListener(OWN, []),
    server: serverOptions({ metrics, log: SILENT, draining, tellMesh: () => true }),
  });
  const client = driver.accept(accept, {
    local: { ip: "127.77.0.1", port: 4140 },
    remote: { ip: "127.77.0.1", port: 50000 },
    tls: null,
    original,
  });
  return { ...proxy, client, upstream: () => driver.peers.at(-1) as TestPeer };
}

test("a connection to an own listener is refused and counted", () => {
  const { client, metrics, discovery } = redirected(OWN[0]!, snapshot(null));
  assert.is(client.closed, "reset");
  assert.equal(discovery.asked, []);
  const shown = exposition(metrics.sheet, []);
  assert.match(shown, /^outbound_tcp_errors_total\{[^}]*error="loop"[^}]*\} 1$/m);
});

test("a redirected request goes by its original destination, whatever its Host", () => {
  const { client, driver, discovery, upstream } = redirected(
    A,
    snapshot({ exists: true, endpoints: [endpoint(A)] }),
  );
  driver.feed(client, REQUEST);
  assert.equal(discovery.asked, [{ original: A }]);
  driver.open(upstream());
  assert.equal(upstream().to?.addr, A);
  assert.match(upstream().sent, "host: somewhere.test");
});

test("no byte is read before it is known whether the port is opaque", async () => {
  const { client, driver, discovery, upstream } = redirected(B, null);
  driver.feed(client, REQUEST);
  assert.is(driver.peers.length, 1);
  discovery.set({ ...snapshot({ exists: true, endpoints: [endpoint(B)] }), opaque: true });
  await turn();
  driver.open(upstream());
  await turn();
  assert.is(upstream().sent, REQUEST, "as it came, without a hop's header more or less");
});

test("without an answer of the control plane the client hears why, in time", async () => {
  const { client, driver } = redirected(B, null);
  driver.feed(client, REQUEST);
  driver.advance(3100);
  await turn();
  driver.advance(3100);
  await turn();
  assert.match(client.sent, /^HTTP\/1\.1 504 /);
});

test("an own listener is known by any address at which it is reached", () => {
  const isOwn = ownListener([{ ip: "0.0.0.0", port: 4143 }, { ip: "127.0.0.1", port: 4140 }], [
    "10.1.2.3",
    "fd00::3",
  ]);
  const at = (ip: string, port: number) => isOwn({ ip, port });
  assert.ok(at("10.1.2.3", 4143) && at("127.0.0.1", 4143) && at("127.0.0.1", 4140));
  assert.not(at("10.9.9.9", 4143), "another pod's");
  assert.not(at("fd00::3", 4143), "0.0.0.0 takes no IPv6");
  assert.not(at("10.1.2.3", 4140) || at("10.1.2.3", 80));
  assert.ok(ownListener([{ ip: "::", port: 1 }], ["fd00::3"])({ ip: "fd00::3", port: 1 }));
});

test.run();
