import { test } from "uvu";
import * as assert from "uvu/assert";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { create } from "@bufbuild/protobuf";
import { Destination, DestinationProfileSchema } from "../../src/api/gen/destination_pb.ts";
import { Identity } from "../../src/api/gen/identity_pb.ts";
import { formatSocketAddr } from "../../src/core/addr.ts";
import { serveGrpc } from "../../src/runtime/grpc-server.ts";

const ANY = { ip: "127.0.0.1", port: 0 };

/** One profile, then silence until the stream is told to end. */
async function* once(signal: AbortSignal) {
  yield create(DestinationProfileSchema, { fullyQualifiedName: "x" });
  if (!signal.aborted) {
    await new Promise((end) => signal.addEventListener("abort", end, { once: true }));
  }
}

async function start() {
  let open = 0;
  const server = await serveGrpc(ANY, (router) => {
    router.service(Destination, {
      async *getProfile(_, { signal }) {
        open++;
        try {
          yield* once(signal);
        } finally {
          open--;
        }
      },
    });
    router.service(Identity, {
      certify: ({ token }) => ({ leafCertificate: token.subarray(0, 1) }),
    });
  });
  const baseUrl = `http://${formatSocketAddr(server.addr)}`;
  const manager = new Http2SessionManager(baseUrl);
  const transport = createGrpcTransport({ baseUrl, sessionManager: manager });
  return {
    server,
    open: () => open,
    destination: createClient(Destination, transport),
    identity: createClient(Identity, transport),
    end: async () => {
      manager.abort();
      await server.close(0);
    },
  };
}

test("close() ends every stream in order", async () => {
  const t = await start();
  try {
    const streams = Array.from({ length: 50 }, async () => {
      let messages = 0;
      for await (const _ of t.destination.getProfile({ path: "x" })) messages++;
      return messages;
    });
    while (t.open() < 50) await new Promise((again) => setTimeout(again, 1));
    await t.server.close(5000);
    assert.equal(await Promise.all(streams), new Array(50).fill(1));
    assert.is(t.open(), 0);
  } finally {
    await t.end();
  }
});

test("a client that goes away ends its stream", async () => {
  const t = await start();
  try {
    const controller = new AbortController();
    const reading = (async () => {
      for await (const _ of t.destination.getProfile({ path: "x" }, controller)) controller.abort();
    })().catch(ConnectError.from);
    assert.is((await reading as ConnectError).code, Code.Canceled);
    while (t.open() > 0) await new Promise((again) => setTimeout(again, 1));
  } finally {
    await t.end();
  }
});

test("close() cuts connections that do not end", async () => {
  const t = await start();
  const socket: Socket = connectTcp(t.server.addr.port, t.server.addr.ip);
  try {
    await new Promise((done) => socket.once("connect", done));
    socket.on("error", () => {});
    // Half a preface: no session that could be closed in order.
    socket.write("PRI * HTTP/2.0\r\n");
    const from = performance.now();
    const cut = new Promise((done) => socket.once("close", done));
    socket.resume();
    await t.server.close(100);
    await cut;
    assert.ok(performance.now() - from < 2000);
  } finally {
    socket.destroy();
    await t.end();
  }
});

test("a request that is too large is refused, and the connection goes on", async () => {
  const t = await start();
  try {
    const large = await t.identity.certify({ token: new Uint8Array(200_000) })
      .then(() => null, ConnectError.from);
    assert.is(large?.code, Code.ResourceExhausted);
    const fine = await t.identity.certify({ token: new Uint8Array([7]) });
    assert.equal(fine.leafCertificate, new Uint8Array([7]));
  } finally {
    await t.end();
  }
});

test("what is not HTTP/2 ends its own connection only", async () => {
  const t = await start();
  try {
    const socket = connectTcp(t.server.addr.port, t.server.addr.ip);
    socket.on("error", () => {});
    socket.resume();
    const closed = new Promise((done) => socket.once("close", done));
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4));
    await closed;
    assert.equal(
      (await t.identity.certify({ token: new Uint8Array([7]) })).leafCertificate.length,
      1,
    );
  } finally {
    await t.end();
  }
});

test("an address that cannot be had is one line", async () => {
  const taken = createServer();
  await new Promise<void>((done) => taken.listen(0, "127.0.0.1", done));
  const { port } = taken.address() as { port: number };
  const why = (at: typeof ANY) =>
    serveGrpc(at, () => {}).then(() => "open", (e: Error) => e.message);
  try {
    assert.match(
      await why({ ip: "127.0.0.1", port }),
      /^Listen on 127\.0\.0\.1:\d+ failed: the port is taken/,
    );
    assert.match(
      await why({ ip: "192.0.2.1", port: 0 }),
      /^Listen on 192\.0\.2\.1:0 failed: this machine/,
    );
  } finally {
    taken.close();
  }
});

test.run();
