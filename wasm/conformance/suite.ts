// The conformance suite of the ABI: what its scripts (cases/*.json) hold, and a runner that plays them
// to a host. Knows no host; docs/ABI.md says how to write one. Imports nothing.

/** The version of the scripts' form. Cases may be added under one; what a host must read differently
 * is a new one. */
export const SUITE_VERSION = 1;

/** A text with one code unit for each byte. */
export type Bytes = string;
/** Names in lower case where they come out; the order counts among the fields of one name. */
export type Fields = readonly (readonly [name: string, value: Bytes])[];

/** A file of cases/. */
export interface Script {
  readonly suite: "tulle_abi_1";
  readonly version: number;
  /** A file of modules/. */
  readonly module: string;
  readonly cases: readonly Case[];
}

/** One filter, loaded anew, and what happens to it. */
export interface Case {
  readonly name: string;
  /** The configuration, as the object's `spec.config`; absent: none. */
  readonly config?: unknown;
  /** What each target of call-outs means. */
  readonly callouts?: Readonly<Record<string, string>>;
  /** Fuel of a hook; absent: the default of 1,000,000. */
  readonly fuelPerHook?: number;
  /** `limits`: for hosts that bound instructions, stack and memory, which every host in earnest does. */
  readonly needs?: readonly "limits"[];
  /** The host refuses the module or its configuration; a part of its reason, such as a field's name. */
  readonly refused?: string;
  readonly steps?: readonly Step[];
}

/** A hook to be called, or something to be looked at. `with` is what comes in, `expect` what comes out. */
export type Step =
  | StepOf<"request", RequestIn, HeadOut & RequestOut>
  | StepOf<"requestBody" | "responseBody", BodyIn, BodyOut>
  | StepOf<"callout", CalloutIn, HeadOut & RequestOut>
  | StepOf<"attempt", AttemptIn, AttemptOut>
  | StepOf<"outcome", OutcomeIn, OutcomeOut>
  | StepOf<"response", ResponseIn, HeadOut & { readonly status: number }>
  | StepOf<
    "trailers",
    { readonly fields: Fields },
    { readonly trap: boolean; readonly fields: Fields }
  >
  | StepOf<
    "end",
    { readonly status: number; readonly elapsedMs: number },
    { readonly trap: boolean }
  >
  | StepOf<"tick", Nothing, { readonly trap: boolean }>
  | StepOf<"connection", { readonly peer: Bytes | null }, { readonly allowed: boolean }>
  | StepOf<"connectionEnd", ConnectionEndIn, { readonly trap: boolean }>
  | StepOf<"metrics", Nothing, { readonly series: readonly Series[] }>
  | StepOf<
    "logs",
    Nothing,
    { readonly lines: readonly (readonly [level: string, text: string])[] }
  >;

export interface StepOf<Name extends string, In, Out> {
  readonly call: Name;
  readonly with: In;
  /** Only what is there is compared. */
  readonly expect: Partial<Out>;
}
export type Nothing = Readonly<Record<string, never>>;

/** A request that begins: `tulle_on_request`. */
export interface RequestIn {
  readonly method: Bytes;
  /** With query. */
  readonly path: Bytes;
  readonly authority: Bytes;
  readonly headers: Fields;
  readonly peer?: Bytes;
  readonly route?: Bytes;
  readonly inbound?: boolean;
  readonly remote?: readonly [ip: string, port: number];
  readonly target?: readonly [ip: string, port: number];
}

/** What a hook decided about a head. After a trap everything is as it was before the hook. */
export interface HeadOut {
  readonly action: "continue" | "reply" | "pause" | "trap";
  /** As they go on, names in lower case; of the request without its authority. */
  readonly headers: Fields;
  /** Null unless the action is `reply`. */
  readonly reply:
    | { readonly status: number; readonly headers: Fields; readonly body: Bytes }
    | null;
}

