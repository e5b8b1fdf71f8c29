// The core of an accepted connection until its protocol is known. A silent client does not stall a
// protocol in which the server speaks first: after a moment the upstream is opened, and whoever speaks
// first decides. Nothing of the upstream is opened or passed on where the policy does not allow it.

import type { Chan, ChanError, Core, Driver } from "../../core/driver.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import { detectProtocol, MAX_DETECT_BYTES, type Protocol } from "./detect.ts";
import type { DetectResult } from "./detect-metrics.ts";

/** A core that tells once when its connection is gone. */
export type Served = Core & { onGone: (() => void) | null };

/** A way to the upstream that was opened before it was known whether it is needed. */
export interface EarlyForward extends Served {
  /** Connects for the client's channel. `spoke` is called once when the upstream says or ends anything,
   * `lost` once when there is none. Nothing reaches the client until `release`. */
  beginEarly(near: Chan, spoke: () => void, lost: () => void): void;
  /** The connection is opaque: from here on this is its core. */
  release(): void;
  /** It is not: ends the upstream, and nothing else. */
  discard(): void;
}

/** What detection needs of who accepted. */
export interface DetectOptions {
  /** Bytes that never come are waited for no longer than this. */
  readonly detectMs: number;
  /** A client that is silent so long may be one whose server speaks first. */
  readonly earlyMs: number;
  /** For so long the client was silent before; it counts. */
  readonly silentMs: number;
  /** Makes the way to the upstream; null: not before the client has spoken. */
  early(): EarlyForward | null;
  /** The core for what was found. `early` is the way that is open already, for "opaque" only. */
  serve(protocol: Protocol, early: EarlyForward | null): Served;
  /** Told once, with the time it took. */
  detected(result: DetectResult, ms: number): void;
}

const RESULTS: Readonly<Record<Protocol, DetectResult>> = {
  http1: "http/1",
  http2: "http/2",
  tls: "not_http",
  opaque: "not_http",
};

/** Waits for a connection's first bytes, in either direction. */
export class Detect implements Core {
  /** Called once when the connection is gone before it was handed on. */
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #o: DetectOptions;
  readonly #startedMs: number;
  readonly #timer: Timer;
  #ch: Chan = 0;
  #early: EarlyForward | null = null;
  #tried = false;
  #done = false;

  constructor(driver: Driver, options: DetectOptions) {
    this.#driver = driver;
    this.#o = options;
    this.#startedMs = driver.now - options.silentMs;
    this.#timer = createTimer(() => this.#timedOut());
  }

  opened(ch: Chan): void {
    this.#ch = ch;
    const { detectMs, earlyMs } = this.#o;
    const at = this.#startedMs + Math.min(detectMs, earlyMs);
    if (at <= this.#driver.now) this.#timedOut();
    else this.#driver.timers.arm(this.#timer, at);
  }

  feed(_ch: Chan, buf: Uint8Array, from: number, to: number): number {
    const protocol = detectProtocol(buf, from, to);
    if (protocol !== null) this.#decide(protocol, RESULTS[protocol]);
    else if (to - from >= MAX_DETECT_BYTES) this.#decide("opaque", "not_http");
    return 0; // all of it is for whoever comes next
  }

  writable(): void {}

  /** A client that ends before it has said what it speaks: what there is goes on as it is. */
  ended(): void {
    this.#decide("opaque", "not_http");
    this.#refeed();
  }

  /** Null: nobody failed; it was not plain text after all, and is somebody else's to look at. */
  closed(_ch: Chan, why: ChanError | null): void {
    if (this.#done) return;
    if (why === null) this.#leave();
    else this.#finish("error");
    this.#early?.discard();
    this.#early = null;
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }

  #timedOut(): void {
    if (this.#done) return;
    const { now, timers } = this.#driver;
    const until = this.#startedMs + this.#o.detectMs;
    if (now >= until) {
      this.#decide("opaque", "read_timeout");
      this.#refeed();
      return;
    }
    timers.arm(this.#timer, until);
    if (this.#tried) return;
    this.#tried = true;
    const early = this.#o.early();
    if (early === null) return;
    this.#early = early;
    early.beginEarly(
      this.#ch,
      () => {
        if (this.#early !== early) return;
        this.#decide("opaque", "server_first");
        this.#refeed();
      },
      () => {
        // The client may still speak; then it is tried again.
        if (this.#early === early) this.#early = null;
      },
    );
  }

  /** Outside of `feed`, the driver is asked to give the next core what it kept. */
  #refeed(): void {
    this.#driver.pause(this.#ch);
    this.#driver.resume(this.#ch);
  }

  #decide(protocol: Protocol, result: DetectResult): void {
    if (this.#done) return;
    this.#finish(result);
    const early = this.#early;
    this.#early = null;
    const opaque = protocol === "opaque" || protocol === "tls";
    if (!opaque) early?.discard();
    const core = this.#o.serve(protocol, opaque ? early : null);
    core.onGone = this.onGone;
    this.onGone = null;
    this.#driver.adopt(this.#ch, core);
    if (core === early) early.release();
    else core.opened(this.#ch);
  }

  #leave(): void {
    this.#done = true;
    this.#driver.timers.cancel(this.#timer);
  }

  #finish(result: DetectResult): void {
    this.#leave();
    this.#o.detected(result, this.#driver.now - this.#startedMs);
  }
}
