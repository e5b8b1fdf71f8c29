// Certificates and trust anchors are replaced while everything goes on: a tunnel, a WebSocket, a request
// whose bodies are under way, and requests one after the other. Both proxies in this process.

import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { TRANSPORT_ALPN } from "../../src/runtime/mesh-tls.ts";
import { eventually } from "../mesh/support/waiting.ts";
import { material } from "../support/driver-fixture.ts";
import { type NetProxy, netProxy } from "../support/net-proxy.ts";
import { createTestCa, type TestCa } from "../support/test-ca.ts";

const SERVER = "server.test";
const CLIENT = "client.test";

/** Answers, echoes a body piece by piece, upgrades to an echo, and echoes bytes that are no HTTP. */
async function startApp() {
  const open = new Set<net.Socket>();
  const server = http.createServer((request, response) => {
    if (request.url !== "/stream") return void response.end(`you asked for ${request.url}`);
    response.flushHeaders();
    request.on("data", (bytes: Uint8Array) => response.write(bytes));
    request.on("end", () => response.end("the end"));
  });
  server.on("upgrade", (_request, socket) => {
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n",
    );
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  // One port for both, so that nothing but the bytes says what is spoken.
  const door = net.createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    socket.once("data", (first: Uint8Array) => {
      if (first[0] === 0) {
        socket.write(first);
        socket.pipe(socket);
      } else {
        socket.pause();
        socket.unshift(first);
        server.emit("connection", socket);
        socket.resume();
      }
    });
  });
  await new Promise<void>((resolve) => door.listen(0, "127.0.0.1", resolve));
  return {
    addr: { ip: "127.0.0.1", port: (door.address() as net.AddressInfo).port },
    close() {
      door.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** Says a line and hears it again, on one connection that stays. */
interface Line {
  readonly name: string;
  say(text: string): Promise<void>;
  end(): void;
}

function lineOver(name: string, socket: net.Socket): Line {
  let heard = "";
  let failed = "";
  socket.on("data", (bytes: Uint8Array) => heard += new TextDecoder().decode(bytes));
  for (const event of ["error", "end", "close"]) {
    socket.on(event, (e: unknown) => failed ||= `${event} ${e instanceof Error ? e.message : ""}`);
  }
  return {
    name,
    async say(text) {
      heard = "";
      socket.write(text);
      await eventually(`${name} says ${text}`, () => {
        assert.is(failed, "", name);
        assert.is(heard, text);
      });
    },
    end: () => socket.destroy(),
  };
}

async function opaque(port: number): Promise<Line> {
  const socket = net.connect(port, "127.0.0.1");
  await once(socket, "connect");
  const line = lineOver("a tunnel", socket);
  await line.say("\0begins");
  return line;
}

async function upgraded(port: number): Promise<Line> {
  const request = http.request({
    host: "127.0.0.1",
    port,
    agent: false,
    headers: { connection: "upgrade", upgrade: "test" },
  });
  request.end();
  const [, socket] = await once(request, "upgrade") as [unknown, net.Socket];
  return lineOver("a WebSocket", socket);
}

async function streaming(port: number): Promise<Line> {
  const options = { host: "127.0.0.1", port, agent: false, method: "POST", path: "/stream" };
  const request = http.request(options);
  let heard = "";
  let failed = "";
  request.on("error", (e) => failed = e.message);
  request.flushHeaders();
  const [response] = await once(request, "response") as [http.IncomingMessage];
  response.on("data", (bytes: Uint8Array) => heard += new TextDecoder().decode(bytes));
  response.on("end", () => failed ||= "ended");
  response.on("error", (e) => failed ||= e.message);
  return {
    name: "a request under way",
    async say(text) {
      heard = "";
      request.write(text);
      await eventually(`the request says ${text}`, () => {
        assert.is(failed, "");
        assert.is(heard, text);
      });
    },
    end: () => void request.destroy(),
  };
}

function get(port: number, path: string, agent: http.Agent | false): Promise<string> {
  return new Promise((resolve, reject) => {
    http.get({ host: "127.0.0.1", port, path, agent }, (response) => {
      let text = `${response.statusCode} `;
      response.setEncoding("utf8").on("data", (part: string) => text += part);
      response.on("end", () => resolve(text));
      response.on("error", reject);
    }).on("error", reject);
  });
}

/** Requests one after the other, on kept connections and on new ones, until it is stopped. */
function steady(port: number) {
  const agent = new http.Agent({ keepAlive: true });
  let stopped = false;
  let done = 0;
  const failures: string[] = [];
  const run = async () => {
    while (!stopped) {
      const path = `/${done}`;
      const text = await get(port, path, done % 3 === 0 ? false : agent).catch(String);
      if (text !== `200 you asked for ${path}`) failures.push(text);
      done++;
    }
  };
  const running = run();
  return {
    failures,
    /** Resolves when so many more have come back. */
    more: (count: number) => {
      const until = done + count;
      return eventually("more requests", () => assert.ok(done >= until), 60_000);
    },
    async stop() {
      stopped = true;
      await running;
      agent.destroy();
    },
  };
}

/** The serial number of the certificate that the inbound proxy shows to a new connection. */
async function shownBy(proxy: NetProxy, identity: Awaited<ReturnType<typeof material>>) {
  const socket = tls.connect({
    host: "127.0.0.1",
    port: proxy.port,
    servername: SERVER,
    key: identity.keyPem,
    cert: identity.certPem,
    ca: identity.anchorsPem,
    ALPNProtocols: [TRANSPORT_ALPN],
    checkServerIdentity: () => undefined,
  });
  await once(socket, "secureConnect");
  const { raw } = socket.getPeerX509Certificate()!;
  socket.destroy();
  return Buffer.from(raw).toString("base64");
}

async function fixture(anchors: TestCa) {
  const app = await startApp();
  const server = await material(anchors, SERVER);
  const inbound = await netProxy({ to: [app.addr], inbound: true, identity: server });
  const outbound = await netProxy({
    to: [{
      addr: inbound.addr,
      weight: 10_000,
      labels: {},
      identity: { name: SERVER, serverName: SERVER },
      transportPort: 0,
      hint: "none",
    }],
    identity: await material(anchors, CLIENT),
  });
  const { port } = outbound;
  const requests = steady(port);
  const lines = [await opaque(port), await upgraded(port), await streaming(port)];
  return {
    inbound,
    outbound,
    /** Everything that is open works, and so do requests. */
    async goOn(what: string) {
      for (const line of lines) await line.say(`${what}.`);
      await requests.more(20);
      assert.equal(requests.failures, [], what);
      // What is opened now works as what was open before.
      const fresh = await opaque(port);
      await fresh.say(what);
      fresh.end();
    },
    async end() {
      await requests.stop();
      for (const line of lines) line.end();
      for (const proxy of [outbound, inbound]) {
        assert.equal(proxy.defects, []);
        await proxy.close();
      }
      app.close();
    },
  };
}

test("two renewals on both sides drop nothing, and new connections show the new certificate", async () => {
  const ca = await createTestCa();
  const f = await fixture(ca);
  await f.goOn("before");
  const probe = await material(ca, CLIENT);
  let shown = await shownBy(f.inbound, probe);
  for (const what of ["once renewed", "twice renewed"]) {
    f.inbound.renew(await material(ca, SERVER));
    f.outbound.renew(await material(ca, CLIENT));
    const now = await shownBy(f.inbound, probe);
    assert.is.not(now, shown);
    shown = now;
    await f.goOn(what);
  }
  await f.end();
});

test("trust anchors move from one root to another by way of both, and nothing drops", async () => {
  const from = await createTestCa("the old root");
  const to = await createTestCa("the new root");
  const both = { ...to, pem: `${from.pem}${to.pem}` };
  const f = await fixture(from);
  await f.goOn("the old root");
  const renew = async (issuer: TestCa, anchors: TestCa, side: "inbound" | "outbound") =>
    f[side].renew(await material(issuer, side === "inbound" ? SERVER : CLIENT, anchors));
  await renew(from, both, "outbound");
  await f.goOn("the client trusts both");
  await renew(from, both, "inbound");
  await f.goOn("both trust both");
  await renew(to, both, "inbound");
  await f.goOn("the server is of the new root");
  await renew(to, both, "outbound");
  await f.goOn("the client is of the new root");
  await renew(to, to, "inbound");
  await renew(to, to, "outbound");
  await f.goOn("only the new root");
  // Who is still of the old root is refused now.
  const late = await material(from, CLIENT, both);
  const socket = tls.connect({
    host: "127.0.0.1",
    port: f.inbound.port,
    servername: SERVER,
    key: late.keyPem,
    cert: late.certPem,
    ca: late.anchorsPem,
    ALPNProtocols: [TRANSPORT_ALPN],
    checkServerIdentity: () => undefined,
  });
  let heard = 0;
  socket.on("data", (bytes: Uint8Array) => heard += bytes.length);
  socket.on("error", () => {}); // a reset is an answer, too
  socket.once("secureConnect", () => socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
  await new Promise<void>((resolve) => socket.on("close", () => resolve()));
  assert.is(heard, 0);
  await f.end();
});

test.run();
