// The client of the control plane against a real HTTP/2 server on loopback: streams, aborts, restarts,
// and mesh TLS that accepts exactly the expected identity.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import http2 from "node:http2";
import net from "node:net";
import { hostname } from "node:os";
import tls from "node:tls";
import { Destination } from "../../src/api/gen/destination_pb.ts";
import { noEndpointsUpdate } from "../../src/api/endpoint.ts";
import { createGrpcClient } from "../../src/runtime/grpc-client.ts";
import { trustOnly } from "../../src/runtime/mesh-tls.ts";
import { createTestCa, keyObject, newKeys } from "../support/test-ca.ts";

const NAME = "linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local";

/** Serves `Destination/Get`: one message, then an open stream until the client goes. */
function handler() {
  const ended = Promise.withResolvers<void>();
  const listener = connectNodeAdapter({
    routes: (router) => {
      router.service(Destination, {
        async *get(_request, context) {
          yield noEndpointsUpdate(true);
          await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
          ended.resolve();
        },
      });
    },
  });
  return { listener, ended: ended.promise };
}

async function serve(port = 0) {
  const { listener, ended } = handler();
  const server = http2.createServer(listener);
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (s: http2.ServerHttp2Session) => sessions.add(s));
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    ended,
    /** Ends the connections, not the server. */
    cut: () => sessions.forEach((s) => s.destroy()),
    close: async () => {
      for (const s of sessions) s.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The same behind a proxy that terminates mesh TLS without ALPN, as the control plane's sidecar does. */
async function serveTls(identity: string, needsCertificate = true) {
  const { context, ca } = await material(identity);
  const inner = await serve();
  const open = new Set<net.Socket>();
  const server = tls.createServer({
    ...context,
    requestCert: true,
    rejectUnauthorized: needsCertificate,
    minVersion: "TLSv1.3",
  }, (outer) => {
    const plain = net.connect(inner.port, "127.0.0.1");
    for (const socket of [outer, plain]) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => [outer, plain].forEach((s) => s.destroy()));
    }
    outer.pipe(plain).pipe(outer);
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    ca,
    close: async () => {
      for (const s of open) s.destroy();
      await new Promise((resolve) => server.close(resolve));
      await inner.close();
    },
  };
}

async function material(identity: string, ca?: Awaited<ReturnType<typeof createTestCa>>) {
  const authority = ca ?? await createTestCa();
  const keys = await newKeys();
  const leaf = await authority.issue({
    publicKey: keys.publicKey,
    names: [{ type: "dns", value: identity }],
  });
  const key = (await keyObject(keys)).export({ type: "pkcs8", format: "pem" }).toString();
  return {
    ca: authority,
    context: { key, cert: leaf.toString("pem"), ca: authority.pem },
  };
}

const get = (client: ReturnType<typeof createGrpcClient>, signal?: AbortSignal) =>
  createClient(Destination, client.transport).get(
    { path: "web.shop.svc.cluster.local:80" },
    signal === undefined ? {} : { signal },
  )[Symbol.asyncIterator]();

async function failure(promise: Promise<unknown>): Promise<ConnectError> {
  try {
    await promise;
  } catch (e) {
    return ConnectError.from(e);
  }
  throw new Error("did not fail");
}

test("each name that is looked up is told, an address is not", async () => {
  const server = await serve();
  const told: string[] = [];
  const ask = async (host: string) => {
    const target = { host, port: server.port, identity: null };
    const { transport, close } = createGrpcClient(target, () => null, {
      resolved: (type) => told.push(type),
    });
    const stop = new AbortController();
    try {
      const updates = createClient(Destination, transport).get({}, { signal: stop.signal });
      for await (const _ of updates) stop.abort();
    } catch {
      // it was cancelled, or nobody is there
    }
    close();
  };
  await ask("127.0.0.1");
  assert.equal(told, []);
  await ask(hostname()); // whatever it leads to
  assert.equal(told, ["SRV", "A/AAAA"]);
  await server.close();
});

