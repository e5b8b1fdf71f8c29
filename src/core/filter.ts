// What the proxy and the control plane know of filters: interfaces that a `main.ts` fills with the
// engine of `wasm/host`.

import type { Exchange } from "./exchange.ts";
import type { ResponseHead } from "./head.ts";

/** What happens to a request when its filter cannot run: skipped, or answered 503. */
export type FailurePolicy = "open" | "closed";

/** A filter as configuration names it: which module, with what settings. */
export interface FilterRef {
  /** The name of the `WasmFilter` object. */
  readonly name: string;
  /** 64 lower-case hex digits. */
  readonly sha256: string;
  /** Ed25519 over the digest (`wasm/host/signature.ts`); absent: nobody signed the module. */
  readonly signature?: Uint8Array;
  /** Module size in bytes; a download of another size is refused. */
  readonly size: number;
  /** What the filter's `configure` gets: JSON text as UTF-8; empty: none. */
  readonly config: Uint8Array;
  readonly failurePolicy: FailurePolicy;
  /** Instructions that one hook may use; 0: the default of 1,000,000. */
  readonly fuelPerHook: number;
  /** Memory limit in 64 KiB pages; 0: the default of 16. */
  readonly memoryPages: number;
  /** Share of the thread's time, in percent; 0: the default of 5; 100: no limit. */
  readonly cpuPercent?: number;
  /** Call-out targets that the filter may ask: its name for one, and the authority that it means. */
  readonly callouts?: Readonly<Record<string, string>>;
}

/** Hooks of a chain, as bits, so that a layer with nothing to do costs one test. */
export const HOOK_REQUEST = 1;
export const HOOK_OUTCOME = 2;
export const HOOK_RESPONSE = 4;
export const HOOK_END = 8;
export const HOOK_ATTEMPT = 16;
export const HOOK_CONNECTION = 32;
export const HOOK_CONNECTION_END = 64;
export const HOOK_REQUEST_BODY = 128;
export const HOOK_RESPONSE_BODY = 256;
export const HOOK_TRAILERS = 512;

/** Go on. */
export const CONTINUE = 0;
/** Answer with `exchange.local`; nothing goes upstream. */
export const REPLY = 1;
/** A filter with the closed policy failed: `exchange.filterError` says why. */
export const FAILED = 2;
/** Wait for the answer to `exchange.callout`, then `requestAnswered`. */
export const PAUSED = 3;
export type Verdict = typeof CONTINUE | typeof REPLY | typeof FAILED | typeof PAUSED;

/** How one attempt ended, for `attemptOutcome`. Owned by the caller and used again. */
export interface Outcome {
  /** HTTP status, or 0 when there was no response. */
  status: number;
  /** 0: none; else a bit of `OUTCOME_*`. */
  error: number;
  elapsedMs: number;
}
/** No connection: nothing reached the endpoint. */
export const OUTCOME_CONNECT = 1;
/** The connection ended before a whole response head. */
export const OUTCOME_RESET = 2;
/** The attempt's time-out. */
export const OUTCOME_TIMEOUT = 4;

/** What a filter asks another service. Texts have one code unit per byte. */
export interface CalloutRequest {
  /** The filter's name, for bounds and messages. */
  readonly filter: string;
  readonly authority: string;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly timeoutMs: number;
  /** Given back to the filter. */
  readonly context: number;
}

/** What came of it. */
export interface CalloutAnswer {
  /** 0: there is none, `error` says why. */
  readonly status: number;
  readonly error: string;
  /** The first value of a header, or null. Only while the filter is called. */
  header(name: string): string | null;
  readonly body: Uint8Array;
}

/** Asks other services for filters, on the data plane's own client. Calls are synchronous. */
export interface Callouts {
  /** `done` is called once, later or at once, unless the returned function cancelled. */
  start(request: CalloutRequest, done: (answer: CalloutAnswer) => void): () => void;
}

/** How a chain wants a body. */
export interface BodyNeed {
  /** Up to so many bytes at once, before anything is sent on; 0: piece by piece. */
  readonly wholeBytes: number;
  /** A body over `wholeBytes`: answered 413 or 503, or passed on without those filters. */
  readonly over: "refuse" | "pass";
  /** What goes on may be other bytes. */
  readonly replaces: boolean;
}

/** Bytes of a body, lent; a chain may put others in their place. */
export interface BodyPiece {
  buf: Uint8Array;
  from: number;
  to: number;
}

/**
 * The filters of one route, instantiated for this thread. Calls are synchronous and never throw.
 * Requests run in order, responses in reverse order.
 */
export interface FilterChain {
  /** Which hooks any filter has: bits of `HOOK_*`. */
  readonly hooks: number;
  requestHead(x: Exchange): Verdict;
  /** Goes on after `PAUSED` with the answer to `x.callout`. */
  requestAnswered(x: Exchange, answer: CalloutAnswer): Verdict;
  /** Before each attempt: may set `x.attemptTimeoutMs` and `x.choice`. */
  attemptStart(x: Exchange): void;
  /** -1: no retry; else retry after that many milliseconds. Any «no» stops a retry. */
  attemptOutcome(x: Exchange, outcome: Outcome): number;
  responseHead(x: Exchange, head: ResponseHead): Verdict;
  /** Once, after the body of the response that is returned, when it has trailers. */
  responseTrailers(x: Exchange, trailers: ResponseHead): void;
  /** Exactly once for each request that `requestHead` saw, also after an abort (status 0). */
  end(x: Exchange, status: number, elapsedMs: number): void;
  /** Null: no filter looks at it. */
  readonly requestBody: BodyNeed | null;
  readonly responseBody: BodyNeed | null;
  /** `last` comes once, with the whole body or with an empty piece. `tooLong`: filters that want it
   * whole are left out. */
  requestPiece(x: Exchange, piece: BodyPiece, last: boolean, tooLong: boolean): Verdict;
  responsePiece(x: Exchange, piece: BodyPiece, last: boolean, tooLong: boolean): Verdict;
  /** An opaque connection: `REPLY` denies it, `FAILED`, too; `x.filterError` says why. */
  connectionOpen(x: Exchange): Verdict;
  /** Exactly once for each connection that `connectionOpen` let through. */
  connectionEnd(x: Exchange, bytesIn: number, bytesOut: number, elapsedMs: number): void;
}

