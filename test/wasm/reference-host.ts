// A host of the ABI that shares nothing with the one in wasm/host: written from docs/ABI.md, as small as
// it may be, without bounds on instructions, stack or memory. It shows that the conformance suite can be
// passed by what knows only the page; nothing else uses it.

import type {
  Case,
  ConformanceFilter,
  ConformanceHost,
  Fields,
  RequestIn,
  Step,
} from "../../wasm/conformance/suite.ts";

type Pair = readonly [name: string, value: string];
type Side = "request" | "response";
type Fn = (...args: never[]) => unknown;
interface Field {
  readonly key: string;
  readonly type: string;
  readonly default?: unknown;
  readonly min?: number | null;
  readonly max?: number | null;
  readonly head?: Side;
}
interface Label {
  readonly name: string;
  readonly values?: readonly string[];
  readonly config?: number;
  readonly or?: string | null;
}
interface Manifest {
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

const utf8 = (text: string) =>
  Array.from(new TextEncoder().encode(text), (b) => String.fromCharCode(b)).join("");
const readable = (bytes: string) =>
  new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
const bytesOf = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const PROXYS =
  /^(connection|content-length|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|l5d-.*)$/;
const stop = (why: string): never => {
  throw new Error(why);
};

/** A head that can be changed. */
class Head {
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
interface Now {
  hook: string;
  request: RequestIn | null;
  head: Head | null;
  path: string;
  authority: string;
  response: Head | null;
  status: number;
  trailers: Head | null;
  requestTimeoutMs: number;
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
interface Asked {
  readonly authority: string;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly Pair[];
  readonly body: string;
  readonly timeoutMs: number;
  readonly context: number;
}

const IDLE: Now = {
  hook: "",
  request: null,
  head: null,
  path: "",
  authority: "",
  response: null,
  status: 0,
  trailers: null,
  requestTimeoutMs: 0,
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

/** The reference. */
export const REFERENCE_HOST: ConformanceHost = {
  async load(bytes, of) {
    const module = await WebAssembly.compile(bytes, {
      builtins: ["js-string"],
      importedStringConstants: "'",
    });
    const [section] = WebAssembly.Module.customSections(module, "tulle.filter");
    if (section === undefined) return stop("it is no filter");
    const manifest = JSON.parse(new TextDecoder().decode(section)) as Manifest;
    const filter = new ReferenceFilter(module, manifest, readConfig(manifest, of.config), of);
    filter.start();
    return filter;
  },
};

class ReferenceFilter implements ConformanceFilter {
  readonly #module: WebAssembly.Module;
  readonly #manifest: Manifest;
  readonly #config: readonly unknown[];
  readonly #targets: readonly string[];
  readonly #buckets = new Map<string, number>();
  readonly #counters = new Map<string, number>();
  readonly #lines: (readonly [string, string])[] = [];
  readonly #memory: { of: WebAssembly.Memory | null } = { of: null };
  #exports: WebAssembly.Exports = {};
  #now: Now = { ...IDLE };

  constructor(
    module: WebAssembly.Module,
    manifest: Manifest,
    config: readonly unknown[],
    { callouts = {} }: Case,
  ) {
    this.#module = module;
    this.#manifest = manifest;
    this.#config = config;
    const named = manifest.callouts ?? [];
    for (const name of Object.keys(callouts)) {
      if (!named.includes(name)) stop(`nobody asks ${name}`);
    }
    this.#targets = named.map((name) => {
      const target = callouts[name] ?? "";
      return /^[A-Za-z0-9.-]+:\d+$/.test(target) ? target : stop(`${name} is no host:port`);
    });
  }

