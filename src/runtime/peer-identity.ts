// Who is at the other end of a mesh TLS connection: the only reader of `authorized` and of subject
// alternative names. Every identity decision of a handshake is made here.
//
// `authorized` alone is never enough: a Deno TLS server resumes sessions of other servers of the same
// process without verifying the certificate again (docs/adr/0006-no-resumption.md), and Deno does not
// escape names in `subjectAltName`, so that one name can look like two.

import type tls from "node:tls";
import type { PeerTls } from "../core/driver.ts";
import { subjectAltNames } from "./der.ts";

/** The client of an accepted connection, or why it is refused. A client without certificate has no identity. */
export function clientPeer(socket: tls.TLSSocket): PeerTls | string {
  if (socket.isSessionReused()) return "the TLS session was resumed, which the mesh does not allow";
  const certificate = socket.getPeerX509Certificate();
  const alpn = socket.alpnProtocol === false ? null : socket.alpnProtocol;
  if (certificate === undefined || certificate === null) return { identity: null, alpn };
  if (!socket.authorized) return "the client's certificate does not chain to the trust anchors";
  const names = subjectAltNames(certificate.raw);
  const identity = names[0];
  if (identity === undefined) return "the client's certificate names no identity";
  return { identity, alpn };
}

/**
 * The server of a connection that we made, or why it is refused. An empty `expected` takes any
 * identity that the trust anchors vouch for (`tulle proxy` without `--require-id`).
 */
export function serverPeer(
  socket: tls.TLSSocket,
  expected: string,
  alpn: string | null,
): PeerTls | string {
  if (socket.isSessionReused()) return "the TLS session was resumed, which the mesh does not allow";
  const certificate = socket.getPeerX509Certificate();
  if (!socket.authorized || certificate === undefined || certificate === null) {
    return "the server's certificate does not chain to the trust anchors";
  }
  const names = subjectAltNames(certificate.raw);
  if (expected === "" ? names.length === 0 : !names.includes(expected)) {
    return `the server is ${names.slice(0, 3).join(", ") || "without a name"}, not ${expected}`;
  }
  if (alpn !== null && socket.alpnProtocol !== alpn) {
    return `the server did not accept the protocol ${alpn}`;
  }
  return { identity: expected === "" ? (names[0] ?? null) : expected, alpn };
}
