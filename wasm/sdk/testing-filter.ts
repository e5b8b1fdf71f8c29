// A filter under test: the engine that a proxy has, with one filter in it, a clock that stands still
// until it is told otherwise, and one request at a time. What a hook did comes back as plain values.

import { createHash } from "node:crypto";
import type { Exchange } from "../../src/core/exchange.ts";
import {
  type BodyPiece,
  type CalloutAnswer,
  type CalloutRequest,
  CONTINUE,
  FAILED,
  type FilterChain,
  type FilterRef,
  type ModuleInfo,
  PAUSED,
  REPLY,
  type Verdict,
} from "../../src/core/filter.ts";
import { createLogger } from "../../src/core/log.ts";
import { createEngine } from "../host/engine.ts";
import { positionText, type SourceMap } from "../host/source-map.ts";
import type { FilterUnit } from "../host/unit.ts";
import {
  exchangeOf,
  type Fields,
  fieldsOf,
  replyOf,
  responseHeadOf,
  type TestRequest,
  type TestResponse,
  trailersOf,
} from "./testing-heads.ts";
import { answerOf, calloutTargets } from "./testing-callouts.ts";
import { VirtualClock } from "./testing-clock.ts";
import type {
  AttemptResult,
  BodyResult,
  ConnectionResult,
  HeadResult,
  HookFuel,
  OutcomeResult,
  RequestResult,
  ResponseResult,
  TestOptions,
  TestOutcome,
  TrailersResult,
} from "./testing-results.ts";

