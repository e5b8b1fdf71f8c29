// What `tulle proxy` runs with: checked by the command line, used by `runStatic`. Plain values.

import type { SocketAddr } from "../core/addr.ts";

/** A filter given as a file. */
export interface StaticFilter {
  /** The file's name without folder and `.wasm`; the name in metrics and messages. */
  readonly name: string;
  readonly module: Uint8Array;
  /** JSON text as UTF-8; empty: none. */
  readonly config: Uint8Array;
  /** What each target of call-outs that it asks means, as `host:port`. */
  readonly callouts?: Readonly<Record<string, string>>;
  /** `file:line:column` of an offset in the module, by the map beside it; `bodyFrom`: its function. */
  locate?(offset: number, bodyFrom: number): string | null;
}

/** A service that filters may ask, in plain text. */
export interface StaticCallout {
  /** The target's name in the filters. */
  readonly name: string;
  /** What the filters' call-outs name. */
  readonly authority: string;
  /** At least one; call-outs are balanced over them. */
  readonly addrs: readonly SocketAddr[];
}

/** A proxy without a control plane. */
export interface StaticOptions {
  readonly listen: SocketAddr;
  /** At least one; requests are balanced over them. */
  readonly to: readonly SocketAddr[];
  /** Null: no admin server. */
  readonly admin: SocketAddr | null;
  /** In order of execution. */
  readonly filters: readonly StaticFilter[];
  /** What filters may ask, and nothing else. */
  readonly callouts: readonly StaticCallout[];
  /** What the targets are spoken to in; `same`: what the client speaks. */
  readonly upstreamProtocol: "http1" | "http2" | "same";
  /** A folder with this proxy's key and certificate and the trust anchors; null: no mutual TLS. */
  readonly identityDir: string | null;
  /** The identity that the other side must have; null: any that the trust anchors vouch for. */
  readonly requireId: string | null;
  /** Run the inbound stack instead of the outbound one. */
  readonly inbound: boolean;
  /** Threads that serve; 1: the process's own. */
  readonly workers: number;
}

/** A file that the command line names cannot be used; the message says which, and why. Known by its name,
 * since the package has a bundle for each side. */
export class UnusableFile extends Error {
  constructor(why: string, cause: unknown) {
    super(why, { cause });
    this.name = "UnusableFile";
  }
}