  /** A new instance. */
  start(): void {
    const functions = this.#functions();
    const imports: Record<string, Record<string, Fn>> = {
      tulle: functions,
      env: { abort: () => stop("abort") },
    };
    for (const { module, name } of WebAssembly.Module.imports(this.#module)) {
      if (imports[module]?.[name] === undefined) stop(`there is no ${module} ${name}`);
    }
    this.#now = { ...IDLE, hook: "start" };
    const instance = new WebAssembly.Instance(this.#module, imports as WebAssembly.Imports);
    this.#exports = instance.exports;
    this.#memory.of = (instance.exports["memory"] as WebAssembly.Memory | undefined) ?? null;
    for (const name of ["_initialize", "tulle_configure"]) {
      try {
        (this.#exports[name] as (() => void) | undefined)?.();
      } catch (e) {
        stop(e instanceof Refusal ? e.message : `it trapped at its start: ${String(e)}`);
      }
    }
  }

  /** Calls a hook; a trap puts everything back, and makes a new instance. Null: it trapped. */
  #call<T>(hook: string, args: readonly unknown[], judge: (result: number) => T): T | null {
    const now = this.#now;
    const before = { ...now };
    const heads = [now.head, now.response, now.trailers].map((head) =>
      head?.fields.slice() ?? null
    );
    Object.assign(now, { hook, reply: null, replyHeaders: [], askedHeaders: [], written: "" });
    try {
      const fn = this.#exports[`tulle_on_${hook}`] as ((...args: unknown[]) => number) | undefined;
      return judge(fn?.(...args) ?? 0);
    } catch {
      const [head, response, trailers] = heads;
      this.start();
      this.#now = before;
      if (before.head !== null) before.head.fields = head as Pair[];
      if (before.response !== null) before.response.fields = response as Pair[];
      if (before.trailers !== null) before.trailers.fields = trailers as Pair[];
      before.asked = null;
      return null;
    }
  }

  /** What the result of a request's or response's hook means. */
  #action(result: number, side: Side): "continue" | "reply" | "pause" {
    const first = result >>> 16;
    const count = (result >>> 8) & 0xff;
    for (let i = first; i < first + count; i++) this.#edit(i, side);
    const action = result & 0xff;
    if (action === 0) return "continue";
    if (action === 1 && this.#now.reply !== null) return "reply";
    if (action === 4 && side === "request" && this.#now.asked !== null) return "pause";
    return stop("no action");
  }

  #edit(i: number, side: Side | null): void {
    const edit = this.#manifest.edits[i] ?? stop("no such edit");
    if (side !== null && edit.head !== side) stop("an edit of another head");
    this.#headOf(edit.head).change(edit.op, this.#manifest.headers[edit.header] ?? "", edit.value);
  }

  /** A head to be changed now. */
  #headOf(side: Side): Head {
    const { hook, head, response } = this.#now;
    const request = ["request", "callout", "request_body"].includes(hook) ? head : null;
    return (side === "request" ? request : hook === "response" ? response : null) ??
      stop(`the ${side} is not changed in ${hook}`);
  }

  #name(slot: number, of: readonly number[]): string {
    return of.includes(slot) ? this.#manifest.headers[slot] as string : stop("an undeclared slot");
  }

  #params(side: Side, head: Head): (string | null)[] {
    return this.#manifest.params[side].map((slot) =>
      head.values(this.#manifest.headers[slot] as string)[0] ?? null
    );
  }

