// What a data plane asks of whoever listens for it: an address, and what becomes of its connections.
// `runtime/net-listener.ts` does it; a test may do it without a socket.

import type { SocketAddr } from "./addr.ts";
import type { Chan, Core, Peer } from "./driver.ts";

/** Why a connection was not accepted. */
export type Refusal = "tls" | "identity" | "overload";

/** What a listener does with connections. */
export interface ListenRequest {
  readonly at: SocketAddr;
  /** Terminate mesh TLS here; false: plain text only, nothing is awaited before `accept`. */
  readonly meshTls: boolean;
  /** Terminate whatever name a client asks for, not only the identity's; for static configuration. */
  readonly anyName: boolean;
  /** Connections that wait to be accepted; absent or null: this proxy's choice. */
  readonly backlog?: number | null;
  /** TCP keep-alive of what is accepted, after this long without a byte; absent or null: off. */
  readonly keepAliveMs?: number | null;
  /** How long the first bytes of a connection are awaited before it counts as plain text. */
  readonly detectMs: number;
  /** Connections may have been redirected here: tell their original destinations. */
  readonly transparent?: boolean;
  accept(ch: Chan, peer: Peer): Core;
  /**
   * For a client that has said nothing yet where `meshTls` is: the core of a plain-text connection, or
   * null when its bytes must be awaited; then it is asked again. Once that core sends, ends or hands on
   * the channel, it is plain text; a client that begins like TLS before ends the core, not the connection.
   */
  acceptSilent?(ch: Chan, peer: Peer): Core | null;
  /** A connection that was not accepted, and why, in words that can be a metric's label. */
  refused(why: Refusal, detail: string): void;
}

/** A listening address. */
export interface Listener {
  /** The bound one: with port 0 asked for, the port that was given. */
  readonly addr: SocketAddr;
  /** Stops accepting; open connections go on. */
  close(): Promise<void>;
}

/** Listens. Rejects with one line that names the address when that is not possible. */
export type Listen = (request: ListenRequest) => Promise<Listener>;
