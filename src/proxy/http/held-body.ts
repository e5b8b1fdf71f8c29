// What both directions of a filtered body share: bytes that are held, and how far it has come.

/** Filters see pieces of at most this, so that their fuel is enough for one. */
export const PIECE_BYTES = 4096;
export const NO_BYTES = new Uint8Array(0);

/** Nothing was sent on yet. */
export const HOLDING = 0;
/** What comes is sent on. */
export const PASSING = 1;
/** Answered or given up: nothing more is sent on. */
export const OVER = 2;

/** Copies of body bytes; whoever pushes knows the bound. */
export class Held {
  readonly #pieces: Uint8Array[] = [];
  bytes = 0;

  push(buf: Uint8Array, from: number, to: number): void {
    this.#pieces.push(buf.slice(from, to));
    this.bytes += to - from;
  }

  /** All of it; forgets it. */
  take(): Uint8Array {
    const all = new Uint8Array(this.bytes);
    let at = 0;
    for (const piece of this.#pieces.splice(0)) {
      all.set(piece, at);
      at += piece.length;
    }
    this.bytes = 0;
    return all;
  }
}