  play(step: Step): Readonly<Record<string, unknown>> {
    switch (step.call) {
      case "request": {
        const { headers, path, authority } = step.with;
        const head = new Head(headers);
        this.#now = { ...IDLE, request: step.with, head, path, authority };
        return this.#requestOut(
          this.#call("request", this.#params("request", head), (r) => this.#action(r, "request")),
        );
      }
      case "callout": {
        const context = this.#now.asked?.context ?? 0;
        const { status, body } = step.with;
        Object.assign(this.#now, { answer: step.with, piece: bytesOf(body), asked: null });
        return this.#requestOut(
          this.#call("callout", [context, status, body.length], (r) => this.#action(r, "request")),
        );
      }
      case "requestBody":
        return this.#body("request", step.with.pieces);
      case "responseBody":
        return this.#body("response", step.with.pieces);
      case "attempt": {
        const now = this.#now;
        Object.assign(now, { attempt: step.with.attempt, attemptTimeoutMs: 0, endpoint: null });
        this.#call("attempt", [step.with.attempt], () => true);
        return { attemptTimeoutMs: this.#now.attemptTimeoutMs, endpoint: this.#now.endpoint };
      }
      case "outcome": {
        const { attempt, status, error, elapsedMs, labels = {} } = step.with;
        Object.assign(this.#now, { attempt, labels });
        const opinion = this.#call("outcome", [status, error, attempt, elapsedMs], (r) => {
          const says = ["none", "retry", "no"][r & 0xff] ?? stop("no opinion");
          return { opinion: says, delayMs: says === "retry" ? r >>> 8 : 0 };
        });
        return opinion ?? { opinion: "trap", delayMs: 0 };
      }
      case "response": {
        const { status, headers } = step.with;
        const head = new Head(headers);
        Object.assign(this.#now, { response: head, status });
        const args = [status, ...this.#params("response", head)];
        const action = this.#call("response", args, (r) => this.#action(r, "response"));
        const { reply, status: now } = this.#now;
        return {
          action: action ?? "trap",
          headers: head.fields,
          reply: action === "reply" ? reply : null,
          status: now,
        };
      }
      case "trailers": {
        const trailers = new Head(step.with.fields);
        this.#now.trailers = trailers;
        const ran = this.#call("trailers", [], () => true);
        return { trap: ran === null, fields: trailers.fields };
      }
      case "end":
        return this.#plain("end", [step.with.status, step.with.elapsedMs]);
      case "tick":
        return this.#plain("tick", []);
      case "connection": {
        const { peer } = step.with;
        const from = { method: "", path: "", authority: "", headers: [] };
        this.#now = { ...IDLE, request: peer === null ? from : { ...from, peer } };
        return { allowed: this.#call("connection", [], (r) => r === 0) === true };
      }
      case "connectionEnd": {
        const { bytesIn, bytesOut, elapsedMs } = step.with;
        return this.#plain("connection_end", [bytesIn, bytesOut, elapsedMs]);
      }
      case "metrics":
        return { series: this.#series() };
      case "logs":
        return { lines: this.#lines };
    }
  }

  #plain(hook: string, args: readonly unknown[]) {
    return { trap: this.#call(hook, args, () => true) === null };
  }

  #requestOut(action: string | null): Readonly<Record<string, unknown>> {
    const { head, path, authority, reply, asked, ...now } = this.#now;
    return {
      action: action ?? "trap",
      headers: head?.fields,
      reply: action === "reply" ? reply : null,
      path,
      authority,
      requestTimeoutMs: now.requestTimeoutMs,
      attemptTimeoutMs: now.attemptTimeoutMs,
      endpoint: now.endpoint,
      callout: action === "pause" && asked !== null ? { ...asked, context: undefined } : null,
    };
  }

  #body(side: Side, pieces: readonly string[]): Readonly<Record<string, unknown>> {
    const all = pieces.join("");
    const { wholeBytes = 0, over = "pass", replaces = false } = this.#manifest.bodies?.[side] ?? {};
    const out = (action: string, bytes: string) => ({
      action,
      bytes,
      reply: action === "reply" ? this.#now.reply : null,
      headers: this.#now.head?.fields,
    });
    const tooLong = wholeBytes > 0 && all.length > wholeBytes;
    if (tooLong) return over === "refuse" ? out("too-long", "") : out("continue", all);
    const shown = wholeBytes > 0 ? [all] : [...pieces, ""];
    let bytes = "";
    for (const [i, piece] of shown.entries()) {
      this.#now.piece = bytesOf(piece);
      const last = i === shown.length - 1 ? 1 : 0;
      const action = this.#call(`${side}_body`, [piece.length, last], (r) => {
        if (r === 0 || (r === 3 && replaces)) return r;
        return r === 1 && wholeBytes > 0 && this.#now.reply !== null ? r : stop("no action");
      });
      if (action === null) return out("trap", "");
      if (action === 1) return out("reply", "");
      bytes += action === 3 ? this.#now.written : piece;
    }
    return out("continue", bytes);
  }

  #series() {
    const view = new DataView(this.#memory.of?.buffer ?? new ArrayBuffer(0));
    return this.#manifest.metrics.flatMap(({ kind, name, labels, bounds }, m) => {
      const width = kind === "histogram" ? bounds.length + 2 : 1;
      let rows: (Readonly<Record<string, string>> | null)[] = [{}];
      for (const label of labels) {
        const values = this.#valuesOf(label);
        rows = rows.flatMap((row) =>
          values.map((v) => row === null || v === null ? null : { ...row, [label.name]: v })
        );
      }
      const at = Number((this.#exports[`tulle_metric_${m}`] as WebAssembly.Global).value);
      return rows.flatMap((row, i) => {
        const values = Array.from(
          { length: width },
          (_, n) => view.getFloat64(at + (i * width + n) * 8, true),
        );
        return row === null || values.every((v) => v === 0) ? [] : [{ name, labels: row, values }];
      });
    });
  }

  #valuesOf({ values, config = 0, or = null }: Label): (string | null)[] {
    if (values !== undefined) return [...values];
    const field = this.#manifest.config[config] as Field;
    const given = [this.#config[config]].flat().map((v) => readable(String(v)));
    const room = (field.type === "list" ? field.max ?? 0 : 1) + (or === null ? 0 : 1);
    const all: (string | null)[] = or === null ? given : [...given, or];
    while (all.length < room) all.push(null);
    return all;
  }

