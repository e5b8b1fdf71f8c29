// The native ABI `tulle_abi_1`: names, numbers and shapes that a filter module and its host agree on.
// The SDK's compiler writes them into modules, `wasm/host` reads them; docs/ABI.md is this file in
// prose. A change that an existing module would notice needs a new name.

/** The ABI's name, in the manifest's `abi`. */
export const ABI = "tulle_abi_1";
/** The custom section with the manifest, JSON as UTF-8. */
export const MANIFEST_SECTION = "tulle.filter";
/** Import module of the host's functions. */
export const HOST_MODULE = "tulle";
/** Import module of the engine's string built-ins. */
export const STRING_MODULE = "wasm:js-string";
/** Import module whose import names are string constants. */
export const CONSTANT_MODULE = "'";

/** Exported hooks. `start` runs before everything else and is optional like the others. */
export const HOOK_EXPORTS = {
  start: "_initialize",
  configure: "tulle_configure",
  request: "tulle_on_request",
  outcome: "tulle_on_outcome",
  response: "tulle_on_response",
  end: "tulle_on_end",
  attempt: "tulle_on_attempt",
  tick: "tulle_on_tick",
  trailers: "tulle_on_trailers",
  callout: "tulle_on_callout",
  requestBody: "tulle_on_request_body",
  responseBody: "tulle_on_response_body",
  connection: "tulle_on_connection",
  connectionEnd: "tulle_on_connection_end",
} as const;
export type HookName = keyof typeof HOOK_EXPORTS;

/** WebAssembly value types that may cross the border, as their binary codes. */
export const I32 = 0x7f;
export const F64 = 0x7c;
export const EXTERNREF = 0x6f;

/** A function type at the border. */
export interface BorderType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

/** Types of the hooks; `request` and `response` take their declared headers after these. */
export const HOOK_TYPES: Readonly<Record<HookName, BorderType>> = {
  start: { params: [], results: [] },
  configure: { params: [], results: [] },
  request: { params: [], results: [I32] },
  // status, error bits, attempt, elapsed ms
  outcome: { params: [I32, I32, I32, F64], results: [I32] },
  // status
  response: { params: [I32], results: [I32] },
  // status, elapsed ms
  end: { params: [I32, F64], results: [] },
  // attempt
  attempt: { params: [I32], results: [] },
  tick: { params: [], results: [] },
  trailers: { params: [], results: [] },
  // context, status or 0, bytes of the answer's body
  callout: { params: [I32, I32, I32], results: [I32] },
  // bytes of this piece, 1 for the last one
  requestBody: { params: [I32, I32], results: [I32] },
  responseBody: { params: [I32, I32], results: [I32] },
  connection: { params: [], results: [I32] },
  // bytes from the client, bytes to the client, elapsed ms
  connectionEnd: { params: [F64, F64, F64], results: [] },
};
/** Most headers that a hook takes as parameters. */
export const MAX_HEADER_PARAMS = 8;

/** Result of `request` and `response`: the low 8 bits are the action. */
export const ACTION_CONTINUE = 0;
/** `tulle.reply` was called: answer with that. */
export const ACTION_REPLY = 1;
/** Result of `connection`: the connection is refused. */
export const ACTION_DENY = 2;
/** Result of the body hooks: what `body_write` was given goes on instead of the piece. */
export const ACTION_REPLACE = 3;
/** Result of `request` and `callout`: wait for the call-out that was started. */
export const ACTION_PAUSE = 4;
/** Bits 8–15: how many entries of the manifest's `edits` to apply; bits 16–31: the first of them. */
export const EDIT_COUNT_SHIFT = 8;
export const EDIT_FIRST_SHIFT = 16;

/** Result of `outcome`: the low 8 bits are the opinion, the rest the back-off in ms. */
export const RETRY_NEUTRAL = 0;
export const RETRY_YES = 1;
export const RETRY_NO = 2;
export const RETRY_DELAY_SHIFT = 8;

const REF = EXTERNREF;