/** What else a hook of the request decided. Time-outs are 0 and the endpoint null unless it did. */
export interface RequestOut extends AttemptOut {
  readonly path: Bytes;
  readonly authority: Bytes;
  readonly requestTimeoutMs: number;
  /** Time limits of the whole exchange, of the response, of silence. */
  readonly exchangeLimitMs: number;
  readonly responseLimitMs: number;
  readonly idleLimitMs: number;
  /** Null unless the action is `pause`. */
  readonly callout: {
    readonly authority: string;
    readonly method: Bytes;
    readonly path: Bytes;
    readonly headers: Fields;
    readonly body: Bytes;
    readonly timeoutMs: number;
  } | null;
}

/** Pieces of a body as they come, the last one empty; or one, when it is held. */
export interface BodyIn {
  readonly pieces: readonly Bytes[];
}
export interface BodyOut {
  /** `too-long`: it is held, longer than the bound, and `over` is `refuse`. */
  readonly action: HeadOut["action"] | "too-long";
  /** What goes on. */
  readonly bytes: Bytes;
  readonly reply: HeadOut["reply"];
  /** Of the request, which may still be changed while its body is held. */
  readonly headers: Fields;
}

/** The answer to the call-out that was asked for; status 0: there is none. */
export interface CalloutIn {
  readonly status: number;
  readonly headers: Fields;
  readonly body: Bytes;
}

export interface AttemptIn {
  readonly attempt: number;
}
export interface AttemptOut {
  readonly attemptTimeoutMs: number;
  readonly endpoint: {
    readonly label: string;
    readonly value: string;
    readonly strict: boolean;
  } | null;
}

export interface OutcomeIn {
  readonly attempt: number;
  readonly status: number;
  /** Bits. */
  readonly error: number;
  readonly elapsedMs: number;
  /** Of the endpoint. */
  readonly labels?: Readonly<Record<string, string>>;
}
export interface OutcomeOut {
  readonly opinion: "none" | "retry" | "no" | "trap";
  readonly delayMs: number;
}

export interface ResponseIn {
  readonly status: number;
  readonly headers: Fields;
}

export interface ConnectionEndIn {
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly elapsedMs: number;
}

/** A series with other values than 0; a histogram has a count for each bound, one more, and the sum. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly values: readonly number[];
}

/** Loads filters. */
export interface ConformanceHost {
  /** Rejects with the reason when it refuses the module or its configuration. */
  load(module: Uint8Array<ArrayBuffer>, of: Case): Promise<ConformanceFilter>;
}

/** A loaded filter. State that is one per proxy begins with it. */
export interface ConformanceFilter {
  /** Plays one step and tells what came of it; the hooks of one request come in a row. */
  play(step: Step): Readonly<Record<string, unknown>>;
}

/** Plays a case. Resolves with a line for each difference. */
export async function playCase(
  host: ConformanceHost,
  module: Uint8Array<ArrayBuffer>,
  of: Case,
): Promise<readonly string[]> {
  let filter: ConformanceFilter;
  try {
    filter = await host.load(module, of);
  } catch (e) {
    const why = e instanceof Error ? e.message : String(e);
    if (of.refused === undefined) return [`refused: ${why}`];
    return why.includes(of.refused) ? [] : [`the reason names no ${of.refused}: ${why}`];
  }
  if (of.refused !== undefined) return ["it was loaded, and should be refused"];
  return (of.steps ?? []).flatMap((step, i) => {
    const found = filter.play(step);
    return Object.entries(step.expect).flatMap(([key, expected]) => {
      const [is, want] = [text(key, found[key]), text(key, expected)];
      return is === want ? [] : [`step ${i + 1}, ${step.call}: ${key} is ${is}, expected ${want}`];
    });
  });
}

/** JSON with the keys of objects in order, and fields by name. */
function text(of: string, value: unknown): string {
  const json = JSON.stringify({ [of]: value }, (key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null) return inner;
    if (!Array.isArray(inner)) {
      return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1));
    }
    if (key === "series") {
      return inner.map((one: unknown) => text("", one)).sort();
    }
    const isFields = key === "headers" || key === "fields";
    return isFields ? (inner as Fields).toSorted(([a], [b]) => a < b ? -1 : a > b ? 1 : 0) : inner;
  });
  return json.slice(of.length + 4, -1);
}
