// Whether a client still takes part in its exchange: it may announce a body and say nothing, or take
// nothing of a response that waits for it. `server.ts` tells what happens and owns the timer.

/** Unless configured. */
const STALL_MS = 300_000;

export class Stall {
  readonly ms: number;
  /** The client is sent no more until it has taken some. */
  full = false;
  /** When the client last sent body bytes, or had to be waited for. */
  movedMs = 0;

  constructor(ms = STALL_MS) {
    this.ms = ms;
  }

  /**
   * What is true at `now`: by which bound the client stalls, or when to look again; null: nothing is
   * expected of it. `isBody`: its body is not whole; `isFree`: and it may send.
   */
  look(now: number, isBody: boolean, isFree: boolean): "slow" | "stalled" | number | null {
    if (!isBody && !this.full) return null;
    const at = this.movedMs + this.ms;
    if (now >= at && this.full) return "stalled";
    if (now >= at && isFree) return "slow";
    return Math.max(at, now + this.ms / 2);
  }
  /** The bound in words. */
  why(bound: "slow" | "stalled"): string {
    return bound === "slow"
      ? `No byte of the request body within ${this.ms} ms`
      : `the client took nothing for ${this.ms} ms`;
  }
}
