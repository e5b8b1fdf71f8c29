// Bytes of a request body that must wait or may be needed again: while a request is parked, and for
// a retry. Bounded; past the bound it forgets everything and says so.

/** Copies of body pieces, up to `maxBytes`. */
export class BodyBuffer {
  readonly #maxBytes: number;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  /** More came than may be kept: the body cannot be replayed. */
  overflow = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(buf: Uint8Array, from: number, to: number): void {
    if (this.overflow) return;
    if (this.#bytes + to - from > this.#maxBytes) {
      this.overflow = true;
      this.#pieces = [];
      this.#bytes = 0;
      return;
    }
    this.#pieces.push(buf.slice(from, to));
    this.#bytes += to - from;
  }

  /** Pushes everything into `to`; false when the last push asked to stop. */
  replay(to: { data(buf: Uint8Array, from: number, to: number): boolean }): boolean {
    let ready = true;
    for (const piece of this.#pieces) ready = to.data(piece, 0, piece.length);
    return ready;
  }

  clear(): void {
    if (this.#pieces.length > 0) this.#pieces = [];
    this.#bytes = 0;
    this.overflow = false;
  }
}