  #functions(): Record<string, Fn> {
    const { reads, writes } = this.#manifest;
    const at = () => this.#now;
    const some = (value: string | null): string => value ?? stop("it is absent");
    const short = (value: string | null): string =>
      some(value).length <= 8192 ? some(value) : stop("it is too long");
    const request = () => at().request ?? stop("there is no request");
    const head = () => at().head ?? stop("there is no request");
    const response = () =>
      (at().hook === "response" ? at().response : null) ?? stop("there is no response");
    const trailers = () =>
      (at().hook === "trailers" ? at().trailers : null) ?? stop("there are no trailers");
    const piece = () => at().piece ?? stop("there is no body");
    const only = (...hooks: readonly string[]) =>
      hooks.includes(at().hook) ? undefined : stop(`not in ${at().hook}`);
    const ms = (value: number, most = 3_600_000) =>
      value >= 1 && value <= most ? value : stop("no time-out");
    const field = (slot: number, ...types: readonly string[]) => {
      const found = this.#manifest.config[slot];
      return found !== undefined && types.includes(found.type)
        ? this.#config[slot]
        : stop("no such field");
    };
    const memory = (from: number, count: number) => {
      const { buffer } = this.#memory.of ?? stop("no memory");
      const [at, size] = [from >>> 0, count >>> 0];
      if (at + size > buffer.byteLength) stop("outside of the memory");
      return new Uint8Array(buffer, at, size);
    };
    const key = (of: string | null) => short(of).length <= 256 ? some(of) : stop("a long key");
    const change = (side: Side, op: string) => (slot: number, value: string | null = "") =>
      this.#headOf(side).change(op, this.#name(slot, writes[side]), short(value));
    const say = (level: number, text: string) => {
      const name = ["debug", "info", "warn", "error"][level] ?? stop("no level");
      this.#lines.push([name, readable(text)]);
    };
    const path = (text: string | null) =>
      /^\/[!"$-~\x80-\xff]*$/.test(short(text)) ? some(text) : stop("no path");
    return {
      request_method: () => request().method,
      request_path: () => (head(), at().path),
      request_authority: () => (head(), at().authority),
      request_header: (slot: number) => head().values(this.#name(slot, reads.request))[0] ?? null,
      request_header_at: (slot: number, n: number) =>
        head().values(this.#name(slot, reads.request))[n] ?? null,
      request_set: change("request", "set"),
      request_add: change("request", "add"),
      request_remove: (slot: number) => change("request", "remove")(slot),
      request_set_path: (text: string | null) => {
        only("request", "callout", "request_body");
        at().path = path(text);
      },
      request_set_authority: (text: string | null) => {
        only("request", "callout", "request_body");
        at().authority = /^[!$%&'()*+,\-.0-9:;=A-Z[\]_a-z~]+$/.test(short(text))
          ? some(text)
          : stop("no authority");
      },
      response_header: (slot: number) =>
        response().values(this.#name(slot, reads.response))[0] ?? null,
      response_header_at: (slot: number, n: number) =>
        response().values(this.#name(slot, reads.response))[n] ?? null,
      response_set: change("response", "set"),
      response_add: change("response", "add"),
      response_remove: (slot: number) => change("response", "remove")(slot),
      response_set_status: (status: number) => {
        response();
        const hasBody = status >= 200 && status <= 599 && ![204, 205, 304].includes(status);
        at().status = hasBody ? status : stop("no status with a body");
      },
      apply_edit: (i: number) => this.#edit(i, null),
      apply_config: (op: number, slot: number) => {
        const { type, head = "request" } = this.#manifest.config[slot] ?? stop("no such field");
        if (type !== (op === 2 ? "names" : "headers")) stop("no such operation");
        for (const [name, value] of this.#config[slot] as readonly Pair[]) {
          this.#headOf(head).change(["set", "add", "remove"][op] ?? "", name, value);
        }
      },
      reply: (status: number, body: string | null) => {
        only("request", "callout", "response", "request_body", "response_body");
        if (status < 200 || status > 599) stop("no status");
        at().reply = { status, headers: at().replyHeaders, body: readable(body ?? "") };
        at().replyHeaders = [];
      },
      reply_header: (slot: number, value: string | null) => {
        only("request", "callout", "response", "request_body", "response_body");
        at().replyHeaders.push([this.#name(slot, writes.response), short(value)]);
      },
      peer_id: () => request().peer ?? null,
      is_inbound: () => request().inbound === true ? 1 : 0,
      attempt: () => at().attempt,
      route: () => request().route ?? "",
      remote_ip: () => request().remote?.[0] ?? "127.0.0.1",
      remote_port: () => request().remote?.[1] ?? 1,
      target_ip: () => request().target?.[0] ?? "127.0.0.1",
      target_port: () => request().target?.[1] ?? 2,
      elapsed_ms: () => 0,
      wall_ms: () => Date.now(),
      now_ms: () => performance.now(),
      random: () => Math.random(),
      set_request_timeout: (value: number) => {
        only("request", "callout");
        at().requestTimeoutMs = ms(value);
      },
      set_attempt_timeout: (value: number) => {
        only("request", "callout", "attempt");
        at().attemptTimeoutMs = ms(value);
      },
      choose_endpoint: (label: string | null, value: string | null, strict: number) => {
        only("request", "callout", "attempt");
        at().endpoint = {
          label: readable(short(label)),
          value: readable(short(value)),
          strict: strict !== 0,
        };
      },
      endpoint_label: (name: string | null) => at().labels[short(name)] ?? null,
      config_i32: (slot: number) => Number(field(slot, "i32", "bool")),
      config_f64: (slot: number) => field(slot, "f64"),
      config_text: (slot: number) => field(slot, "text", "statuses"),
      config_length: (slot: number) => (field(slot, "list") as readonly string[]).length,
      config_item: (slot: number, n: number) =>
        (field(slot, "list") as readonly string[])[n] ?? null,
      config_refuse: (slot: number, why: string | null) => {
        only("start");
        throw new Refusal(`${this.#manifest.config[slot]?.key ?? ""} ${some(why)}`);
      },
      body_read: (to: number, from: number, count: number) => {
        const bytes = piece().subarray(from >>> 0, (from >>> 0) + (count >>> 0));
        memory(to, bytes.length).set(bytes);
        return bytes.length;
      },
      body_write: (from: number, count: number) => {
        piece();
        at().written += String.fromCharCode(...memory(from, count));
      },
      body_write_text: (text: string | null) => {
        piece();
        at().written += short(text);
      },
      trailer: (slot: number) => trailers().values(this.#name(slot, reads.response))[0] ?? null,
      trailer_set: (slot: number, value: string | null) =>
        trailers().change("set", this.#name(slot, writes.response), short(value)),
      trailer_remove: (slot: number) =>
        trailers().change("remove", this.#name(slot, writes.response), ""),
      callout_add_header: (name: string | null, value: string | null) => {
        const lower = short(name).toLowerCase();
        if (PROXYS.test(lower)) stop("a header of the proxy");
        at().askedHeaders.push([lower, short(value)]);
      },
      callout_start: (
        target: number,
        method: string | null,
        to: string | null,
        body: string | null,
        timeoutMs: number,
        context: number,
      ) => {
        only("request", "callout");
        if (at().asked !== null) stop("one at a time");
        at().asked = {
          authority: this.#targets[target] ?? stop("no such target"),
          method: short(method),
          path: path(to),
          headers: at().askedHeaders,
          body: short(body ?? ""),
          timeoutMs: ms(timeoutMs, 30_000),
          context,
        };
        at().askedHeaders = [];
      },
      callout_header: (name: string | null) => {
        const lower = short(name).toLowerCase();
        const { headers } = at().answer ?? stop("there is no answer");
        return headers.find(([n]) => n.toLowerCase() === lower)?.[1] ?? null;
      },
      callout_text: () => (at().answer ?? stop("there is no answer")).body,
      shared_take: (of: string | null, rate: number, burst: number, cost: number) => {
        if (![rate, burst, cost].every((n) => n > 0 && n <= 1_000_000)) stop("out of range");
        const left = this.#buckets.get(key(of)) ?? burst; // it never fills again: rates are tiny
        if (left < cost) return 0;
        this.#buckets.set(key(of), left - cost);
        return 1;
      },
      shared_add: (of: string | null, by: number) => {
        if (!Number.isInteger(by)) stop("no whole number");
        const sum = (this.#counters.get(key(of)) ?? 0) + by;
        this.#counters.set(key(of), sum);
        return sum;
      },
      text: (from: number, count: number) => {
        if (count >>> 0 > 8192) stop("too long");
        const bytes = memory(from, (count >>> 0) * 2);
        let text = "";
        for (let i = 0; i < bytes.length; i += 2) {
          if (bytes[i + 1] !== 0) stop("no byte");
          text += String.fromCharCode(bytes[i] as number);
        }
        return text;
      },
      log: (level: number, text: string | null) => say(level, short(text)),
      log_number: (level: number, text: string | null, n: number) =>
        say(level, `${short(text)} ${n}`),
    };
  }
}

/** The filter refuses its configuration. */
class Refusal extends Error {}

/** Values by slot, as the host functions give them. Throws with the field's name. */
function readConfig({ config: fields }: Manifest, config: unknown): readonly unknown[] {
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

function emptyOf(type: string): unknown {
  return type === "headers" ? {} : [];
}
