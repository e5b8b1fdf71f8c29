// Serves a plain `fetch` handler over HTTP/1.1, on both runtimes: admin planes and webhooks. The
// handler decides everything; this file only listens, bounds and closes. Not on the data path.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { SocketAddr } from "../core/addr.ts";
import { formatSocketAddr, normalizeIp } from "../core/addr.ts";

/** Who asks, for handlers that answer some questions on loopback only. */
export interface HttpClientInfo {
  /** The address of the connection's other end; empty when it is gone already. */
  readonly remoteIp: string;
}

/** A plain fetch handler: Hono's `app.fetch`, whose `c.env` is the second argument. */
export type FetchHandler = (
  request: Request,
  client: HttpClientInfo,
) => Response | Promise<Response>;

/** Certificate chain and key. PEM. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

export interface HttpServer {
  /** Where it listens; the port that the system chose when 0 was asked for. */
  readonly addr: SocketAddr;
  /** Stops listening, lets requests end for `graceMs`, then closes what is left. Idempotent. */
  close(graceMs?: number): Promise<void>;
  /** New connections get this certificate. Throws for one that cannot be used; the old one stays. */
  setTls(pair: TlsPair): void;
}

export interface HttpServerLimits {
  readonly maxConnections: number;
  readonly headersTimeoutMs: number;
  /** For the whole request, head and body; answers may stream for ever. */
  readonly requestTimeoutMs: number;
  readonly keepAliveMs: number;
}

const DEFAULT_LIMITS: HttpServerLimits = {
  maxConnections: 256,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveMs: 5_000,
};

const TLS = { minVersion: "TLSv1.3" } as const;

/**
 * Listens at `at`, in TLS 1.3 where `tls` is given. Rejects with one clear line when the address cannot
 * be had or the certificate cannot be used.
 */
export async function serveHttp(
  at: SocketAddr,
  handler: FetchHandler,
  limits: Partial<HttpServerLimits> = {},
  tls: TlsPair | null = null,
): Promise<HttpServer> {
  const { maxConnections, headersTimeoutMs, requestTimeoutMs, keepAliveMs } = {
    ...DEFAULT_LIMITS,
    ...limits,
  };
  // Replacing the global Request and Response would break `Deno.serve` in the same process.
  const listener = getRequestListener(
    async (request, { incoming }) => {
      const remoteIp = normalizeIp(incoming.socket?.remoteAddress ?? "");
      const response = await handler(request, { remoteIp });
      return cutOnError(response, () => void incoming.socket?.destroy());
    },
    { overrideGlobalObjects: false },
  );
  const options = {
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    maxHeaderSize: 16 * 1024,
  };
  const answer: Parameters<typeof createServer>[1] = (incoming, outgoing) =>
    void listener(incoming, outgoing);
  const secure: TlsServer | null = tls === null
    ? null
    : createTlsServer({ ...options, ...TLS, ...tls, handshakeTimeout: headersTimeoutMs }, answer);
  const server: Server | TlsServer = secure ?? createServer(options, answer);
  // a client that does not trust us, or speaks no TLS, is its own trouble
  secure?.on("tlsClientError", (_, socket) => socket.destroy());
  server.maxConnections = maxConnections;
  // Kept by hand: `closeAllConnections` is not the same on both runtimes.
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await listen(server, at);
  const { address, port } = server.address() as AddressInfo;
  let closing: Promise<void> | null = null;
  return {
    addr: { ip: normalizeIp(address), port },
    close: (graceMs = 0) => closing ??= close(server, sockets, graceMs),
    setTls(pair) {
      if (secure === null) throw new Error("This server speaks no TLS");
      // Deno takes a pair that does not fit, and breaks at the next connection
      const fits = new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key));
      if (!fits) throw new Error("The certificate and the key do not belong together");
      secure.setSecureContext({ ...TLS, ...pair });
    },
  };
}

/**
 * An event stream that its source fails – a reader that is too slow – ends by cutting the connection,
 * where the adapter would print a stack and wait for a peer that does not read.
 */
function cutOnError(response: Response, cut: () => void): Response {
  const { body, headers } = response;
  if (body === null || !headers.get("content-type")?.startsWith("text/event-stream")) {
    return response;
  }
  const reader = body.getReader();
  const quiet = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch {
        cut();
        controller.close();
      }
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
  return new Response(quiet, response);
}

function listen(server: Server | TlsServer, at: SocketAddr): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (e: Error & { code?: string }) => reject(new Error(listenError(at, e)));
    server.once("error", failed);
    server.listen({ host: at.ip, port: at.port }, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

function listenError(at: SocketAddr, e: Error & { code?: string }): string {
  const where = formatSocketAddr(at);
  switch (e.code) {
    case "EADDRINUSE":
      return `Listen on ${where} failed: the port is taken, stop what uses it or choose another`;
    case "EACCES":
      return `Listen on ${where} failed: not permitted, choose a port above 1023`;
    case "EADDRNOTAVAIL":
    case "EINVAL": // Deno's name for the same
      return `Listen on ${where} failed: this machine does not have the address`;
    default:
      return `Listen on ${where} failed: ${e.message}`;
  }
}

function close(
  server: Server | TlsServer,
  sockets: ReadonlySet<Socket>,
  graceMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const cut = () => {
      for (const socket of sockets) socket.destroy();
    };
    const timer = graceMs > 0 ? setTimeout(cut, graceMs) : null;
    server.close(() => {
      if (timer !== null) clearTimeout(timer);
      resolve();
    });
    if (timer === null) cut();
    else server.closeIdleConnections();
  });
}
