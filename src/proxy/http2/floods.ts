// What a peer may ask for that brings nothing: frames without use, and streams that are reset before
// they ended. Each has a budget that time and useful frames refill; a connection that spends one is
// ended. Below session.ts.

import { Budget } from "./budget.ts";
import type { Flood, SessionOptions } from "./session-options.ts";

/** Frames that bring nothing: at once, and each second. */
const IDLE_FRAMES = 2000;
const IDLE_FRAMES_PER_SECOND = 200;
/** Streams reset before they ended: at once, and each second. */
const RESETS_AT_LEAST = 200;
const RESETS_PER_SECOND = 100;

/** What a frame that makes us work costs of the frames that bring nothing. */
export const SETTINGS_COST = 20;
export const GOAWAY_COST = 10;
export const EMPTY_CONTINUATION_COST = 10;

/** What each DATA frame of ours gives back: a peer that reads has to say so. */
const PER_SENT_FRAME = 4;

export class Floods {
  readonly #frames: Budget;
  readonly #resets: Budget;
  readonly #clock: { readonly now: number };
  readonly #flooded: (what: Flood) => void;

  constructor(
    clock: { readonly now: number },
    o: Pick<SessionOptions, "maxResets" | "maxConcurrentStreams">,
    flooded: (what: Flood) => void,
  ) {
    this.#clock = clock;
    this.#flooded = flooded;
    this.#frames = new Budget(IDLE_FRAMES, IDLE_FRAMES_PER_SECOND, clock.now);
    const resets = o.maxResets ?? Math.max(RESETS_AT_LEAST, 2 * o.maxConcurrentStreams);
    this.#resets = new Budget(resets, RESETS_PER_SECOND, clock.now);
  }

  /** A frame brought nothing. */
  idleFrame(cost: number): void {
    if (!this.#frames.spend(cost, this.#clock.now)) this.#flooded("frames");
  }

  /** A frame brought something. */
  usefulFrame(): void {
    this.#frames.earn(1);
  }

  /** We sent so many DATA frames. */
  sentFrames(count: number): void {
    this.#frames.earn(PER_SENT_FRAME * count);
  }

  /** A stream was reset before it ended: by the peer, or by us for what the peer did. */
  resetStream(): void {
    if (!this.#resets.spend(1, this.#clock.now)) this.#flooded("resets");
  }

  /** A stream came to its end. */
  endedStream(): void {
    this.#resets.earn(1);
  }
}
