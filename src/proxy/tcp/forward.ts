// Bytes between an accepted connection and one that is made for it: opaque TCP. Half-closes pass
// through; a side that is slow stops the other.

import type { Chan, ChanError, ConnectTo, Core, Driver } from "../../core/driver.ts";

/** What the owner of a forwarded connection wants to know. */
export interface ForwardEvents {
  /** The other side is connected. */
  connected(far: Chan): void;
  /** Both sides are gone. `why` names what ended it early, or null. Once. */
  ended(why: string | null): void;
}

/** The core of the accepted side. Connects when it is opened or adopted with `begin`. */
export class Forward implements Core {
  readonly #driver: Driver;
  readonly #to: ConnectTo;
  readonly #preface: Uint8Array | null;
  readonly #events: ForwardEvents;
  #near: Chan = 0;
  #far: Chan = 0;
  #farOpen = false;
  #nearEnded = false;
  #over = false;
  // While it is not decided that the connection is opaque: whom to tell of the far side.
  #spoke: (() => void) | null = null;
  #lost: (() => void) | null = null;
  onGone: (() => void) | null = null;

  constructor(driver: Driver, to: ConnectTo, preface: Uint8Array | null, events: ForwardEvents) {
    this.#driver = driver;
    this.#to = to;
    this.#preface = preface;
    this.#events = events;
  }

  opened(ch: Chan): void {
    this.begin(ch);
  }

  /** Starts for a channel that was open before. */
  begin(ch: Chan): void {
    this.#near = ch;
    this.#far = this.#driver.connect(this.#to, {
      opened: (far) => this.#farOpened(far),
      feed: (far, buf, from, to) => {
        if (this.#spoke !== null) {
          this.#driver.pause(far);
          this.#tellSpoke();
          // Released meanwhile: the bytes go on now, since nothing would feed them again.
          if (this.#lost !== null || this.#over) return 0;
        }
        if (!this.#driver.send(this.#near, buf, from, to)) this.#driver.pause(this.#far);
        return to - from;
      },
      writable: () => this.#driver.resume(this.#near),
      ended: () => {
        if (this.#spoke !== null) this.#tellSpoke();
        this.#driver.shutdown(this.#near);
      },
      closed: (_far, why) => {
        if (this.#lost !== null) return this.#loseEarly("far");
        this.#finish(why === null ? null : `the application: ${why.message}`, "far");
      },
    });
  }

  /**
   * Connects before it is known that the connection is opaque: `spoke` is called once when the far side
   * sends or ends anything, `lost` when there is none. Then `release`, or `discard`.
   */
  beginEarly(near: Chan, spoke: () => void, lost: () => void): void {
    this.#spoke = spoke;
    this.#lost = lost;
    this.begin(near);
  }

  /** The accepted side is this core's now. */
  release(): void {
    this.#spoke = this.#lost = null;
    if (!this.#farOpen) return;
    this.#driver.resume(this.#far);
    this.#driver.resume(this.#near);
  }

  /** Ends the far side alone; the accepted one goes elsewhere. */
  discard(gone: "far" | "none" = "none"): void {
    if (this.#over) return;
    this.#over = true;
    this.#spoke = this.#lost = null;
    if (gone === "none") this.#driver.close(this.#far, "flush");
    this.#events.ended(null);
  }

  #loseEarly(gone: "far" | "none"): void {
    const lost = this.#lost;
    this.discard(gone);
    lost?.();
  }

  #tellSpoke(): void {
    const spoke = this.#spoke;
    this.#spoke = null;
    spoke?.();
  }

  #farOpened(far: Chan): void {
    this.#far = far;
    this.#farOpen = true;
    if (this.#preface !== null) this.#driver.send(far, this.#preface, 0, this.#preface.length);
    this.#events.connected(far);
    if (this.#spoke === null) this.#driver.resume(this.#near);
    if (this.#nearEnded) this.#driver.shutdown(far);
  }

  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number {
    if (!this.#farOpen) {
      this.#driver.pause(ch); // the driver keeps what came
      return 0;
    }
    if (!this.#driver.send(this.#far, buf, from, to)) this.#driver.pause(ch);
    return to - from;
  }

  writable(): void {
    this.#driver.resume(this.#far);
  }

  ended(): void {
    this.#nearEnded = true;
    if (this.#farOpen) this.#driver.shutdown(this.#far);
  }

  closed(_ch: Chan, why: ChanError | null): void {
    this.#finish(why === null ? null : `the client: ${why.message}`, "near");
  }

  /** Ends both sides at once, for a policy that changed. */
  terminate(why: string): void {
    if (this.#lost !== null) return this.#loseEarly("none");
    this.#finish(why, "none");
  }

  #finish(why: string | null, gone: "near" | "far" | "none"): void {
    if (this.#over) return;
    this.#over = true;
    const how = why === null ? "flush" : "reset";
    if (gone !== "near") this.#driver.close(this.#near, how);
    if (gone !== "far") this.#driver.close(this.#far, how);
    this.#events.ended(why);
    this.onGone?.();
  }
}
