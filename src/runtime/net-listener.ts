// Accepting: a listening socket, and what each connection turns out to be. TLS of the mesh is
// recognised by its ClientHello and terminated; everything else goes to the driver as it is.

import net from "node:net";
import type tls from "node:tls";
import type { SocketAddr } from "../core/addr.ts";
import { formatSocketAddr } from "../core/addr.ts";
import type { Listener, ListenRequest } from "../core/listen.ts";
import type { MeshTls } from "./mesh-tls.ts";
import type { NetDriver } from "./net-driver.ts";
import { originalDst } from "./original-dst.ts";
import { Peek } from "./net-peek.ts";
import { clientPeer } from "./peer-identity.ts";
import { readClientHello } from "../core/client-hello.ts";

/** Connections whose first bytes or handshake are still awaited; more are closed at once. */
const MAX_PENDING = 10_000;

/** Connections that wait to be accepted, unless told otherwise. */
const BACKLOG = 1024;

/** A connection that is not accepted yet. */
interface PendingSocket {
  readonly socket: net.Socket;
  readonly original: SocketAddr | null;
}

/** A request with the TLS that terminates it. */
export interface ListenOptions extends Omit<ListenRequest, "meshTls"> {
  /** Terminate mesh TLS with this; null: plain text only. */
  readonly mesh: MeshTls | null;
  /** Other threads of this process listen on the same address, and the kernel deals out connections. */
  readonly reusePort?: boolean;
  /** Stands in for SO_ORIGINAL_DST: the original destination of what was accepted at `local`. */
  readonly originalOf?: OriginalOf;
}

/** Where connections that were accepted at an address wanted to go; null: there. */
export type OriginalOf = (local: SocketAddr) => SocketAddr | null;

/**
 * Finds out whether an address can be listened on, and which port 0 becomes; for several threads that
 * will share it, which two processes must not. Rejects as `listen`.
 */
export function claimAddress(at: SocketAddr): Promise<SocketAddr> {
  const server = net.createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (e: Error & { code?: string }) => {
      reject(new Error(listenError(at, e), { cause: e }));
    });
    server.listen({ host: at.ip, port: at.port }, () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve({ ip: at.ip, port }));
    });
  });
}

/** Listens. Rejects with one line that names the address when that is not possible. */
export function listen(driver: NetDriver, options: ListenOptions): Promise<Listener> {
  const { at, mesh, reusePort = false, transparent = false } = options;
  const pending = new Map<string, PendingSocket>();
  if (mesh !== null) {
    mesh.onServer({
      began: (socket) => pending.has(connectionKey(socket)),
      secured(socket) {
        const key = connectionKey(socket);
        const original = pending.get(key)?.original ?? null;
        pending.delete(key);
        const peer = clientPeer(socket);
        if (typeof peer === "string") {
          options.refused("identity", peer);
          socket.destroy();
          return;
        }
        driver.accepted(socket, peer, null, options.accept, original);
      },
      failed(socket, e) {
        pending.delete(connectionKey(socket));
        options.refused("tls", e.message);
      },
    });
  }
  const server = net.createServer(
    { pauseOnConnect: true, allowHalfOpen: true, noDelay: true },
    (socket) => {
      // by hand: Deno's server does not do it for its options
      if (options.keepAliveMs) socket.setKeepAlive(true, options.keepAliveMs);
      socket.on("error", () => {});
      // now: later the handle belongs to another socket
      const original = !transparent
        ? null
        : options.originalOf === undefined
        ? originalDst(socket)
        : options.originalOf(at);
      if (mesh === null) {
        driver.accepted(socket, null, null, options.accept, original);
        return;
      }
      const key = connectionKey(socket);
      if (pending.size >= MAX_PENDING) {
        options.refused("overload", "too many handshakes at once");
        socket.destroy();
        return;
      }
      pending.set(key, { socket, original });
      socket.once("close", () => {
        pending.delete(key);
        peek.stop();
      });
      const { acceptSilent } = options;
      const settled = () => {
        pending.delete(key);
        peek.stop();
      };
      const peek = new Peek(socket, {
        timers: driver.timers,
        now: () => performance.now(),
        detectMs: options.detectMs,
        silent: (silentMs) =>
          acceptSilent === undefined
            ? null
            : driver.tentative(socket, acceptSilent, settled, original, silentMs),
        done(first, silentMs) {
          const hello = readClientHello(first);
          // As Linkerd: a ClientHello for another name is somebody else's TLS and passes through.
          if (hello !== null && (options.anyName || hello.serverName === mesh.serverName)) {
            if (first.length > 0) socket.unshift(first);
            mesh.terminate(socket);
            return;
          }
          pending.delete(key);
          driver.accepted(socket, null, first, options.accept, original, {
            ...(silentMs > 0 ? { silentMs } : {}),
            ...(hello === null ? {} : { serverName: hello.serverName }),
          });
        },
      });
    },
  );
  return new Promise((resolve, reject) => {
    server.once("error", (e: Error & { code?: string }) => {
      reject(new Error(listenError(at, e), { cause: e }));
    });
    const backlog = options.backlog ?? BACKLOG;
    server.listen({ host: at.ip, port: at.port, backlog, reusePort }, () => {
      server.on("error", () => {});
      const bound = server.address() as net.AddressInfo;
      resolve({
        addr: { ip: at.ip, port: bound.port },
        close: () =>
          new Promise((done) => {
            for (const { socket } of pending.values()) socket.destroy();
            server.close(() => done());
          }),
      });
    });
  });
}

/** The same for a socket and the TLS socket made of it; another for each address that is listened on. */
function connectionKey(s: net.Socket | tls.TLSSocket): string {
  return `${s.localAddress}|${s.localPort}|${s.remoteAddress}|${s.remotePort}`;
}

function listenError(at: SocketAddr, e: Error & { code?: string }): string {
  const where = formatSocketAddr(at);
  switch (e.code) {
    case "EADDRINUSE":
      return `Listen on ${where} failed: the port is taken; end the other process or choose another port`;
    case "EACCES":
      return `Listen on ${where} failed: not permitted; choose a port from 1024 on`;
    case "EADDRNOTAVAIL":
      return `Listen on ${where} failed: this machine has no such address`;
    default:
      return `Listen on ${where} failed: ${e.code ?? e.message}`;
  }
}
