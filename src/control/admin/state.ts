// What the admin plane sees of the control plane: plain values, read when they are asked for.
// `control/main.ts` fills it; the admin plane never reaches behind it, and holds no key or token.

import type { SocketAddr } from "../../core/addr.ts";

/** A view of the control plane. Readers are synchronous and cheap; `subscribe` says when to look again. */
export interface AdminState {
  services(): readonly ServiceState[];
  filters(): readonly FilterState[];
  identities(): IdentityState;
  /** Pods with a proxy, to be asked for their figures. */
  pods(): readonly MeshedPod[];
  /** What is wrong now while the last good state is served: unreadable files, refused objects. */
  problems(): readonly Problem[];
  counters(): ControlCounters;
  /** A reason that a proxy told of a filter's module, made readable; absent: it stays as it is. */
  explain?(sha256: string, reason: string): string;
  /** Why the control plane cannot serve yet, in one line, or null once it can. */
  notReady(): string | null;
  /** Calls after any of the values changed; may be called for nothing. The result ends it. */
  subscribe(changed: () => void): () => void;
  /**
   * Makes a module the one that a filter runs: one that the registry has, or the bytes of a new one.
   * Never rejects for what is wrong with name or module; the result says it.
   */
  rollout(name: string, module: RolloutModule): Promise<RolloutResult>;
}

export interface ServiceState {
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly {
    readonly port: number;
    /** May be empty. */
    readonly name: string;
    readonly protocol: "http" | "opaque" | "detect";
  }[];
  readonly endpoints: readonly EndpointState[];
}

export interface EndpointState {
  readonly addr: SocketAddr;
  /** The pod's name, or null for an address without one. */
  readonly pod: string | null;
  readonly ready: boolean;
  /** Null: not meshed. */
  readonly identity: string | null;
}

/** A module in the registry. */
export interface ModuleState {
  readonly sha256: string;
  readonly size: number;
  /** Where it came from, for people: a file name, `rolled out`. */
  readonly label: string;
}

export interface FilterState {
  /** Unique in the mesh; `POST /api/filters/:name/rollout` names it. */
  readonly name: string;
  readonly namespace: string;
  /** In words, such as `Service shop/catalogue`. */
  readonly targets: readonly string[];
  /** What configuration asks for. */
  readonly wanted: ModuleState | null;
  /** What proxies are told to run. */
  readonly served: ModuleState | null;
  readonly state: "serving" | "pending" | "refused";
  /** Why it is pending or refused, in one line, or empty. */
  readonly reason: string;
  /** Builds of this filter that the registry has, newest first. */
  readonly builds: readonly ModuleState[];
}

export interface IdentityState {
  readonly trustDomain: string;
  readonly anchors: readonly CertificateState[];
  /** The newest certificate of each name. */
  readonly issued: readonly CertificateState[];
}

/** What may be shown of a certificate. */
export interface CertificateState {
  readonly name: string;
  /** Hex. */
  readonly serial: string;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

export interface MeshedPod {
  readonly namespace: string;
  readonly name: string;
  /** Deployment, StatefulSet …, or the pod's own name. */
  readonly workload: string;
  readonly ip: string;
  /** The proxy's admin port, usually at the pod's address and 4191. */
  readonly admin: SocketAddr;
  readonly identity: string | null;
}

export interface Problem {
  /** Where: `shop.yaml:12`, `WasmFilter shop/retry`. */
  readonly source: string;
  readonly message: string;
}

/** Counts since start, by RPC method or reason where a record is written. */
export interface ControlCounters {
  /** By method, such as `destination.Get`. */
  readonly streamsOpen: Readonly<Record<string, number>>;
  readonly updatesSent: Readonly<Record<string, number>>;
  readonly certificatesIssued: number;
  /** By what was refused: `certificate`, `module`, `resource`, … */
  readonly refusals: Readonly<Record<string, number>>;
}

export type RolloutModule =
  | { readonly sha256: string }
  | { readonly bytes: Uint8Array; readonly signature?: Uint8Array };

export type RolloutResult =
  | { readonly ok: true; readonly sha256: string; readonly previous: string | null }
  | {
    readonly ok: false;
    readonly kind: "unknown-filter" | "refused";
    /** One line: what was refused, why, what to do. */
    readonly reason: string;
  };
