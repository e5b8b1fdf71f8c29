// A host of the ABI that shares nothing with the one in wasm/host: written from docs/ABI.md, as small as
// it may be, without bounds on instructions, stack or memory. It shows that the conformance suite can be
// passed by what knows only the page; nothing else uses it. Its functions are in reference-functions.ts.

import type {
  Case,
  ConformanceFilter,
  ConformanceHost,
  Step,
} from "../../wasm/conformance/suite.ts";
import { applyEdit, createFunctions } from "./reference-functions.ts";
import {
  bytesOf,
  type Field,
  Head,
  IDLE,
  type Label,
  type Manifest,
  type Pair,
  readable,
  readConfig,
  type ReferenceState,
  Refusal,
  type Side,
  stop,
} from "./reference-state.ts";

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
  readonly #state: ReferenceState;
  #exports: WebAssembly.Exports = {};

  constructor(
    module: WebAssembly.Module,
    manifest: Manifest,
    config: readonly unknown[],
    { callouts = {} }: Case,
  ) {
    this.#module = module;
    const named = manifest.callouts ?? [];
    for (const name of Object.keys(callouts)) {
      if (!named.includes(name)) stop(`nobody asks ${name}`);
    }
    const targets = named.map((name) => {
      const target = callouts[name] ?? "";
      return /^[A-Za-z0-9.-]+:\d+$/.test(target) ? target : stop(`${name} is no host:port`);
    });
    this.#state = {
      manifest,
      config,
      targets,
      buckets: new Map(),
      counters: new Map(),
      lines: [],
      memory: null,
      now: { ...IDLE },
    };
  }

  /** A new instance. */
  start(): void {
    const functions = createFunctions(this.#state);
    const imports: Record<string, Record<string, (...args: never[]) => unknown>> = {
      tulle: functions,
      env: { abort: () => stop("abort") },
    };
    for (const { module, name } of WebAssembly.Module.imports(this.#module)) {
      if (imports[module]?.[name] === undefined) stop(`there is no ${module} ${name}`);
    }
    this.#state.now = { ...IDLE, hook: "start" };
    const instance = new WebAssembly.Instance(this.#module, imports as WebAssembly.Imports);
    this.#exports = instance.exports;
    this.#state.memory = (instance.exports["memory"] as WebAssembly.Memory | undefined) ?? null;
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
    const now = this.#state.now;
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
      this.#state.now = before;
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
    for (let i = first; i < first + count; i++) applyEdit(this.#state, i, side);
    const action = result & 0xff;
    if (action === 0) return "continue";
    if (action === 1 && this.#state.now.reply !== null) return "reply";
    if (action === 4 && side === "request" && this.#state.now.asked !== null) return "pause";
    return stop("no action");
  }

  #params(side: Side, head: Head): (string | null)[] {
    return this.#state.manifest.params[side].map((slot) =>
      head.values(this.#state.manifest.headers[slot] as string)[0] ?? null
    );
  }

  play(step: Step): Readonly<Record<string, unknown>> {
    switch (step.call) {
      case "request": {
        const { headers, path, authority } = step.with;
        const head = new Head(headers);
        this.#state.now = { ...IDLE, request: step.with, head, path, authority };
        return this.#requestOut(
          this.#call("request", this.#params("request", head), (r) => this.#action(r, "request")),
        );
      }
      case "callout": {
        const context = this.#state.now.asked?.context ?? 0;
        const { status, body } = step.with;
        Object.assign(this.#state.now, { answer: step.with, piece: bytesOf(body), asked: null });
        return this.#requestOut(
          this.#call("callout", [context, status, body.length], (r) => this.#action(r, "request")),
        );
      }
      case "requestBody":
        return this.#body("request", step.with.pieces);
      case "responseBody":
        return this.#body("response", step.with.pieces);
      case "attempt": {
        const now = this.#state.now;
        Object.assign(now, { attempt: step.with.attempt, attemptTimeoutMs: 0, endpoint: null });
        this.#call("attempt", [step.with.attempt], () => true);
        return {
          attemptTimeoutMs: this.#state.now.attemptTimeoutMs,
          endpoint: this.#state.now.endpoint,
        };
      }
      case "outcome": {
        const { attempt, status, error, elapsedMs, labels = {} } = step.with;
        Object.assign(this.#state.now, { attempt, labels });
        const opinion = this.#call("outcome", [status, error, attempt, elapsedMs], (r) => {
          const says = ["none", "retry", "no"][r & 0xff] ?? stop("no opinion");
          return { opinion: says, delayMs: says === "retry" ? r >>> 8 : 0 };
        });
        return opinion ?? { opinion: "trap", delayMs: 0 };
      }
      case "response": {
        const { status, headers } = step.with;
        const head = new Head(headers);
        Object.assign(this.#state.now, { response: head, status });
        const args = [status, ...this.#params("response", head)];
        const action = this.#call("response", args, (r) => this.#action(r, "response"));
        const { reply, status: now } = this.#state.now;
        return {
          action: action ?? "trap",
          headers: head.fields,
          reply: action === "reply" ? reply : null,
          status: now,
        };
      }
      case "trailers": {
        const trailers = new Head(step.with.fields);
        this.#state.now.trailers = trailers;
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
        this.#state.now = { ...IDLE, request: peer === null ? from : { ...from, peer } };
        return { allowed: this.#call("connection", [], (r) => r === 0) === true };
      }
      case "connectionEnd": {
        const { bytesIn, bytesOut, elapsedMs } = step.with;
        return this.#plain("connection_end", [bytesIn, bytesOut, elapsedMs]);
      }
      case "metrics":
        return { series: this.#series() };
      case "logs":
        return { lines: this.#state.lines };
    }
  }

  #plain(hook: string, args: readonly unknown[]) {
    return { trap: this.#call(hook, args, () => true) === null };
  }

  #requestOut(action: string | null): Readonly<Record<string, unknown>> {
    const { head, path, authority, reply, asked, ...now } = this.#state.now;
    return {
      action: action ?? "trap",
      headers: head?.fields,
      reply: action === "reply" ? reply : null,
      path,
      authority,
      requestTimeoutMs: now.requestTimeoutMs,
      exchangeLimitMs: now.exchangeLimitMs,
      responseLimitMs: now.responseLimitMs,
      idleLimitMs: now.idleLimitMs,
      attemptTimeoutMs: now.attemptTimeoutMs,
      endpoint: now.endpoint,
      callout: action === "pause" && asked !== null ? { ...asked, context: undefined } : null,
    };
  }

  #body(side: Side, pieces: readonly string[]): Readonly<Record<string, unknown>> {
    const all = pieces.join("");
    const { wholeBytes = 0, over = "pass", replaces = false } =
      this.#state.manifest.bodies?.[side] ?? {};
    const out = (action: string, bytes: string) => ({
      action,
      bytes,
      reply: action === "reply" ? this.#state.now.reply : null,
      headers: this.#state.now.head?.fields,
    });
    const tooLong = wholeBytes > 0 && all.length > wholeBytes;
    if (tooLong) return over === "refuse" ? out("too-long", "") : out("continue", all);
    const shown = wholeBytes > 0 ? [all] : [...pieces, ""];
    let bytes = "";
    for (const [i, piece] of shown.entries()) {
      this.#state.now.piece = bytesOf(piece);
      const last = i === shown.length - 1 ? 1 : 0;
      const action = this.#call(`${side}_body`, [piece.length, last], (r) => {
        if (r === 0 || (r === 3 && replaces)) return r;
        return r === 1 && wholeBytes > 0 && this.#state.now.reply !== null ? r : stop("no action");
      });
      if (action === null) return out("trap", "");
      if (action === 1) return out("reply", "");
      bytes += action === 3 ? this.#state.now.written : piece;
    }
    return out("continue", bytes);
  }

  #series() {
    const view = new DataView(this.#state.memory?.buffer ?? new ArrayBuffer(0));
    return this.#state.manifest.metrics.flatMap(({ kind, name, labels, bounds }, m) => {
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
    const field = this.#state.manifest.config[config] as Field;
    const given = [this.#state.config[config]].flat().map((v) => readable(String(v)));
    const room = (field.type === "list" ? field.max ?? 0 : 1) + (or === null ? 0 : 1);
    const all: (string | null)[] = or === null ? given : [...given, or];
    while (all.length < room) all.push(null);
    return all;
  }
}
