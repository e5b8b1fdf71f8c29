// Serves gRPC over HTTP/2 prior knowledge in clear text, on both runtimes: the control plane's APIs,
// whose TLS is their proxy's. This file only listens, bounds and closes.

import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
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
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // A client that goes away is no failure of ours.
    socket.on("error", () => {});
  });
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.on("error", () => {});
  });
  server.on("sessionError", () => {});
  await listen(server, at);
  const { address, port } = server.address() as AddressInfo;

  let closing: Promise<void> | null = null;
  const close = (graceMs: number) =>
    new Promise<void>((done) => {
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      server.close(() => {
        clearTimeout(timer);
        done();
      });
      shutdown.abort(new Error("the control plane is shutting down"));
      // GOAWAY; streams in flight end first.
      for (const session of sessions) session.close();
    });
  return {
    addr: { ip: normalizeIp(address), port },
    close: (graceMs) => closing ??= close(graceMs),
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