/** The chain of a route without filters. */
export const NO_FILTERS: FilterChain = {
  hooks: 0,
  requestHead: () => CONTINUE,
  attemptOutcome: () => -1,
  responseHead: () => CONTINUE,
  end: () => {},
  requestAnswered: () => CONTINUE,
  responseTrailers: () => {},
  attemptStart: () => {},
  connectionOpen: () => CONTINUE,
  connectionEnd: () => {},
  requestBody: null,
  responseBody: null,
  requestPiece: () => CONTINUE,
  responsePiece: () => CONTINUE,
};

/** A module that was refused, rewritten, compiled and tried, ready to be instantiated. */
export interface PreparedFilter {
  readonly ref: FilterRef;
  readonly info: ModuleInfo;
}

/** What a module says of itself in its manifest, and what the loader found. */
export interface ModuleInfo {
  readonly abi: "tulle_abi_1";
  readonly sha256: string;
  readonly size: number;
  readonly hooks: readonly string[];
  readonly headersRead: readonly string[];
  readonly headersWritten: readonly string[];
  readonly metrics: readonly MetricInfo[];
}

export interface MetricInfo {
  readonly name: string;
  readonly help: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  /** Upper bounds of a histogram's buckets, without +Inf. */
  readonly bounds: readonly number[];
}

/** What is seen of a filter while it runs, for the admin page, metrics and the demo's table. */
export interface FilterStats {
  readonly name: string;
  readonly sha256: string;
  readonly calls: number;
  /** Median of the newest sampled calls; 0 before the first sample. */
  readonly nsPerCall: number;
  readonly traps: number;
  readonly fuelExhausted: number;
  /** Calls that were not made, since the filter had used its share of the thread's time. */
  readonly overBudget: number;
  /** The newest failure in one line, or empty. */
  readonly lastError: string;
}

/** One series of a metric that filters keep, read at scrape time. */
export interface FilterSeries {
  readonly metric: MetricInfo;
  readonly labels: Readonly<Record<string, string>>;
  /** Counter or gauge: one value. Histogram: a count per bound, then +Inf, then the sum. */
  readonly values: readonly number[];
}

/** Runs filters. One per data-plane thread; `prepare` is for the control side of the process. */
export interface FilterEngine {
  /** Verifies the digest, refuses, rewrites, compiles, tries a canary with the reference's
   * configuration. Rejects with `FilterRefused`. */
  prepare(module: Uint8Array, ref: FilterRef): Promise<PreparedFilter>;
  /** Instances for a route's filters, in order; `null` stands for a filter that could not be loaded
   * and whose policy is closed. Prepared filters of equal digest and configuration share instances. */
  chain(filters: readonly (PreparedFilter | UnloadedFilter)[]): FilterChain;
  stats(): readonly FilterStats[];
  series(): readonly FilterSeries[];
}

/** A prepared filter as it goes to another thread, whose engine makes it its own: plain values, and a
 * compiled module, which is shared and not copied. */
export interface ShippedFilter {
  readonly ref: FilterRef;
  readonly info: ModuleInfo;
  readonly module: WebAssembly.Module;
  /** What else the engine knows of the module; for the engine alone. */
  readonly rest: unknown;
}

/** Carries prepared filters from the thread that compiled them to those that run them. */
export interface FilterPorter {
  /** For `receive` of another thread's engine. */
  ship(filter: PreparedFilter): ShippedFilter;
  /** Instantiates: start section and `configure` run here. Throws `FilterRefused` with the reason.
   * The instance stays while a chain of the result is held. */
  receive(filter: ShippedFilter): PreparedFilter;
}

/** A filter that could not be loaded yet: skipped or refusing, as its policy says. */
export interface UnloadedFilter {
  readonly ref: FilterRef;
  readonly info: null;
  readonly why: string;
}

/** A module was refused. The message says what was found, where (byte offset, function), and what is allowed. */
export class FilterRefused extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "FilterRefused";
  }
}

/** Looks at a module without running it; for the registry and the CLI. Throws `FilterRefused`. */
export interface ModuleInspector {
  inspect(module: Uint8Array): Promise<ModuleInfo>;
}

/** Compiles a filter's source; for the CLI and the demo's watch mode, never in a proxy. */
export interface FilterCompiler {
  /** `entry` is the path of the filter's main source. Errors are the compiler's lines with file:line:column. */
  compile(entry: string): Promise<CompiledFilter | { readonly errors: readonly string[] }>;
}

export interface CompiledFilter {
  readonly wasm: Uint8Array;
  readonly sha256: string;
  /** Source map (version 3), which no module carries; sources are relative to the main source. */
  readonly sourceMap?: string;
}
