// Opaque TCP through CONNECT over mesh TLS: a server that speaks first, half-closes, a megabyte each
// way, and who is let in. Real processes, with a recording relay before the server's proxy.

import { createHash } from "node:crypto";
import net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { DENO, identityOf, loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { allow, pod, service, yaml } from "./support/objects.ts";
import { type Relay, startRelay } from "./support/relay.ts";
import {
  APPLICATION_DATA,
  clientHello,
  recordsOf,
  serverHello,
  X25519,
  X25519MLKEM768,
} from "./support/tls-records.ts";
import { eventually, sum } from "./support/waiting.ts";

const NET = loopbackNet(98);
const LOAD: MeshPod = { name: "load", app: "load", ip: `${NET}.1`, ports: [] };
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const VOTE: MeshPod = {
  name: "vote",
  app: "vote",
  ip: `${NET}.3`,
  ports: [7070],
  inboundPort: 5143, // the relay is at 4143
};
const PORTS = [
  { name: "tally", port: 7070, opaque: true },
  { name: "nobody", port: 7071, opaque: true },
];
const TALLY = "vote.shop.svc.cluster.local:7070";
const BANNER = `banner-${crypto.randomUUID()}`;
const MEGABYTE = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 31 + (i >> 8)) & 255));

let mesh: TestMesh;
let relay: Relay;
/** Connections that the application has. */
const clients = new Set<net.Socket>();

test.before(async () => {
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("load", LOAD.ip, "load"),
        pod("web", WEB.ip, "web"),
        pod("vote", VOTE.ip, "vote", PORTS),
        ...service("vote", `${NET}.103`, { vote: VOTE.ip }, PORTS),
        ...allow("vote", "nobody", "opaque", ["web"]),
      ),
      "policy.yaml": yaml(...allow("vote", "tally", "opaque", ["web"])),
    },
    pods: [LOAD, WEB, VOTE],
  });
  relay = await startRelay(VOTE.ip, 4143, 5143);
  mesh.onEnd(() => relay.close());
  // Speaks first, then echoes, and says goodbye after the client's half-close.
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    clients.add(socket);
    socket.on("close", () => clients.delete(socket));
    socket.on("error", () => {});
    socket.write(`${BANNER}\n`);
    socket.on("data", (bytes: Uint8Array) => {
      if (!socket.write(bytes)) socket.pause();
    });
    socket.on("drain", () => socket.resume());
    socket.on("end", () => socket.end("goodbye"));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: VOTE.ip, port: 7070 }, () => resolve());
  });
  mesh.onEnd(() =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of clients) socket.destroy();
    })
  );
});
test.after(() => mesh?.end());

/** The application's end of a tunnel. */
interface Tunnel {
  readonly socket: net.Socket;
  /** Everything after the proxy's 200, so far. */
  bytes(): Uint8Array;
  /** Resolves when the connection is over: `end` after the other side's FIN, `reset` otherwise. */
  readonly over: Promise<"end" | "reset">;
}

