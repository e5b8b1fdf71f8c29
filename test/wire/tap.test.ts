// Tap on our proxies, by the client of `linkerd tap` with Linkerd's own types. As behind that client's own
// proxy, its clear text becomes mesh TLS on the way, with the identity that may observe or another.

import net, { type AddressInfo } from "node:net";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { identityOf, type TestProxy } from "../linkerd/support/proxy.ts";
import { testUnless } from "../support/skip.ts";
import { keyObject, newKeys } from "../support/test-ca.ts";
import { NO_PEER, startPeer } from "./support/peer.ts";
import { MESHED, World } from "./support/world.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

const VIZ = identityOf("viz");
const world = new World("http1", 164);
if (NO_PEER === null) {
  await world.start({ LINKERD2_PROXY_TAP_SVC_NAME: VIZ });
  world.proxy("web").inbound = null; // others come to the mesh port itself
}
test.after(() => world.end());

/** Takes clear text on loopback to a pod's tap port, over mesh TLS as `name`. */
async function relayTo(proxy: TestProxy, name: string) {
  const keys = await newKeys();
  const { ca } = world.linkerd;
  const names = [{ type: "dns" as const, value: name }];
  const leaf = await ca.issue({ publicKey: keys.publicKey, names });
  const key = await keyObject(keys).then((k) => k.export({ format: "pem", type: "pkcs8" }));
  const open = new Set<net.Socket>();
  const server = net.createServer((plain) => {
    const secure = tls.connect({
      ...{ host: proxy.ip, port: 4190, servername: proxy.identity, ca: ca.pem },
      ...{ key: String(key), cert: leaf.toString("pem"), minVersion: "TLSv1.3" },
    });
    for (const [one, other] of [[plain, secure], [secure, plain]] as const) {
      open.add(one);
      one.on("error", () => other.destroy()).on("close", () => open.delete(one));
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    at: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Two requests of which one is wanted, and what the peer printed of it. */
async function observe(name: string, path: string): Promise<Json[]> {
  await using relay = await relayTo(world.proxy(name), VIZ);
  await using peer = startPeer("tap", relay.at, "1", "GET", path);
  assert.equal(await peer.heard(), { observing: true });
  const headers = { "x-tapped": "yes" };
  assert.is((await world.request("admin", MESHED, "/public/other", headers)).status, 200);
  assert.is((await world.request("admin", MESHED, `${path}?q=1`, headers)).status, 200);
  const heard: Json[] = [];
  while (heard.at(-1)?.status === undefined) heard.push(await peer.heard());
  assert.equal(heard.pop(), { status: "Ok" });
  return heard;
}

for (const [name, direction] of [["admin", "OUTBOUND"], ["web", "INBOUND"]] as const) {
  testUnless(NO_PEER, test, `${direction}: a request from its head to its end`, async () => {
    const path = `/public/${name}`;
    const events = await observe(name, path);
    assert.equal(events.map((e) => e.http.kind), ["request", "response", "end"]);
    assert.ok(events.every((e) => e.direction === direction));
    const [request, response, end] = events.map((e) => e.http);
    assert.equal([request.method, request.path], ["GET", path]);
    assert.is(request.authority, MESHED.host);
    assert.equal(request.headers.find((h: string[]) => h[0] === "x-tapped"), ["x-tapped", "yes"]);
    assert.is(response.status, 200);
    assert.ok(response.headers.some((h: string[]) => h[0] === "x-saw"));
    assert.is(end.bytes, 0, "as Linkerd's proxy, which counts none");
    // HTTP/1 between the applications is HTTP/2 between the proxies.
    const pseudo = response.headers.filter((h: string[]) => h[0]?.startsWith(":"));
    assert.equal(pseudo, direction === "OUTBOUND" ? [[":status", "200"]] : []);
    assert.ok(end.afterMs >= response.afterMs && response.afterMs >= 0);
    for (const { id } of [response, end]) assert.equal(id, request.id);
    const [{ source, destination, sourceLabels, destinationLabels }] = events;
    assert.is(source.split(":")[0], world.proxy("admin").ip);
    assert.is(destination, direction === "INBOUND" ? `${world.net}.2:8080` : world.app(2));
    if (direction === "INBOUND") assert.is(sourceLabels.client_id, identityOf("admin"));
    else assert.is(destinationLabels.server_id, identityOf("web"));
  });
}

testUnless(NO_PEER, test, "another identity is refused", async () => {
  await using relay = await relayTo(world.proxy("web"), identityOf("other"));
  await using peer = startPeer("tap", relay.at, "1", "GET", "/");
  assert.is((await peer.heard()).status, "Unauthenticated");
});

testUnless(NO_PEER, test, "no requests at all are not observed", async () => {
  await using relay = await relayTo(world.proxy("web"), VIZ);
  await using peer = startPeer("tap", relay.at, "0", "GET", "/");
  assert.is((await peer.heard()).status, "InvalidArgument");
});

test.run();
