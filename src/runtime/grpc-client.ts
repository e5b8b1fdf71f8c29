// gRPC to the control plane, over HTTP/2 prior knowledge: in clear text on the pod's loopback, else over
// mesh TLS to a server whose identity is checked. Loaded by every proxy at start, so it imports only the
// client half of what there is.

import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Transport } from "@connectrpc/connect";
import net from "node:net";
import tls from "node:tls";
import { subjectAltNames } from "./der.ts";
import { GrpcSession } from "./grpc-session.ts";

/** A control-plane service: `ControlAddr` of `proxy/config.ts`, as far as connecting needs it. */
export interface GrpcTarget {
  readonly host: string;
  readonly port: number;
  /** Who must answer; null: clear text, which only the pod's own loopback gets. */
  readonly identity: string | null;
}

/** A transport and what ends it. */
export interface GrpcClient {
  readonly transport: Transport;
  /** Ends the connection and every call on it. */
  close(): void;
}

const CONNECT_TIMEOUT_MS = 5000;
/** Largest message: a profile of a thousand routes, an add of some thousand endpoints. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/**
 * A client of one control-plane service. It connects with the first call, again after every failure,
 * and retries nothing itself.
 *
 * `context` gives the newest client credentials (`MeshTls.client`), asked for each new connection;
 * while it gives null, calls to a server that needs TLS fail at once. `resolved` hears of each name that
 * was looked up.
 */
export function createGrpcClient(
  target: GrpcTarget,
  context: () => tls.SecureContext | null,
  resolved: (isFound: boolean) => void = () => {},
): GrpcClient {
  const { port } = target;
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  // As in Linkerd, `:scheme` is http and `:authority` is what was configured, also over mesh TLS.
  const baseUrl = `http://${host}:${port}`;
  const session = new GrpcSession(baseUrl, () => {
    const socket = connect(target, context);
    socket.once("lookup", (e: Error | null) => resolved(e === null));
    return socket;
  });
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: session,
    readMaxBytes: MAX_MESSAGE_BYTES,
    acceptCompression: [],
  });
  return { transport, close: () => session.close() };
}

function connect(target: GrpcTarget, context: () => tls.SecureContext | null): net.Socket {
  const { port, identity } = target;
  // The name is this machine's by definition, and not every resolver knows it with its final dot.
  const host = /^localhost\.?$/i.test(target.host) ? "127.0.0.1" : target.host;
  const socket = identity === null
    ? net.connect({ host, port, noDelay: true })
    : connectTls({ host, port }, identity, context());
  const connected = identity === null ? "connect" : "secureConnect";
  const timer = setTimeout(() => {
    socket.destroy(
      new Error(`Connect to ${host}:${port} timed out after ${CONNECT_TIMEOUT_MS} ms`),
    );
  }, CONNECT_TIMEOUT_MS);
  const stop = () => clearTimeout(timer);
  socket.once(connected, stop);
  socket.once("close", stop);
  return socket;
}

/** TLS 1.3 without ALPN, and a server that must have exactly the name that is expected. */
function connectTls(
  at: { host: string; port: number },
  identity: string,
  context: tls.SecureContext | null,
): net.Socket {
  if (context === null) {
    throw new Error(`No certificate yet to connect to ${at.host}:${at.port} with`);
  }
  const socket = tls.connect({
    ...at,
    secureContext: context,
    servername: identity,
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) => {
      const names = subjectAltNames(certificate.raw);
      if (names.includes(identity)) return undefined;
      return new Error(
        `The server is ${names.slice(0, 3).join(", ") || "nobody"}, not ${identity}`,
      );
    },
  });
  socket.setNoDelay(true);
  return socket;
}
