// Serves gRPC over HTTP/2 prior knowledge in clear text, on both runtimes: the control plane's APIs,
// whose TLS is their proxy's. This file only listens, bounds and closes.

import http2 from "node:http2";
import net, { type AddressInfo, type Socket } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { SocketAddr } from "../core/addr.ts";
import { formatSocketAddr, normalizeIp } from "../core/addr.ts";

/** Largest request: a signing request with its token fits many times. */
const MAX_REQUEST_BYTES = 128 * 1024;
const MAX_STREAMS_PER_CONNECTION = 4096;
const MAX_CONNECTIONS = 16_384;
/** Node's default of 10 MB ends streams of a busy connection. */
const MAX_SESSION_MEMORY_MB = 1000;

export interface GrpcServer {
  /** Where it listens; the port that the system chose when 0 was asked for. */
  readonly addr: SocketAddr;
  /** Ends every stream in order, then closes what is left after `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

/** Listens at `at`. Rejects with one clear line when the address cannot be had. */
export async function serveGrpc(
  at: SocketAddr,
  routes: (router: ConnectRouter) => void,
): Promise<GrpcServer> {
  const shutdown = new AbortController();
  const handler = connectNodeAdapter({
    routes,
    // Only gRPC: nothing here is for browsers.
    connect: false,
    grpcWeb: false,
    readMaxBytes: MAX_REQUEST_BYTES,
    shutdownSignal: shutdown.signal,
    acceptCompression: [],
  });
  const server = http2.createServer(
    {
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
      maxSessionInvalidFrames: 100,
      settings: {
        maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION,
        enablePush: false,
        maxHeaderListSize: 16 * 1024,
      },
    },
    (request, response) => handler(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new Set<Socket>();
  let streams = 0;
  let closing: Promise<void> | null = null;
  // Ends connections when no stream is open, and says no GOAWAY: a client on Deno 2.9 is ended by
  // nghttp2 when it hears one while a stream of its own is just closing.
  const endWhenIdle = () => {
    if (closing === null || streams > 0) return;
    // After what was written for the streams' ends.
    setImmediate(() => {
      for (const socket of sockets) socket.end();
    });
  };
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // A client that goes away is no failure of ours.
    socket.on("error", () => {});
    endWhenIdle();
  });
  server.on("session", (session: http2.ServerHttp2Session) => {
    session.on("error", () => {});
    session.on("stream", (stream: http2.ServerHttp2Stream) => {
      streams++;
      stream.once("close", () => {
        streams--;
        endWhenIdle();
      });
    });
  });
  server.on("sessionError", () => {});
  await listen(server, at);
  const { address, port } = server.address() as AddressInfo;

  const close = async (graceMs: number): Promise<void> => {
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, graceMs);
    // The server's own `close` says GOAWAY on every connection.
    const closed = new Promise((done) => net.Server.prototype.close.call(server, done));
    shutdown.abort(new Error("the control plane is shutting down"));
    endWhenIdle();
    await closed;
    clearTimeout(timer);
  };
  return {
    addr: { ip: normalizeIp(address), port },
    close(graceMs) {
      if (closing !== null) return closing;
      // Set before anything ends, since what ends looks at it.
      const { promise, resolve } = Promise.withResolvers<void>();
      closing = promise;
      void close(graceMs).then(resolve);
      return closing;
    },
  };
}

function listen(server: http2.Http2Server, at: SocketAddr): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (e: Error & { code?: string }) => {
      const why = e.code === "EADDRINUSE"
        ? "the port is taken, stop what uses it or choose another"
        : e.code === "EACCES"
        ? "not permitted, choose a port above 1023"
        : e.code === "EADDRNOTAVAIL" || e.code === "EINVAL"
        ? "this machine does not have the address"
        : e.message;
      reject(new Error(`Listen on ${formatSocketAddr(at)} failed: ${why}`, { cause: e }));
    };
    server.once("error", failed);
    server.listen({ host: at.ip, port: at.port }, () => {
      server.off("error", failed);
      resolve();
    });
  });
}