/** Functions that a module may import from `tulle`, with their types. */
export const HOST_IMPORTS: Readonly<Record<string, BorderType>> = {
  request_method: { params: [], results: [REF] },
  request_path: { params: [], results: [REF] },
  request_authority: { params: [], results: [REF] },
  request_set_path: { params: [REF], results: [] },
  request_set_authority: { params: [REF], results: [] },
  request_header: { params: [I32], results: [REF] },
  request_header_at: { params: [I32, I32], results: [REF] },
  request_set: { params: [I32, REF], results: [] },
  request_add: { params: [I32, REF], results: [] },
  request_remove: { params: [I32], results: [] },
  response_header: { params: [I32], results: [REF] },
  response_header_at: { params: [I32, I32], results: [REF] },
  response_set: { params: [I32, REF], results: [] },
  response_add: { params: [I32, REF], results: [] },
  response_remove: { params: [I32], results: [] },
  trailer: { params: [I32], results: [REF] },
  trailer_set: { params: [I32, REF], results: [] },
  trailer_remove: { params: [I32], results: [] },
  response_set_status: { params: [I32], results: [] },
  apply_edit: { params: [I32], results: [] },
  apply_config: { params: [I32, I32], results: [] },
  reply: { params: [I32, REF], results: [] },
  reply_header: { params: [I32, REF], results: [] },
  peer_id: { params: [], results: [REF] },
  is_inbound: { params: [], results: [I32] },
  grpc_status: { params: [], results: [I32] },
  attempt: { params: [], results: [I32] },
  route: { params: [], results: [REF] },
  remote_ip: { params: [], results: [REF] },
  remote_port: { params: [], results: [I32] },
  target_ip: { params: [], results: [REF] },
  target_port: { params: [], results: [I32] },
  elapsed_ms: { params: [], results: [F64] },
  wall_ms: { params: [], results: [F64] },
  set_request_timeout: { params: [I32], results: [] },
  set_attempt_timeout: { params: [I32], results: [] },
  // a kind of `LIMIT_*`, ms
  set_time_limit: { params: [I32, I32], results: [] },
  body_read: { params: [I32, I32, I32], results: [I32] },
  body_write: { params: [I32, I32], results: [] },
  body_write_text: { params: [REF], results: [] },
  // target, method, path, body or null, time-out, context
  callout_start: { params: [I32, REF, REF, REF, I32, I32], results: [] },
  callout_add_header: { params: [REF, REF], results: [] },
  callout_header: { params: [REF], results: [REF] },
  callout_text: { params: [], results: [REF] },
  choose_endpoint: { params: [REF, REF, I32], results: [] },
  endpoint_label: { params: [REF], results: [REF] },
  shared_take: { params: [REF, F64, F64, F64], results: [I32] },
  shared_add: { params: [REF, F64], results: [F64] },
  config_i32: { params: [I32], results: [I32] },
  config_f64: { params: [I32], results: [F64] },
  config_text: { params: [I32], results: [REF] },
  config_length: { params: [I32], results: [I32] },
  config_item: { params: [I32, I32], results: [REF] },
  config_refuse: { params: [I32, REF], results: [] },
  // address, count of UTF-16 units
  text: { params: [I32, I32], results: [REF] },
  now_ms: { params: [], results: [F64] },
  random: { params: [], results: [F64] },
  log: { params: [I32, REF], results: [] },
  log_number: { params: [I32, REF, F64], results: [] },
};

/** String built-ins that a module may import. Nothing that makes a new string: a few doublings
 * would take the process's memory. */
export const STRING_IMPORTS: Readonly<Record<string, BorderType>> = {
  length: { params: [REF], results: [I32] },
  charCodeAt: { params: [REF, I32], results: [I32] },
  codePointAt: { params: [REF, I32], results: [I32] },
  equals: { params: [REF, REF], results: [I32] },
  compare: { params: [REF, REF], results: [I32] },
  test: { params: [REF], results: [I32] },
};

/** AssemblyScript's `abort`: message, file (UTF-16 in memory), line, column. */
export const ABORT_MODULE = "env";
export const ABORT_NAME = "abort";
export const ABORT_TYPE: BorderType = { params: [I32, I32, I32, I32], results: [] };

/** `apply_config`'s first argument; the second is the slot of a `headers` or `names` field. */
export const OP_SET = 0;
export const OP_ADD = 1;
export const OP_REMOVE = 2;

/** Kinds of `set_time_limit`: until the response's head; the whole exchange; from the request's end to
 * the response's end; without a byte in either direction. */
export const LIMIT_HEAD = 0;
export const LIMIT_EXCHANGE = 1;
export const LIMIT_RESPONSE = 2;
export const LIMIT_IDLE = 3;

/** Levels of `log`. */
export const LOG_DEBUG = 0;
export const LOG_INFO = 1;
export const LOG_WARN = 2;
export const LOG_ERROR = 3;

/** Exported global with the address of metric `i`. */
export const METRIC_EXPORT = "tulle_metric_";