const ERRORS = { none: 0, connect: 1, reset: 2, timeout: 4 } as const;

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
  readonly #ask: (asked: CalloutRequest) => CalloutAnswer;
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
    ask: (asked: CalloutRequest) => CalloutAnswer;
  }) {
    this.info = parts.info;
    this.logs = parts.logs;
    this.#engine = parts.engine;
    this.#chain = parts.chain;
    this.#clock = parts.clock;
    this.#unit = parts.unit;
    this.#throws = parts.throws;
    this.#ask = parts.ask;
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
    const targets = calloutTargets(module);
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
      cpuPercent: 100,
      callouts: targets,
    };
    const prepared = await engine.prepare(module, ref);
    const chain = engine.chain([prepared]);
    if (unit === null) throw new Error("The engine made no instance");
    const throws = traps === "throw";
    const ask = (asked: CalloutRequest) => answerOf(asked, targets, options.callouts);
    return new TestFilter({ info: prepared.info, logs, engine, chain, clock, unit, throws, ask });
  }

  /** Virtual milliseconds since the filter was loaded. */
  get nowMs(): number {
    return this.#clock.now();
  }

  /** Lets virtual time pass. */
  advance(ms: number): void {
    const ticked = this.#run("onTick", "tick");
    this.#clock.advance(ms);
    ticked();
  }

  /** Begins a request: `onRequest`, and `onCallout` when it asks somebody. */
  request(request: TestRequest = {}): RequestResult {
    const x = exchangeOf(request);
    this.#x = x;
    this.#attempts = 0;
    x.startedMs = this.#clock.now();
    const fuel = this.#run("onRequest", "request");
    let verdict = this.#chain.requestHead(x);
    let used = fuel();
    while (verdict === PAUSED && x.callout !== null) {
      const answered = this.#run("onCallout", "callout");
      verdict = this.#chain.requestAnswered(x, this.#ask(x.callout));
      used += answered();
    }
    const { path, authority } = x.request;
    return {
      ...result(x, verdict, fieldsOf(x.request), used),
      path,
      authority,
      requestTimeoutMs: x.timeoutMs,
      exchangeLimitMs: x.exchangeLimitMs,
      responseLimitMs: x.responseLimitMs,
      idleLimitMs: x.idleLimitMs,
      timeoutMs: x.attemptTimeoutMs,
      choice: x.choice,
    };
  }

  /** The request's body, whole or in pieces: `onRequestBody`. */
  requestBody(body: TestBody): BodyResult {
    return this.#body("request", body);
  }

  /** An attempt of the request begins: `onAttempt`. */
  attempt({ labels }: Pick<TestOutcome, "labels"> = {}): AttemptResult {
    const x = this.#exchange();
    x.attempt = this.#attempts;
    if (labels !== undefined) x.endpointLabels = labels;
    const fuel = this.#run("onAttempt", "attempt");
    this.#chain.attemptStart(x);
    return { timeoutMs: x.attemptTimeoutMs, choice: x.choice, fuel: fuel() };
  }

  /** An attempt of the request ended: `onOutcome`. */
  outcome(outcome: TestOutcome = {}): OutcomeResult {
    const x = this.#exchange();
    const { status = 0, error = "none", attempt = this.#attempts, elapsedMs = 1 } = outcome;
    x.attempt = attempt;
    x.grpcStatus = outcome.grpcStatus ?? -1;
    this.#attempts = attempt + 1;
    if (outcome.labels !== undefined) x.endpointLabels = outcome.labels;
    const fuel = this.#run("onOutcome", "outcome");
    const delayMs = this.#chain.attemptOutcome(x, { status, error: ERRORS[error], elapsedMs });
    return { retry: delayMs >= 0, delayMs: Math.max(0, delayMs), fuel: fuel() };
  }

  /** The response that is returned came: `onResponse`. */
  response(response: TestResponse = {}): ResponseResult {
    const x = this.#exchange();
    const head = responseHeadOf(response);
    const fuel = this.#run("onResponse", "response");
    const verdict = this.#chain.responseHead(x, head);
    return { ...result(x, verdict, fieldsOf(head), fuel()), status: head.status };
  }

  /** The response's body: `onResponseBody`. */
  responseBody(body: TestBody): BodyResult {
    return this.#body("response", body);
  }

  /** The response's trailers: `onTrailers`. */
  trailers(fields: Fields): TrailersResult {
    const trailers = trailersOf(fields);
    const fuel = this.#run("onTrailers", "trailers");
    this.#chain.responseTrailers(this.#exchange(), trailers);
    return { fields: fieldsOf(trailers), fuel: fuel() };
  }

  /** An opaque connection opens: `onConnection`. Only `identity` and `inbound` matter. */
  connection(from: Pick<TestRequest, "identity" | "inbound"> = {}): ConnectionResult {
    const x = exchangeOf(from);
    this.#x = x;
    const fuel = this.#run("onConnection", "connection");
    const verdict = this.#chain.connectionOpen(x);
    return { allowed: verdict === CONTINUE, error: x.filterError, fuel: fuel() };
  }

  /** The connection is over: `onConnectionEnd`. */
  connectionEnd({ bytesIn = 0, bytesOut = 0, elapsedMs = 1 } = {}): { readonly fuel: number } {
    const fuel = this.#run("onConnectionEnd", "connectionEnd");
    this.#chain.connectionEnd(this.#exchange(), bytesIn, bytesOut, elapsedMs);
    this.#x = null;
    return { fuel: fuel() };
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

  #body(of: "request" | "response", body: TestBody): BodyResult {
    const x = this.#exchange();
    const need = of === "request" ? this.#chain.requestBody : this.#chain.responseBody;
    const given = (Array.isArray(body) ? body : [body]).map((piece: string | Uint8Array) =>
      typeof piece === "string" ? new TextEncoder().encode(piece) : piece
    );
    const all = joined(given);
    const tooLong = need !== null && need.wholeBytes > 0 && all.length > need.wholeBytes;
    const end = (verdict: BodyResult["verdict"], bytes: Uint8Array, fuel: number): BodyResult => ({
      verdict,
      bytes,
      text: new TextDecoder().decode(bytes),
      header: (name) => fieldsOf(x.request).find(([n]) => n === name.toLowerCase())?.[1] ?? null,
      reply: verdict === "reply" && x.local !== null ? replyOf(x.local) : null,
      error: x.filterError,
      fuel,
    });
    if (need === null || all.length === 0) return end("continue", all, 0);
    if (tooLong && need.over === "refuse") return end("too-long", new Uint8Array(), 0);
    const isWhole = need.wholeBytes > 0 && !tooLong;
    const pieces = isWhole ? [all] : [...given, new Uint8Array()];
    const name = of === "request" ? "onRequestBody" : "onResponseBody";
    const sent: Uint8Array[] = [];
    let used = 0;
    for (const [i, bytes] of pieces.entries()) {
      const piece: BodyPiece = { buf: bytes, from: 0, to: bytes.length };
      const fuel = this.#run(name, `${of}Body`);
      const last = i === pieces.length - 1;
      const verdict = of === "request"
        ? this.#chain.requestPiece(x, piece, last, tooLong)
        : this.#chain.responsePiece(x, piece, last, tooLong);
      used += fuel();
      if (verdict !== CONTINUE) {
        return end(verdict === FAILED ? "failed" : "reply", new Uint8Array(), used);
      }
      sent.push(piece.buf.slice(piece.from, piece.to));
    }
    return end("continue", joined(sent), used);
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

/** A body as a test writes it: whole, or in the pieces in which it arrives. */
export type TestBody = string | Uint8Array | readonly (string | Uint8Array)[];

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