test("createGrpcClient() reads a stream in clear text and ends it on abort", async () => {
  const server = await serve();
  const client = createGrpcClient(
    { host: "localhost.", port: server.port, identity: null },
    () => null,
  );
  const abort = new AbortController();
  const stream = get(client, abort.signal);
  const first = await stream.next();
  assert.is(first.done, false);
  abort.abort();
  assert.is((await failure(stream.next())).code, Code.Canceled);
  await server.ended; // the server hears of it
  client.close();
  await server.close();
});

test("createGrpcClient() connects again after the server was gone", async () => {
  const server = await serve();
  const { port } = server;
  const client = createGrpcClient({ host: "127.0.0.1", port, identity: null }, () => null);
  const stream = get(client);
  await stream.next();
  await server.close();
  await failure(stream.next());
  assert.is((await failure(get(client).next())).code, Code.Unavailable, "nobody listens");
  const again = await serve(port);
  const next = get(client);
  assert.is((await next.next()).done, false);
  client.close();
  await failure(next.next());
  await again.close();
});

test("createGrpcClient() opens a new connection in the turn in which a call lost the old one", async () => {
  const server = await serve();
  const client = createGrpcClient(
    { host: "127.0.0.1", port: server.port, identity: null },
    () => null,
  );
  const stream = get(client);
  await stream.next();
  server.cut();
  await failure(stream.next());
  const again = get(client);
  assert.is((await again.next()).done, false);
  client.close();
  await failure(again.next());
  await server.close();
});

test("createGrpcClient() speaks mesh TLS to the server that has the expected identity", async () => {
  const server = await serveTls(NAME);
  const { context } = await material("web.shop", server.ca);
  const secure = tls.createSecureContext({ ...context, minVersion: "TLSv1.3" });
  const client = createGrpcClient(
    { host: "127.0.0.1", port: server.port, identity: NAME },
    () => secure,
  );
  const stream = get(client);
  assert.is((await stream.next()).done, false);
  client.close();
  await failure(stream.next());
  await server.close();
});

test("createGrpcClient() verifies the server also where the client has no certificate yet", async () => {
  for (const name of [NAME, `not-${NAME}`]) {
    const server = await serveTls(name, false);
    const anonymous = trustOnly(server.ca.pem);
    const client = createGrpcClient(
      { host: "127.0.0.1", port: server.port, identity: NAME },
      () => anonymous,
    );
    const stream = get(client);
    if (name === NAME) {
      assert.is((await stream.next()).done, false);
      client.close();
    }
    await failure(stream.next());
    client.close();
    await server.close();
  }
});

test("createGrpcClient() refuses a server of the mesh with another identity", async () => {
  const server = await serveTls("impostor.shop.serviceaccount.identity.linkerd.cluster.local");
  const { context } = await material("web.shop", server.ca);
  const secure = tls.createSecureContext({ ...context, minVersion: "TLSv1.3" });
  const client = createGrpcClient(
    { host: "127.0.0.1", port: server.port, identity: NAME },
    () => secure,
  );
  const e = await failure(get(client).next());
  assert.match(e.message, /impostor|not .*linkerd-destination|ECONNRESET|closed|destroyed/i);
  client.close();
  await server.close();
});

test("createGrpcClient() refuses a server that the trust anchors do not vouch for", async () => {
  const server = await serveTls(NAME);
  const { context } = await material("web.shop"); // another CA
  const secure = tls.createSecureContext({ ...context, minVersion: "TLSv1.3" });
  const client = createGrpcClient(
    { host: "127.0.0.1", port: server.port, identity: NAME },
    () => secure,
  );
  await failure(get(client).next());
  client.close();
  await server.close();
});

test("createGrpcClient() fails on a server that speaks something else", async () => {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.resume();
    socket.end("HTTP/1.0 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  const client = createGrpcClient({ host: "127.0.0.1", port, identity: null }, () => null);
  await failure(get(client).next());
  client.close();
  await new Promise((resolve) => server.close(resolve));
});

test("createGrpcClient() fails at once where TLS is needed and there is no certificate yet", async () => {
  const client = createGrpcClient({ host: "127.0.0.1", port: 1, identity: NAME }, () => null);
  const e = await failure(get(client).next());
  assert.match(e.message, /No certificate yet/);
  client.close();
});

test.run();