/** Bounds of a manifest. Past them a module is refused. */
export const LIMITS = {
  manifestBytes: 256 * 1024,
  headers: 128,
  edits: 1024,
  config: 64,
  metrics: 64,
  labels: 3,
  /** Series of one metric, all label values multiplied. */
  seriesPerMetric: 4096,
  bounds: 32,
  /** Least and most of `tickMs`, and most of a time-out. */
  minTickMs: 10,
  maxTickMs: 3_600_000,
  maxTimeoutMs: 3_600_000,
  /** Most of a time limit: what an i32 holds, 24.8 days. */
  maxLimitMs: 2_147_483_647,
  textBytes: 8192,
  keyBytes: 256,
  /** Targets of call-outs, call-outs of one request, and the bounds of one. */
  callouts: 8,
  calloutsPerRequest: 8,
  calloutTimeoutMs: 30_000,
  calloutBytes: 64 * 1024,
  calloutHeaders: 32,
  /** Most of `wholeBytes`, and of what one hook writes. */
  bodyBytes: 1024 * 1024,
} as const;

/** What a module says of itself. Headers are named once in `headers`; everything else uses slots. */
export interface Manifest {
  readonly abi: string;
  /** Tells two builds of one source apart; free text. */
  readonly build?: string;
  /** Lower-case names; the index is the slot. */
  readonly headers: readonly string[];
  readonly reads: HeaderUse;
  readonly writes: HeaderUse;
  /** Header slots that `request` and `response` take as parameters. */
  readonly params: HeaderUse;
  /** Request headers, method, path or authority are read after the request hook: the host keeps them. */
  readonly keepsRequest: boolean;
  readonly edits: readonly ManifestEdit[];
  readonly config: readonly ConfigField[];
  readonly metrics: readonly ManifestMetric[];
  /** How often `tick` is called. */
  readonly tickMs?: number;
  /** Names of what it asks; the configuration says which service each is. */
  readonly callouts?: readonly string[];
  /** How the body hooks want the bodies. */
  readonly bodies?: {
    readonly request?: ManifestBody;
    readonly response?: ManifestBody;
  };
}

/** How a hook wants a body. */
export interface ManifestBody {
  /** Up to so many bytes at once; 0: piece by piece. */
  readonly wholeBytes: number;
  /** What happens to a longer body. */
  readonly over: "refuse" | "pass";
  /** The hook may put other bytes in place. */
  readonly replaces: boolean;
}

/** Slots by head. */
export interface HeaderUse {
  readonly request: readonly number[];
  readonly response: readonly number[];
}

/** A change with a constant value, prepared by the host before the first request. */
export interface ManifestEdit {
  readonly head: "request" | "response";
  readonly op: "set" | "add" | "remove";
  readonly header: number;
  /** One code unit per byte; empty for `remove`. */
  readonly value: string;
}

/** One key of the configuration. Its index is the slot of the `config_*` functions. */
export type ConfigField =
  | NumberField
  | { readonly key: string; readonly type: "bool"; readonly default: boolean }
  | { readonly key: string; readonly type: "text"; readonly default: string }
  /** Statuses and ranges, such as `502-504,500`; delivered as text. */
  | { readonly key: string; readonly type: "statuses"; readonly default: string }
  /** A list of texts, at most `max`. */
  | { readonly key: string; readonly type: "list"; readonly max: number }
  /** An object of header names and values, to be applied to the head. */
  | HeadersField
  /** A list of header names, to be removed from the head. */
  | { readonly key: string; readonly type: "names"; readonly head: "request" | "response" };

export interface NumberField {
  readonly key: string;
  readonly type: "i32" | "f64";
  readonly default: number;
  readonly min: number | null;
  readonly max: number | null;
}

export interface HeadersField {
  readonly key: string;
  readonly type: "headers";
  readonly head: "request" | "response";
}

/** Values of one label: written in the source, or taken from a configured list. */
export type ManifestLabel =
  | { readonly name: string; readonly values: readonly string[] }
  | {
    readonly name: string;
    /** Slot of a `list` or `text` field. */
    readonly config: number;
    /** The value after the list's last one, for what the list does not hold. */
    readonly or: string | null;
  };

/**
 * A metric in the module's memory: an f64 per series, at the address in `tulle_metric_<i>`, row by
 * row with the last label fastest; a histogram has a count per bound, one for +Inf, then the sum.
 * A configured label has room for the field's `max` values (1 for a text) plus one with `or`.
 */
export interface ManifestMetric {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly ManifestLabel[];
  readonly bounds: readonly number[];
}
