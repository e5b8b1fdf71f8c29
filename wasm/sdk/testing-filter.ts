// A filter under test: the engine that a proxy has, with one filter in it, a clock that stands still
// until it is told otherwise, and one request at a time. What a hook did comes back as plain values.

import { createHash } from "node:crypto";
import type { Clock } from "../../src/core/clock.ts";
import type { Exchange } from "../../src/core/exchange.ts";
import {
  CONTINUE,
  type FilterChain,
  type FilterRef,
  type ModuleInfo,
  REPLY,
  type Verdict,
} from "../../src/core/filter.ts";
import { createLogger } from "../../src/core/log.ts";
import { createEngine } from "../host/engine.ts";
import { positionText, type SourceMap } from "../host/source-map.ts";
import type { FilterUnit } from "../host/unit.ts";
import {
  exchangeOf,
  fieldsOf,
  replyOf,
  responseHeadOf,
  type TestReply,
  type TestRequest,
  type TestResponse,
} from "./testing-heads.ts";

/** How a filter is loaded for a test. */
export interface TestOptions {
  /** What a `WasmFilter` object has as `spec.config`. */
  readonly config?: object;
  /** The name under which it appears: `test` */
  readonly name?: string;
  /** Instructions that a hook may use; the default is the proxy's. */
  readonly fuelPerHook?: number;
  readonly memoryPages?: number;
  /** Chance, at least 0 and less than 1; without it always 0, so that a test is the same each time. */
  readonly random?: () => number;
  /** What a trap does: it fails the test, or is told as the proxy tells it, under a policy. */
  readonly traps?: "throw" | "open" | "closed";
}

/** What a hook did with a head. */
export interface HeadResult {
  /** `failed`: it trapped and the policy is `closed`; `error` says why. */
  readonly verdict: "continue" | "reply" | "failed";
  /** The answer that it gave, or null. */
  readonly reply: TestReply | null;
  readonly error: string;
  /** Fields as they go on, in order, with what the filter changed. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The first value of a field as it goes on, or null. */
  header(name: string): string | null;
  /** Instructions that the hook used. */
  readonly fuel: number;
}
/** What `onRequest` did. */
export interface RequestResult extends HeadResult {
  readonly path: string;
  readonly authority: string;
}
/** What `onOutcome` said. */
export interface OutcomeResult {
  readonly retry: boolean;
  /** 0 without a retry. */
  readonly delayMs: number;
  readonly fuel: number;
}

/** How an attempt ended. */
export interface TestOutcome {
  /** 0 when there was no response. */
  readonly status?: number;
  readonly error?: "none" | "connect" | "reset" | "timeout";
  /** 0 for the first; without it the next one. */
  readonly attempt?: number;
  readonly elapsedMs?: number;
  /** Of the endpoint that was tried. */
  readonly labels?: Readonly<Record<string, string>>;
}
const ERRORS = { none: 0, connect: 1, reset: 2, timeout: 4 } as const;

/** What a hook used, over all its calls. */
export interface HookFuel {
  readonly hook: string;
  readonly calls: number;
  readonly last: number;
  readonly most: number;
  readonly budget: number;
}

/** A loaded filter. Call its hooks in the order in which a proxy would. */
export class TestFilter {
  /** What it says of itself in its manifest. */
  readonly info: ModuleInfo;
  /** What it wrote to the log, such as `INFO said`. */
  readonly logs: readonly string[];
  readonly #engine: ReturnType<typeof createEngine>;
  readonly #chain: FilterChain;
  readonly #clock: VirtualClock;
  readonly #unit: FilterUnit;
  readonly #throws: boolean;
  readonly #fuel = new Map<string, HookFuel>();
  #x: Exchange | null = null;
  #attempts = 0;

  private constructor(parts: {
    info: ModuleInfo;
    logs: readonly string[];
    engine: ReturnType<typeof createEngine>;
    chain: FilterChain;
    clock: VirtualClock;
    unit: FilterUnit;
    throws: boolean;
  }) {
    this.info = parts.info;
    this.logs = parts.logs;
    this.#engine = parts.engine;
    this.#chain = parts.chain;
    this.#clock = parts.clock;
    this.#unit = parts.unit;
    this.#throws = parts.throws;
  }

  /** Loads a module as a proxy does: rejects with the proxy's reason for what it would refuse. */
  static async open(
    module: Uint8Array,
    options: TestOptions = {},
    map: SourceMap | null = null,
  ): Promise<TestFilter> {
    const { config, name = "test", traps = "throw" } = options;
    const clock = new VirtualClock();
    const logs: string[] = [];
    let unit: FilterUnit | null = null;
    const engine = createEngine({
      clock,
      random: options.random ?? (() => 0),
      log: createLogger({
        level: "debug",
        format: "plain",
        wall: () => 0,
        write: (line) => void logs.push(line.replace(/^\S+ (\S+) +/, "$1 ")),
      }),
      locate: (_sha256, offset, bodyFrom) => {
        const position = map?.locate(offset, bodyFrom) ?? null;
        return position === null ? null : positionText(position);
      },
      onUnit: (made) => {
        unit = made;
      },
    });
    const ref: FilterRef = {
      name,
      sha256: createHash("sha256").update(module).digest("hex"),
      size: module.length,
      config: config === undefined
        ? new Uint8Array()
        : new TextEncoder().encode(JSON.stringify(config)),
      failurePolicy: traps === "open" ? "open" : "closed",
      fuelPerHook: options.fuelPerHook ?? 0,
      memoryPages: options.memoryPages ?? 0,
    };
    const prepared = await engine.prepare(module, ref);
    const chain = engine.chain([prepared]);
    if (unit === null) throw new Error("The engine made no instance");
    const throws = traps === "throw";
    return new TestFilter({ info: prepared.info, logs, engine, chain, clock, unit, throws });
  }

