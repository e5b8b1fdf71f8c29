// The core of a connection that must begin with a ClientHello, until it is whole: the name that the
// client asks for chooses where it goes. Nothing is decrypted, answered or consumed here.

import type { Chan, ChanError, Driver } from "../../core/driver.ts";
import { readClientHello } from "../../core/client-hello.ts";
import { createTimer, type Timer } from "../../core/timers.ts";
import type { Served } from "./detect-core.ts";

/** A ClientHello with a post-quantum key share is about 1.6 KiB; more than this is not waited for. */
const MAX_HELLO_BYTES = 8192;
/** A TLS record with a handshake in it. */
const HANDSHAKE = 0x16;

/** What the first bytes were. */
export type Hello =
  | { readonly kind: "tls"; readonly serverName: string | null }
  /** Something else, too much, or nothing in time. */
  | { readonly kind: "not-tls" };

/** Waits for a ClientHello, then hands the connection on with all its bytes. */
export class AwaitHello implements Served {
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #waitMs: number;
  readonly #serve: (hello: Hello) => Served;
  readonly #timer: Timer;
  #ch: Chan = 0;

  constructor(driver: Driver, waitMs: number, serve: (hello: Hello) => Served) {
    this.#driver = driver;
    this.#waitMs = waitMs;
    this.#serve = serve;
    this.#timer = createTimer(() => this.#tooLate());
  }

  opened(ch: Chan): void {
    this.#ch = ch;
    this.#driver.timers.arm(this.#timer, this.#driver.now + this.#waitMs);
  }

  feed(_ch: Chan, buf: Uint8Array, from: number, to: number): number {
    const hello = readClientHello(buf.subarray(from, to));
    if (hello !== null) this.#go({ kind: "tls", serverName: hello.serverName });
    else if (buf[from] !== HANDSHAKE || to - from >= MAX_HELLO_BYTES) this.#go({ kind: "not-tls" });
    return 0; // all of it is for whoever comes next
  }

  writable(): void {}

  ended(): void {
    this.#tooLate();
  }

  closed(_ch: Chan, _why: ChanError | null): void {
    this.#driver.timers.cancel(this.#timer);
    this.#tellGone();
  }

  /** Outside of `feed`, the driver is asked to give the next core what it kept. */
  #tooLate(): void {
    this.#go({ kind: "not-tls" });
    this.#driver.pause(this.#ch);
    this.#driver.resume(this.#ch);
  }

  #go(hello: Hello): void {
    this.#driver.timers.cancel(this.#timer);
    const core = this.#serve(hello);
    core.onGone = this.onGone;
    this.onGone = null;
    this.#driver.adopt(this.#ch, core);
    core.opened(this.#ch);
  }

  #tellGone(): void {
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }
}