/** Sends CONNECT through a pod's proxy, and resolves after its answer's head. */
function connect(from: MeshPod, authority: string): Promise<{ head: string; tunnel: Tunnel }> {
  const socket = net.connect({
    host: from.ip,
    port: 4140,
    localAddress: from.ip,
    allowHalfOpen: true,
  });
  let got = Buffer.alloc(0);
  let headEnd = -1;
  const over = new Promise<"end" | "reset">((resolve) => {
    socket.on("end", () => resolve("end"));
    socket.on("error", () => resolve("reset"));
    socket.on("close", () => resolve("reset"));
  });
  const tunnel = { socket, over, bytes: () => got.subarray(headEnd) };
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n\r\n`);
  return new Promise((resolve, reject) => {
    socket.on("data", (bytes: Uint8Array) => {
      got = Buffer.concat([got, bytes]);
      if (headEnd >= 0) return;
      const end = got.indexOf("\r\n\r\n");
      if (end < 0) return;
      headEnd = end + 4;
      resolve({ head: got.subarray(0, headEnd).toString("latin1"), tunnel });
    });
    void over.then((how) => {
      if (headEnd < 0) reject(new Error(`the proxy answered nothing (${how}): ${got}`));
    });
  });
}

const text = (tunnel: Tunnel) => Buffer.from(tunnel.bytes()).toString("latin1");

test("bytes go both ways, the server's first, and a half-close reaches the other side", async () => {
  const { head, tunnel } = await connect(WEB, TALLY);
  assert.match(head, /^HTTP\/1\.1 200 /);
  await eventually("the banner", () => assert.is(text(tunnel), `${BANNER}\n`));
  tunnel.socket.write("\0\xff one", "latin1");
  await eventually("the echo", () => assert.is(text(tunnel), `${BANNER}\n\0\xff one`));
  tunnel.socket.end(" two");
  assert.is(await tunnel.over, "end");
  assert.is(text(tunnel), `${BANNER}\n\0\xff one twogoodbye`);
  await eventually("the application's end", () => assert.is(clients.size, 0));
});

test("on the wire the tunnel is TLS 1.3 and nothing of it is readable", () => {
  const [wire] = relay.recordings();
  assert.is(serverHello(recordsOf(wire!.toClient)).version, 0x0304);
  for (const bytes of [wire!.toServer, wire!.toClient]) {
    assert.ok(recordsOf(bytes).filter((r) => r.type === APPLICATION_DATA).length > 2);
    for (const secret of [BANNER, "goodbye", "one", "transport.l5d.io/v1\r\n"]) {
      assert.is(Buffer.from(bytes).indexOf(secret), -1, `${secret} is readable`);
    }
  }
});

test("the key exchange is post-quantum where the runtime has it", () => {
  const [wire] = relay.recordings();
  const { groups, shares } = clientHello(recordsOf(wire!.toServer));
  const { group } = serverHello(recordsOf(wire!.toClient));
  if (DENO) {
    // Deno has it last, without a share, and offers no choice.
    assert.is(group, X25519);
    return;
  }
  assert.is(groups[0], X25519MLKEM768);
  assert.ok(shares.includes(X25519MLKEM768));
  assert.is(group, X25519MLKEM768);
});

test("a megabyte goes out and comes back unchanged, also to a client that reads late", async () => {
  const { tunnel } = await connect(WEB, TALLY);
  await eventually("the banner", () => assert.ok(text(tunnel).endsWith("\n")));
  tunnel.socket.pause();
  tunnel.socket.write(MEGABYTE);
  tunnel.socket.end();
  setTimeout(() => tunnel.socket.resume(), 200);
  assert.is(await tunnel.over, "end");
  const echo = tunnel.bytes().subarray(BANNER.length + 1, -"goodbye".length);
  const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  assert.is(echo.length, MEGABYTE.length);
  assert.is(digest(echo), digest(MEGABYTE));
});

test("a client whose identity is not allowed is closed before the application hears of it", async () => {
  const name = "inbound_tcp_authz_deny_total";
  const labels = { client_id: identityOf(LOAD), srv_name: "vote-tally" };
  const before = sum(await mesh.metrics(VOTE), name, labels);
  const { tunnel } = await connect(LOAD, TALLY);
  await tunnel.over;
  assert.is(text(tunnel), "");
  assert.is(clients.size, 0);
  assert.is(sum(await mesh.metrics(VOTE), name, labels), before + 1);
});

test("a connection to a port where no application listens is closed", async () => {
  const { tunnel } = await connect(WEB, TALLY.replace("7070", "7071"));
  await tunnel.over;
  assert.is(text(tunnel), "");
});

test("a service that does not exist is 404 with a reason", async () => {
  const { head, tunnel } = await connect(WEB, "nothing.shop.svc.cluster.local:7070");
  assert.match(head, /^HTTP\/1\.1 404 [^]*l5d-proxy-error: .*nothing\.shop/);
  tunnel.socket.destroy();
});

test("an open connection ends when the policy no longer allows it", async () => {
  const { tunnel } = await connect(WEB, TALLY);
  await eventually("the banner", () => assert.is(text(tunnel), `${BANNER}\n`));
  await mesh.write("policy.yaml", yaml(...allow("vote", "tally", "opaque", ["load"])));
  await tunnel.over;
  await eventually("the application's end", () => assert.is(clients.size, 0));
  // And the one that is allowed now is let in.
  const { tunnel: other } = await connect(LOAD, TALLY);
  await eventually("the banner", () => assert.is(text(other), `${BANNER}\n`));
  other.socket.destroy();
  await eventually("the application's end", () => assert.is(clients.size, 0));
});

test("connections are counted when they open and when they close", async () => {
  const of = async (name: string) =>
    sum(await mesh.metrics(VOTE), name, { direction: "inbound", tls: "true" });
  await eventually("none is open", async () => {
    assert.is(await of("tcp_open_connections"), 0);
  });
  assert.ok(await of("tcp_open_total") >= 4);
  assert.is(await of("tcp_close_total"), await of("tcp_open_total"));
});

test.run();
