// One address behind a destination, with what is needed to reach it.

import type { SocketAddr } from "../core/addr.ts";
import type { Labels } from "../core/sheet.ts";

/** How the endpoint's proxy wants to be spoken to. `h2`: HTTP/1 may be carried over HTTP/2. */
export type ProtocolHint = "none" | "h2" | "opaque";

/** How HTTP/2 connections to an endpoint are kept, where it has a wish. */
export interface EndpointHttp2 {
  /** PING after so long without a frame, and how long its answer may take. */
  readonly keepAlive: { readonly intervalMs: number; readonly timeoutMs: number } | null;
  /** What is announced to it, in bytes; null: what this proxy is configured with. */
  readonly windows: { readonly stream: number; readonly connection: number } | null;
}

export interface Endpoint {
  readonly addr: SocketAddr;
  /** 10000 is normal. Not used by the balancer, as in Linkerd. */
  readonly weight: number;
  /** `namespace`, `service`, `pod`, `deployment`, …; exported with the prefix `dst_`. */
  readonly labels: Labels;
  /** Who must answer there, and the SNI to send; null: not meshed, plain text. */
  readonly identity: { readonly name: string; readonly serverName: string } | null;
  /** Connect to this port with a transport header instead; 0: connect to `addr.port`. */
  readonly transportPort: number;
  readonly hint: ProtocolHint;
  /** Absent: nothing was said. */
  readonly http2?: EndpointHttp2;
  /** What requests to it are for, `name[:port]`, whatever the client named: it is a gateway, which sends
   * them on to that service in its own cluster. Absent: what the client named. */
  readonly authority?: string;
  /** The destination that it belongs to, where a target's traffic goes to several. */
  readonly backend?: string;
}

/** The key under which an endpoint keeps its statistics and connections when its set changes. */
export function endpointKey(endpoint: Endpoint): string {
  const { addr: { ip, port }, backend } = endpoint;
  return backend === undefined ? `${ip}|${port}` : `${ip}|${port}|${backend}`;
}

/** The whole set behind a destination at one moment. */
export interface EndpointSet {
  /** False: the service does not exist. */
  readonly exists: boolean;
  readonly endpoints: readonly Endpoint[];
}
