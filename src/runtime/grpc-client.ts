// gRPC to the control plane, over HTTP/2 prior knowledge: in clear text on the pod's loopback, else over
// mesh TLS to a server whose identity is checked. Loaded by every proxy at start, so it imports only the
// client half of what there is.

import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Transport } from "@connectrpc/connect";
import net from "node:net";
import tls from "node:tls";
import type { SocketAddr } from "../core/addr.ts";
import { createControlDns } from "./control-dns.ts";
import {
  type ControlDns,
  ControlResolver,
  type RecordType,
  type TtlBounds,
} from "./control-resolver.ts";
import { subjectAltNames } from "./der.ts";
import { type AddressBackoff, GrpcBalancer } from "./grpc-client-balancer.ts";
import { GrpcSession } from "./grpc-session.ts";
import { SYSTEM_CLOCK } from "./process.ts";

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

/** Until one is configured. */
const BACKOFF: AddressBackoff = { minMs: 100, maxMs: 10_000, jitter: 0.1 };

/** What may be said about how a client finds its service. */
export interface GrpcClientOptions {
  /** Hears of each look-up of the name. */
  readonly resolved?: (type: RecordType, isFound: boolean) => void;
  /** How long answers of DNS are kept. */
  readonly ttl?: TtlBounds;
  /** How long an address that failed is left alone while there are others. */
  readonly backoff?: AddressBackoff;
  /** In place of the system's name servers. */
  readonly dns?: ControlDns;
}

/**
 * A client of one control-plane service, over all addresses that its name has. It connects with the first
 * call, again after every failure, and a call goes to another address where one cannot be connected to;
 * nothing is retried of which a byte was sent.
 *
 * `context` gives the newest client credentials (`MeshTls.client`), asked for each new connection;
 * while it gives null, calls to a server that needs TLS fail at once.
 */
export function createGrpcClient(
  target: GrpcTarget,
  context: () => tls.SecureContext | null,
  options: GrpcClientOptions = {},
): GrpcClient {
  const { port, identity } = target;
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  // As in Linkerd, `:scheme` is http and `:authority` is what was configured, also over mesh TLS.
  const baseUrl = `http://${host}:${port}`;
  const resolver = new ControlResolver({
    host: target.host,
    port,
    dns: options.dns ?? createControlDns(),
    clock: SYSTEM_CLOCK,
    random: Math.random,
    ttl: options.ttl ?? { minMs: null, maxMs: null },
    resolved: options.resolved ?? (() => {}),
    changed: (addrs) => balancer.update(addrs),
  });
  const balancer = new GrpcBalancer({
    baseUrl,
    // Without a certificate no address is at fault, and none is looked up.
    addresses: async () => {
      if (identity !== null && context() === null) {
        throw new Error(`No certificate yet to connect to ${host}:${port} with`);
      }
      return await resolver.addresses();
    },
    session: (addr) => new GrpcSession(baseUrl, () => connect(addr, identity, context)),
    failed: () => resolver.doubt(),
    backoff: options.backoff ?? BACKOFF,
    clock: SYSTEM_CLOCK,
    random: Math.random,
  });
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: balancer,
    readMaxBytes: MAX_MESSAGE_BYTES,
    acceptCompression: [],
  });
  return {
    transport,
    close: () => {
      resolver.close();
      balancer.close();
    },
  };
}

function connect(
  { ip: host, port }: SocketAddr,
  identity: string | null,
  context: () => tls.SecureContext | null,
): net.Socket {
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
