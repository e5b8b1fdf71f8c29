// The TLS contexts of a proxy's current certificate: made once per certificate, used by each handshake.
// TLS 1.3 only, no tickets, no resumption; both sides verify against the trust anchors.

import net from "node:net";
import tls from "node:tls";

/** What a certificate gives. PEM texts; the chain is leaf first. */
export interface TlsMaterial {
  readonly certPem: string;
  readonly keyPem: string;
  readonly anchorsPem: string;
  /** The SNI under which this proxy is a server. */
  readonly serverName: string;
}

/** Application protocol of connections that begin with a transport header. */
export const TRANSPORT_ALPN = "transport.l5d.io/v1";

/** SSL_OP_NO_TICKET: no TLS 1.3 session ticket is sent. */
const NO_TICKET = 0x4000;

/**
 * For the connection over which a proxy asks for its first certificate: the server proves who it is,
 * the client says nothing of itself yet. As Linkerd's proxy asks.
 */
export function trustOnly(anchorsPem: string): tls.SecureContext {
  return tls.createSecureContext({
    ca: anchorsPem,
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    secureOptions: NO_TICKET,
  });
}

/** Who accepted the sockets of server handshakes: `net-listener.ts`. */
export interface HandshakeListener {
  /** Whether the handshake is of a socket that it handed to `terminate`. */
  began(socket: tls.TLSSocket): boolean;
  secured(socket: tls.TLSSocket): void;
  failed(socket: tls.TLSSocket, e: Error): void;
}

/** Contexts for both roles; `update` replaces them for new handshakes, open connections go on. */
export class MeshTls {
  #material: TlsMaterial | null = null;
  #client: tls.SecureContext | null = null;
  #server: tls.Server | null = null;
  readonly #secured: (socket: tls.TLSSocket) => void;
  readonly #failed: (e: Error, socket: tls.TLSSocket) => void;
  readonly #listeners: HandshakeListener[] = [];

  constructor() {
    this.#secured = (socket) => {
      const listener = this.#listenerOf(socket);
      if (listener === undefined) socket.destroy();
      else listener.secured(socket);
    };
    this.#failed = (e, socket) => {
      // One that is gone has no address any more: whoever counts it, it is counted.
      const listener = this.#listenerOf(socket) ?? this.#listeners[0];
      listener?.failed(socket, e);
      socket.destroy();
    };
  }

  /** Adds who hears of the handshakes that it began: one for each address with mesh TLS. */
  onServer(listener: HandshakeListener): void {
    this.#listeners.push(listener);
  }

  #listenerOf(socket: tls.TLSSocket): HandshakeListener | undefined {
    return this.#listeners.find((l) => l.began(socket));
  }

  /** Takes a new certificate. Throws when key and certificate do not belong together. */
  update(material: TlsMaterial): void {
    const context = {
      key: material.keyPem,
      cert: material.certPem,
      ca: material.anchorsPem,
      minVersion: "TLSv1.3",
      maxVersion: "TLSv1.3",
      secureOptions: NO_TICKET,
    } as const;
    const client = tls.createSecureContext(context);
    if (this.#server === null) {
      this.#server = tls.createServer({
        ...context,
        requestCert: true,
        // An untrusted certificate must be told apart from none: `clientPeer` refuses it.
        rejectUnauthorized: false,
        ALPNProtocols: [TRANSPORT_ALPN],
        allowHalfOpen: true,
        handshakeTimeout: 10_000,
      });
      this.#server.on("secureConnection", this.#secured);
      this.#server.on("tlsClientError", this.#failed);
    } else {
      this.#server.setSecureContext(context);
    }
    this.#client = client;
    this.#material = material;
  }

  /** The context of outgoing connections, or null before the first certificate. */
  client(): tls.SecureContext | null {
    return this.#client;
  }

  /** The name that a client must ask for to be terminated here, or null before the first certificate. */
  get serverName(): string | null {
    return this.#material?.serverName ?? null;
  }

  /** Begins a server handshake on a socket whose first bytes were put back. */
  terminate(socket: net.Socket): void {
    this.#server?.emit("connection", socket);
  }
}
