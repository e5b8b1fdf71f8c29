// What the reference host of reference-host.ts knows while a hook runs, and how it reads a manifest's
// configuration. Written from docs/ABI.md.

import type { Fields, RequestIn } from "../../wasm/conformance/suite.ts";

export type Pair = readonly [name: string, value: string];
export type Side = "request" | "response";
export type Fn = (...args: never[]) => unknown;
export interface Field {
  readonly key: string;
  readonly type: string;
  readonly default?: unknown;
  readonly min?: number | null;
  readonly max?: number | null;
  readonly head?: Side;
}
export interface Label {
  readonly name: string;
  readonly values?: readonly string[];
  readonly config?: number;
  readonly or?: string | null;
}
export interface Manifest {
  readonly headers: readonly string[];
  readonly reads: Record<Side, readonly number[]>;
  readonly writes: Record<Side, readonly number[]>;
  readonly params: Record<Side, readonly number[]>;
  readonly edits: readonly { head: Side; op: string; header: number; value: string }[];
  readonly config: readonly Field[];
  readonly metrics: readonly {
    kind: string;
    name: string;
    labels: readonly Label[];
    bounds: readonly number[];
  }[];
  readonly callouts?: readonly string[];
  readonly bodies?: Partial<Record<Side, { wholeBytes: number; over: string; replaces: boolean }>>;
}

export const utf8 = (text: string) =>
  Array.from(new TextEncoder().encode(text), (b) => String.fromCharCode(b)).join("");
export const readable = (bytes: string) =>
  new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
export const bytesOf = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
export const PROXYS =
  /^(connection|content-length|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|l5d-.*)$/;
export const stop = (why: string): never => {
  throw new Error(why);
};

/** A head that can be changed. */
export class Head {
  fields: Pair[];
  constructor(fields: Fields) {
    this.fields = fields.map(([name, value]) => [name.toLowerCase(), value]);
  }
  values(name: string): readonly string[] {
    return this.fields.filter(([n]) => n === name).map(([, value]) => value);
  }
  change(op: string, name: string, value: string): void {
    if (!/^[^\0\r\n]*$/.test(value)) stop("a value of several lines");
    if (op !== "add") this.fields = this.fields.filter(([n]) => n !== name);
    if (op !== "remove") this.fields.push([name, value]);
  }
}

/** What an instance looks at while a hook runs. */
export interface Now {
  hook: string;
  request: RequestIn | null;
  head: Head | null;
  path: string;
  authority: string;
  response: Head | null;
  status: number;
  trailers: Head | null;
  requestTimeoutMs: number;
  exchangeLimitMs: number;
  responseLimitMs: number;
  idleLimitMs: number;
  attemptTimeoutMs: number;
  endpoint: { label: string; value: string; strict: boolean } | null;
  attempt: number;
  labels: Readonly<Record<string, string>>;
  reply: { status: number; headers: Pair[]; body: string } | null;
  replyHeaders: Pair[];
  asked: Asked | null;
  askedHeaders: Pair[];
  answer: { status: number; headers: Fields; body: string } | null;
  piece: Uint8Array | null;
  written: string;
}
export interface Asked {
  readonly authority: string;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly Pair[];
  readonly body: string;
  readonly timeoutMs: number;
  readonly context: number;
}

export const IDLE: Now = {
  hook: "",
  request: null,
  head: null,
  path: "",
  authority: "",
  response: null,
  status: 0,
  trailers: null,
  requestTimeoutMs: 0,
  exchangeLimitMs: 0,
  responseLimitMs: 0,
  idleLimitMs: 0,
  attemptTimeoutMs: 0,
  endpoint: null,
  attempt: 0,
  labels: {},
  reply: null,
  replyHeaders: [],
  asked: null,
  askedHeaders: [],
  answer: null,
  piece: null,
  written: "",
};

/** What the functions of an instance share. */
export interface ReferenceState {
  readonly manifest: Manifest;
  readonly config: readonly unknown[];
  /** What each target of call-outs means, by its number. */
  readonly targets: readonly string[];
  /** What is left in each bucket. */
  readonly buckets: Map<string, number>;
  readonly counters: Map<string, number>;
  readonly lines: (readonly [level: string, text: string])[];
  memory: WebAssembly.Memory | null;
  now: Now;
}

/** The filter refuses its configuration. */
export class Refusal extends Error {}

/** Values by slot, as the host functions give them. Throws with the field's name. */
export function readConfig({ config: fields }: Manifest, config: unknown): readonly unknown[] {
  if (
    config !== undefined && (typeof config !== "object" || config === null || Array.isArray(config))
  ) {
    stop("the configuration is no object");
  }
  const given = (config ?? {}) as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(given)) {
    if (!fields.some((f) => f.key === key)) stop(`${key} is not declared`);
  }
  return fields.map((field) => {
    const { key, type, min = null, max = null } = field;
    const value = Object.hasOwn(given, key) ? given[key] : field.default ?? emptyOf(type);
    const check = (fits: boolean) => fits ? undefined : stop(`${key} does not fit`);
    const isText = (v: unknown): v is string => typeof v === "string" && v.length <= 8192;
    const name = (text: unknown) => {
      const lower = String(text).toLowerCase();
      check(/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(lower) && !PROXYS.test(lower));
      return lower;
    };
    switch (type) {
      case "i32":
      case "f64":
        check(
          typeof value === "number" && value >= (min ?? value) && value <= (max ?? value) &&
            (type === "f64" || Number.isInteger(value)),
        );
        return value;
      case "bool":
        check(typeof value === "boolean");
        return value;
      case "text":
        check(isText(value));
        return utf8(String(value));
      case "statuses": {
        const text = String(value).replaceAll(" ", "");
        for (const part of text === "" ? [] : text.split(",")) {
          const [, from = "", to = from] = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(part) ?? [];
          check(from !== "" && Number(from) <= Number(to));
        }
        return text;
      }
      case "list":
        check(Array.isArray(value) && value.length <= (max ?? 0) && value.every(isText));
        return (value as readonly string[]).map(utf8);
      case "names":
        check(Array.isArray(value) && value.every(isText));
        return (value as readonly string[]).map((of) => [name(of), ""]);
      case "headers":
        check(typeof value === "object" && value !== null && !Array.isArray(value));
        return Object.entries(value as object).map(([of, text]) => {
          check(isText(text) && !/[\0\r\n]/.test(text));
          return [name(of), utf8(String(text))];
        });
      default:
        return stop(`${key} has an unknown type`);
    }
  });
}

export function emptyOf(type: string): unknown {
  return type === "headers" ? {} : [];
}
