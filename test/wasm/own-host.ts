// The conformance suite's view of our own engine: plays the suite's steps to a chain of one filter, with
// heads parsed as the proxy parses them, and reads back what the proxy would do.

import { createHash } from "node:crypto";
import { type ConnInfo, Exchange } from "../../src/core/exchange.ts";
import {
  type BodyNeed,
  CONTINUE,
  type FilterChain,
  type FilterEngine,
  PAUSED,
  REPLY,
  type Verdict,
} from "../../src/core/filter.ts";
import { type Head, ResponseHead } from "../../src/core/head.ts";
import { createLogger } from "../../src/core/log.ts";
import { parseRequest, parseResponse } from "../../src/proxy/http1/parse.ts";
import type {
  BodyIn,
  ConformanceFilter,
  ConformanceHost,
  Fields,
  RequestIn,
  Step,
} from "../../wasm/conformance/suite.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";

const bytesOf = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const textOf = (bytes: Uint8Array) => String.fromCharCode(...bytes);
const TICK_MS = 100;

/** Our engine. */
export const OWN_HOST: ConformanceHost = {
  async load(module, of) {
    const clock = new FakeClock();
    const lines: string[] = [];
    const engine = createEngine({
      clock,
      log: createLogger({
        level: "debug",
        format: "plain",
        wall: () => 0,
        write: (line) => void lines.push(line),
      }),
    });
    const prepared = await engine.prepare(module, {
      name: "suite",
      sha256: createHash("sha256").update(module).digest("hex"),
      size: module.length,
      config: of.config === undefined
        ? new Uint8Array(0)
        : new TextEncoder().encode(JSON.stringify(of.config)),
      failurePolicy: "closed",
      fuelPerHook: of.fuelPerHook ?? 0,
      memoryPages: 0,
      cpuPercent: 100,
      ...(of.callouts === undefined ? {} : { callouts: of.callouts }),
    });
    return new OwnFilter(engine, engine.chain([prepared]), clock, lines);
  },
};

class OwnFilter implements ConformanceFilter {
  readonly #engine: FilterEngine;
  readonly #chain: FilterChain;
  readonly #clock: FakeClock;
  readonly #lines: readonly string[];
  #x: Exchange = new Exchange(connOf({}));

  constructor(
    engine: FilterEngine,
    chain: FilterChain,
    clock: FakeClock,
    lines: readonly string[],
  ) {
    this.#engine = engine;
    this.#chain = chain;
    this.#clock = clock;
    this.#lines = lines;
  }

