// Sockets for the portable driver: outgoing ones, plain or mesh TLS, and accepted ones taken over so
// that they read into the driver's buffer. What differs between Node and Deno about sockets is here.

import net from "node:net";
import process from "node:process";
import tls from "node:tls";
import type { ChanError, ConnectTo, PeerTls } from "../core/driver.ts";
import { serverPeer } from "./peer-identity.ts";

const IS_DENO = process.versions.deno !== undefined;

/** Where a socket reads into, and who hears of it: `onread` of `node:net`. */
export interface OnRead {
  readonly buffer: Uint8Array;
  /** False: stop reading. */
  callback(bytes: number, buffer: Uint8Array): boolean;
}

/**
 * Begins a connection. `mesh` is the TLS context, which `to.tls` needs. `opened` hears once: who the
 * peer is (null: plain text), or why it is refused. TLS sockets give `data` events, not `onread`.
 */
export function dial(
  to: ConnectTo,
  mesh: tls.SecureContext | null,
  onread: OnRead,
  opened: (peer: PeerTls | null | string) => void,
): net.Socket {
  const at = {
    host: to.addr.ip,
    port: to.addr.port,
    ...(to.from === null ? {} : { localAddress: to.from }),
    allowHalfOpen: true,
    noDelay: true,
    ...keepAlive(to),
  };
  if (to.tls === null || mesh === null) {
    return net.connect({ ...at, onread }).once("connect", () => opened(null));
  }
  const { serverName, identity, alpn } = to.tls;
  const socket = tls.connect({
    ...at,
    secureContext: mesh,
    ...(serverName === "" ? {} : { servername: serverName }),
    minVersion: "TLSv1.3",
    rejectUnauthorized: true,
    // The SNI is not what is checked, the identity is, once, in peer-identity.ts.
    checkServerIdentity: () => undefined,
    ...(alpn === null ? {} : { ALPNProtocols: [alpn] }),
  });
  socket.once("secureConnect", () => opened(serverPeer(socket, identity, alpn)));
  return socket;
}

/** Options of sockets that the system asks about a peer that says nothing. */
export function keepAlive({ keepAliveMs }: { readonly keepAliveMs?: number | null }) {
  if (keepAliveMs === undefined || keepAliveMs === null || keepAliveMs === 0) return {};
  return { keepAlive: true, keepAliveInitialDelay: keepAliveMs };
}

/**
 * A socket over the handle of an accepted one, from which bytes may have been read. `onread` is public
 * for outgoing sockets only, and twice as fast as `data` events; where the handle cannot be taken, the
 * accepted socket itself is used.
 */
export function takeOver(accepted: net.Socket, onread: OnRead, wasRead: boolean): net.Socket {
  const raw = accepted as net.Socket & { _handle: unknown };
  const handle = raw._handle;
  // Deno reads ahead: what a read has begun for the old socket would be lost.
  if (handle === null || handle === undefined || (wasRead && IS_DENO)) return accepted;
  raw._handle = null;
  const options = { handle, allowHalfOpen: true, onread };
  const socket = new net.Socket(options as unknown as net.SocketConstructorOpts);
  // The server counts the socket that it accepted.
  socket.once("close", () => accepted.destroy());
  if (accepted.readableEnded) {
    // Read before, and not read again.
    socket.push(null);
    socket.read(0);
  } else {
    accepted.once("end", () => socket.emit("end"));
  }
  accepted.resume();
  return socket;
}

/** What an error of a socket means: before it was open, TLS failures are about identity. */
export function errorKind(
  e: Error & { readonly code?: string },
  open: boolean,
  isTls: boolean,
): ChanError["kind"] {
  if (open) return "reset";
  const network = e.code !== undefined &&
    /^(ECONNRESET|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|EPIPE)$/.test(
      e.code,
    );
  return isTls && !network ? "identity" : "connect";
}

/** What a socket's error says to people. A certificate that is not trusted is said in words. */
export function errorMessage(e: Error & { readonly code?: string }): string {
  const code = e.code ?? e.message;
  const untrusted = /^(UNABLE_TO_|CERT_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_)/.test(code);
  return untrusted
    ? `the server's certificate does not chain to the trust anchors (${code})`
    : code;
}