  /** Virtual milliseconds since the filter was loaded. */
  get nowMs(): number {
    return this.#clock.now();
  }

  /** Lets virtual time pass. */
  advance(ms: number): void {
    this.#clock.advance(ms);
  }

  /** Begins a request: `onRequest`. */
  request(request: TestRequest = {}): RequestResult {
    const x = exchangeOf(request);
    this.#x = x;
    this.#attempts = 0;
    x.startedMs = this.#clock.now();
    const fuel = this.#run("onRequest", "request");
    const verdict = this.#chain.requestHead(x);
    const used = fuel();
    const { path, authority } = x.request;
    return { ...result(x, verdict, fieldsOf(x.request), used), path, authority };
  }

  /** An attempt of the request ended: `onOutcome`. */
  outcome(outcome: TestOutcome = {}): OutcomeResult {
    const x = this.#exchange();
    const { status = 0, error = "none", attempt = this.#attempts, elapsedMs = 1 } = outcome;
    x.attempt = attempt;
    this.#attempts = attempt + 1;
    if (outcome.labels !== undefined) x.endpointLabels = outcome.labels;
    const fuel = this.#run("onOutcome", "outcome");
    const delayMs = this.#chain.attemptOutcome(x, { status, error: ERRORS[error], elapsedMs });
    return { retry: delayMs >= 0, delayMs: Math.max(0, delayMs), fuel: fuel() };
  }

  /** The response that is returned came: `onResponse`. */
  response(response: TestResponse = {}): HeadResult {
    const x = this.#exchange();
    const head = responseHeadOf(response);
    const fuel = this.#run("onResponse", "response");
    const verdict = this.#chain.responseHead(x, head);
    return result(x, verdict, fieldsOf(head), fuel());
  }

  /** The request is over: `onEnd`. Status 0: the client got none. */
  end({ status = 200, elapsedMs = 1 } = {}): { readonly fuel: number } {
    const x = this.#exchange();
    const fuel = this.#run("onEnd", "end");
    this.#chain.end(x, status, elapsedMs);
    this.#x = null;
    return { fuel: fuel() };
  }

  /** The value of a counter or gauge: the sum of the series that have these labels. */
  metric(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.#series(name, labels).reduce((sum, s) => sum + (s.values[0] ?? 0), 0);
  }

  /** A histogram: how many values came, and their sum. */
  histogram(
    name: string,
    labels: Readonly<Record<string, string>> = {},
  ): { readonly count: number; readonly sum: number } {
    let count = 0;
    let sum = 0;
    for (const { values } of this.#series(name, labels)) {
      count += values.slice(0, -1).reduce((a, b) => a + b, 0);
      sum += values.at(-1) ?? 0;
    }
    return { count, sum };
  }

  /** Traps so far; with `traps: "throw"` the first one has failed the test. */
  get traps(): number {
    return this.#engine.stats()[0]?.traps ?? 0;
  }

  /** What each hook used, in the order in which they first ran. */
  fuelReport(): readonly HookFuel[] {
    return [...this.#fuel.values()];
  }

  #exchange(): Exchange {
    if (this.#x === null) throw new Error("Call request() first: this hook belongs to a request");
    return this.#x;
  }

  /** Reads what a hook used, when it is over, and fails for a trap. 0 when there is no such hook. */
  #run(hook: string, name: string): () => number {
    const before = this.traps;
    return () => {
      const { traps, lastError } = this.#engine.stats()[0] ?? { traps: 0, lastError: "" };
      if (traps > before && this.#throws) throw new Error(lastError);
      if (!this.info.hooks.includes(name)) return 0;
      const budget = this.#unit.plan.fuelPerHook;
      const used = traps > before ? budget : budget - this.#unit.fuelLeft;
      const known = this.#fuel.get(hook);
      const most = Math.max(known?.most ?? 0, used);
      this.#fuel.set(hook, { hook, calls: (known?.calls ?? 0) + 1, last: used, most, budget });
      return used;
    };
  }

  #series(name: string, labels: Readonly<Record<string, string>>) {
    const known = this.info.metrics.map((m) => m.name);
    if (!known.includes(name)) {
      throw new Error(`There is no metric "${name}"; there are: ${known.join(", ") || "none"}`);
    }
    return this.#engine.series().filter((s) =>
      s.metric.name === name &&
      Object.entries(labels).every(([label, value]) => s.labels[label] === value)
    );
  }
}

function result(
  x: Exchange,
  verdict: Verdict,
  fields: HeadResult["fields"],
  fuel: number,
): HeadResult {
  return {
    verdict: verdict === CONTINUE ? "continue" : verdict === REPLY ? "reply" : "failed",
    reply: verdict === REPLY && x.local !== null ? replyOf(x.local) : null,
    error: x.filterError,
    fields,
    header: (name) => fields.find(([n]) => n === name.toLowerCase())?.[1] ?? null,
    fuel,
  };
}

/** Stands still until it is told otherwise. */
class VirtualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly dueMs: number; readonly fire: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  wall(): number {
    return this.#nowMs;
  }

  after(ms: number, fire: () => void): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, ms), fire };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers].filter((t) => t.dueMs <= endMs)
        .sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = next.dueMs;
      next.fire();
    }
    this.#nowMs = endMs;
  }
}
