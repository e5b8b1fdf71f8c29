// What the main thread and a worker say to each other: structured clones, in order. Main knows –
// discovery, certificates, modules –, a worker serves. A private key passes here and is never logged.

import type { SocketAddr } from "../../core/addr.ts";
import type { FilterRef, FilterSeries, FilterStats, ShippedFilter } from "../../core/filter.ts";
import type { LogLevel } from "../../core/log.ts";
import type { Family, Series } from "../../core/sheet.ts";
import type { FamilyInfo, SentExemplar } from "../../core/sheet-sum.ts";
import type { TapRequest } from "../../api/tap.ts";
import type { Endpoint } from "../../model/endpoint.ts";
import type { TapEvent } from "../../model/tap.ts";
import type { LogFormat, ProxyConfig } from "../config.ts";
import type { Credentials } from "../credentials.ts";
import type {
  InboundSnapshot,
  OutboundSnapshot,
  RouteSnapshot,
  TargetKey,
} from "../discovery/discovery.ts";
import type { EndpointReport } from "../report.ts";
import type { StaticPlaneOptions } from "../static-plane.ts";

/** What a worker builds. */
export type PlaneKind =
  | { readonly kind: "mesh"; readonly config: ProxyConfig }
  | { readonly kind: "static"; readonly options: StaticPlaneOptions };

/** What a worker is started with. */
export interface WorkerStart {
  /** From 1 on; in log lines and metrics. */
  readonly number: number;
  readonly plane: PlaneKind;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  /** Memory of `wasm/host/cells.ts`: filters' state that is one per proxy. */
  readonly cells: SharedArrayBuffer;
}

/** What mutual TLS needs of a certificate. */
export type TlsCredentials = Pick<
  Credentials,
  "certPem" | "keyPem" | "anchorsPem" | "serverName"
>;

/** A filter of a chain: one that the worker has under this number, or one that nobody could load. */
export type ChainMember = number | { readonly ref: FilterRef; readonly why: string };

/** A route with its chain taken apart. */
export type SentRoute = Omit<RouteSnapshot, "chain"> & { readonly chain: readonly ChainMember[] };

/** What changed in a set of endpoints. Numbers stay with an address for as long as it is in the set. */
export interface EndpointDelta {
  readonly exists: boolean;
  /** New, or described anew. */
  readonly put: readonly (readonly [number: number, endpoint: Endpoint])[];
  readonly removed: readonly number[];
}

/** The fields of a snapshot that are not what was sent before, those of plain values. */
export type OutboundFields = Partial<Omit<OutboundSnapshot, "routes" | "endpoints">>;
export type InboundFields = Partial<Omit<InboundSnapshot, "routes">>;

/** A change of what a worker watches. */
export interface SnapshotChange {
  /** The worker's number for it. */
  readonly id: number;
  readonly why: string;
  /** Absent: as before. */
  readonly routes?: readonly SentRoute[];
  /** Absent: as before. Null: not known yet. */
  readonly endpoints?: EndpointDelta | null;
  readonly fields: OutboundFields | InboundFields;
  /** The next change belongs to the same snapshot: nobody is told before it came. */
  readonly more: boolean;
}

/** Main to worker. */
export type ToWorker =
  | { readonly type: "log"; readonly level: LogLevel }
  | { readonly type: "credentials"; readonly credentials: TlsCredentials }
  | { readonly type: "filter"; readonly id: number; readonly filter: ShippedFilter }
  /** No snapshot to come names it. */
  | { readonly type: "forget"; readonly id: number }
  | { readonly type: "snapshot"; readonly change: SnapshotChange }
  /** There is no snapshot yet, or something is wrong with it. */
  | { readonly type: "why"; readonly id: number; readonly why: string }
  /** Another worker met a connection to this port: its policy may be wanted here too. */
  | { readonly type: "port"; readonly port: number }
  | { readonly type: "listen" }
  | { readonly type: "report"; readonly id: number }
  /** Somebody observes requests, or has seen as many as it wanted. */
  | { readonly type: "tap"; readonly id: number; readonly request: TapRequest }
  | { readonly type: "untap"; readonly id: number }
  | { readonly type: "ping" }
  | { readonly type: "drain"; readonly graceMs: number }
  | { readonly type: "leave" };

/** What a worker tells of itself when main is scraped. What its sheet holds is not in it. */
export interface WorkerReport {
  readonly mtlsConnections: number;
  readonly plaintextConnections: number;
  readonly endpoints: readonly EndpointReport[];
  readonly filterStats: readonly FilterStats[];
  readonly filterSeries: readonly FilterSeries[];
  readonly exemplars: readonly SentExemplar[];
}

/** Worker to main. */
export type FromWorker =
  /** It was built and waits for `listen`. */
  | { readonly type: "started" }
  | { readonly type: "cells"; readonly cells: SharedArrayBuffer }
  | {
    readonly type: "series";
    readonly family: FamilyInfo;
    readonly series: Series;
  }
  /** Nobody counts there any more. */
  | { readonly type: "dropped"; readonly family: string; readonly labels: string }
  | { readonly type: "took"; readonly id: number; readonly refused: string | null }
  | { readonly type: "outbound"; readonly id: number; readonly key: TargetKey }
  | { readonly type: "inbound"; readonly id: number; readonly port: number }
  | { readonly type: "release"; readonly id: number }
  | { readonly type: "listening"; readonly addrs: readonly SocketAddr[] }
  | { readonly type: "deaf"; readonly why: string }
  | { readonly type: "report"; readonly id: number; readonly report: WorkerReport }
  /** What an observer wants to see. */
  | { readonly type: "tapped"; readonly id: number; readonly events: readonly TapEvent[] }
  | { readonly type: "pong" }
  | { readonly type: "drained" };

/** A family as it is sent: without its series. */
export function familyInfo({ name, help, type, bounds }: Family): FamilyInfo {
  return { name, help, type, bounds };
}