  play(step: Step): Readonly<Record<string, unknown>> {
    const chain = this.#chain;
    switch (step.call) {
      case "request": {
        const x = this.#x = exchangeOf(step.with);
        x.startedMs = this.#clock.now();
        return this.#request(chain.requestHead(x));
      }
      case "callout": {
        const { status, headers, body } = step.with;
        return this.#request(chain.requestAnswered(this.#x, {
          status,
          error: "",
          header: (name) =>
            headers.find(([n]) => n.toLowerCase() === name.toLowerCase())?.[1] ?? null,
          body: bytesOf(body),
        }));
      }
      case "requestBody":
        return this.#body(
          step.with,
          chain.requestBody,
          (...of) => chain.requestPiece(this.#x, ...of),
        );
      case "responseBody":
        return this.#body(
          step.with,
          chain.responseBody,
          (...of) => chain.responsePiece(this.#x, ...of),
        );
      case "attempt":
        this.#x.attempt = step.with.attempt;
        this.#x.attemptTimeoutMs = 0;
        this.#x.choice = null;
        chain.attemptStart(this.#x);
        return { attemptTimeoutMs: this.#x.attemptTimeoutMs, endpoint: this.#x.choice };
      case "outcome": {
        const { attempt, status, error, elapsedMs, labels = {} } = step.with;
        this.#x.attempt = attempt;
        this.#x.endpointLabels = labels;
        let delayMs = -1;
        const trap = this.#traps(() => {
          delayMs = chain.attemptOutcome(this.#x, { status, error, elapsedMs });
        });
        // a chain of one tells «no» and «none» alike: not to retry
        const { opinion } = step.expect;
        const not = opinion === "no" ? "no" : "none";
        return {
          opinion: trap ? "trap" : delayMs >= 0 ? "retry" : not,
          delayMs: Math.max(0, delayMs),
        };
      }
      case "response": {
        const head = responseHeadOf(step.with.status, step.with.headers);
        const { headers, ...decided } = this.#head(chain.responseHead(this.#x, head), head);
        const shown = headers.filter(([name]) => name !== "content-length");
        return { ...decided, headers: shown, status: head.status };
      }
      case "trailers": {
        const trailers = responseHeadOf(200, step.with.fields);
        const trap = this.#traps(() => chain.responseTrailers(this.#x, trailers));
        return { trap, fields: fieldsOf(trailers).filter(([name]) => name !== "content-length") };
      }
      case "end": {
        const { status, elapsedMs } = step.with;
        return { trap: this.#traps(() => chain.end(this.#x, status, elapsedMs)) };
      }
      case "tick":
        return { trap: this.#traps(() => this.#clock.advance(TICK_MS)) };
      case "connection": {
        const x = this.#x = new Exchange(
          connOf({ ...(step.with.peer ? { peer: step.with.peer } : {}) }),
        );
        x.begin(this.#clock.now());
        return { allowed: chain.connectionOpen(x) === CONTINUE };
      }
      case "connectionEnd": {
        const { bytesIn, bytesOut, elapsedMs } = step.with;
        return {
          trap: this.#traps(() => chain.connectionEnd(this.#x, bytesIn, bytesOut, elapsedMs)),
        };
      }
      case "metrics":
        return { series: this.#series() };
      case "logs":
        return { lines: this.#lines.map(logLine) };
    }
  }

  #request(verdict: Verdict) {
    const x = this.#x;
    const { headers, ...decided } = this.#head(verdict, x.request);
    return {
      ...decided,
      headers: headers.filter(([name]) => name !== "host" && name !== "transfer-encoding"),
      path: x.request.path,
      authority: x.request.authority,
      requestTimeoutMs: x.timeoutMs,
      exchangeLimitMs: x.exchangeLimitMs,
      responseLimitMs: x.responseLimitMs,
      idleLimitMs: x.idleLimitMs,
      attemptTimeoutMs: x.attemptTimeoutMs,
      endpoint: x.choice,
      callout: verdict === PAUSED && x.callout !== null
        ? (({ authority, method, path, headers, body, timeoutMs }) => ({
          authority,
          method,
          path,
          headers,
          body,
          timeoutMs,
        }))(x.callout)
        : null,
    };
  }

  #head(verdict: Verdict, head: Head) {
    const action = verdict === CONTINUE
      ? "continue"
      : verdict === REPLY
      ? "reply"
      : verdict === PAUSED
      ? "pause"
      : "trap";
    return {
      action,
      headers: fieldsOf(head),
      reply: action === "reply" ? this.#x.local : null,
    };
  }

  #body(
    { pieces }: BodyIn,
    need: BodyNeed | null,
    give: (
      piece: { buf: Uint8Array; from: number; to: number },
      last: boolean,
      tooLong: boolean,
    ) => Verdict,
  ) {
    const given = pieces.map(bytesOf);
    const all = bytesOf(pieces.join(""));
    const bound = need?.wholeBytes ?? 0;
    const tooLong = bound > 0 && all.length > bound;
    const headers = () => fieldsOf(this.#x.request).filter(([n]) => n !== "host");
    if (tooLong && need?.over === "refuse") {
      return { action: "too-long", bytes: "", reply: null, headers: headers() };
    }
    let bytes = "";
    const shown = bound > 0 && !tooLong ? [all] : [...given, new Uint8Array(0)];
    for (const [i, buf] of shown.entries()) {
      const piece = { buf, from: 0, to: buf.length };
      const verdict = give(piece, i === shown.length - 1, tooLong);
      if (verdict !== CONTINUE) {
        const { action, reply } = this.#head(verdict, this.#x.request);
        return { action, bytes: "", reply, headers: headers() };
      }
      bytes += textOf(piece.buf.subarray(piece.from, piece.to));
    }
    return { action: "continue", bytes, reply: null, headers: headers() };
  }

  #traps(call: () => void): boolean {
    const traps = () => this.#engine.stats()[0]?.traps ?? 0;
    const before = traps();
    call();
    return traps() > before;
  }

  #series() {
    return this.#engine.series().map(({ metric, labels, values }) => ({
      name: metric.name,
      labels: Object.fromEntries(Object.entries(labels).filter(([name]) => name !== "filter")),
      values: [...values],
    })).filter(({ values }) => values.some((value) => value !== 0));
  }
}

/** `TIME INFO said filter=suite value=7` → the level, and the words with the number. */
function logLine(line: string): readonly [string, string] {
  const [, level = "", words = "", value = ""] =
    /^\S+\s+(\S+)\s+(.*?)\s+filter=suite(?: value=(\S+))?$/.exec(line) ?? [];
  return [level.toLowerCase(), value === "" ? words : `${words} ${value}`];
}

function connOf(
  { inbound = false, peer, remote = ["127.0.0.1", 1], target = ["127.0.0.1", 2] }: Partial<
    RequestIn
  >,
): ConnInfo {
  return {
    direction: inbound ? "inbound" : "outbound",
    remote: { ip: remote[0], port: remote[1] },
    target: { ip: target[0], port: target[1] },
    tls: peer === undefined ? null : { identity: peer, alpn: null },
  };
}

function exchangeOf(request: RequestIn): Exchange {
  const { method, path, authority, headers, route = "" } = request;
  const x = new Exchange(connOf(request));
  x.begin(0);
  x.routeName = route;
  const lines = [["host", authority] as const, ...headers].map(([n, v]) => `${n}: ${v}\r\n`);
  const head = bytesOf(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  if (parseRequest(x.request, head, 0, head.length, 65_536) !== head.length) {
    throw new Error("the suite's request is not well-formed");
  }
  return x;
}

function responseHeadOf(status: number, fields: Fields): ResponseHead {
  const head = new ResponseHead();
  const lines = fields.map(([n, v]) => `${n}: ${v}\r\n`).join("");
  const bytes = bytesOf(`HTTP/1.1 ${status} Status\r\ncontent-length: 0\r\n${lines}\r\n`);
  if (parseResponse(head, bytes, 0, bytes.length, 65_536, false, false) !== bytes.length) {
    throw new Error("the suite's response is not well-formed");
  }
  return head;
}

/** Fields with what filters changed. */
function fieldsOf(head: Head): Fields {
  let fields: (readonly [string, string])[] = [];
  for (let i = 0; i < head.count; i++) fields.push([head.nameAt(i), head.valueAt(i)]);
  for (const { op, name, value } of head.edits) {
    if (op !== "add") fields = fields.filter(([n]) => n !== name.text);
    if (op !== "remove") fields.push([name.text, value]);
  }
  return fields;
}
