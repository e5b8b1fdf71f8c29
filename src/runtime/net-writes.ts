// Bytes out, for the portable driver: what a turn sends on a channel is gathered in one slot and leaves
// in one write when the turn ends. `net-turns.ts` says when; knows no core.

import { Buffer } from "node:buffer";
import process from "node:process";
import type { Out } from "../core/driver.ts";
import { part } from "../core/part.ts";
import type { NetChan } from "./net-channel.ts";
import { writeNow } from "./net-write-now.ts";

const IS_DENO = process.versions.deno !== undefined;
const OUT_BYTES = 64 * 1024;
/** Slots kept for the next channel that writes. */
const MAX_SPARE_SLOTS = 64;
/** Lengths whose view a slot remembers. */
const VIEWS = 8;

/** Memory of one channel's output, and the beginnings of it that were written lately. */
export class Slot {
  readonly bytes = new Uint8Array(OUT_BYTES);
  readonly #views: (Uint8Array | null)[] = new Array(VIEWS).fill(null);

  /** Its first `length` bytes. Answers are often of the same length, and a view is not free. */
  upTo(length: number): Uint8Array {
    const i = length % VIEWS;
    const known = this.#views[i] as Uint8Array | null;
    if (known !== null && known.length === length) return known;
    // A socket makes a Buffer of what is none; a handle takes any view, of which this is the cheapest.
    const view = IS_DENO
      ? Buffer.from(this.bytes.buffer, 0, length)
      : this.bytes.subarray(0, length);
    this.#views[i] = view;
    return view;
  }
}

/** The output of all channels of a driver. */
export class NetWrites {
  readonly #spare: Slot[] = [];
  readonly #lent: Out = { buf: new Uint8Array(0), at: 0 };

  /** Copies bytes into the channel's slot; what has no room is written at once. */
  put(c: NetChan, buf: Uint8Array, from: number, to: number): void {
    while (from < to) {
      if (c.outTo === OUT_BYTES) this.flush(c);
      const out = this.#slot(c).bytes;
      const n = Math.min(OUT_BYTES - c.outTo, to - from);
      if (n < 48) { for (let i = 0; i < n; i++) out[c.outTo + i] = buf[from + i] as number; }
      else out.set(part(buf, from, from + n), c.outTo);
      c.outTo += n;
      from += n;
    }
  }

  /** Room for `bytes` in the slot, or in memory of its own; null: the channel is gone. */
  lend(c: NetChan | null, bytes: number): Out {
    const lent = this.#lent;
    if (c === null || bytes > OUT_BYTES) {
      lent.buf = new Uint8Array(bytes);
      lent.at = 0;
      return lent;
    }
    if (c.outTo + bytes > OUT_BYTES) this.flush(c);
    lent.buf = this.#slot(c).bytes;
    lent.at = c.outTo;
    return lent;
  }

  /** So many bytes of what was lent last are to go. */
  took(c: NetChan, bytes: number): void {
    const { buf } = this.#lent;
    if (c.out !== null && buf === c.out.bytes) c.outTo += bytes;
    else this.put(c, buf, 0, bytes);
  }

  /** Writes what was gathered. */
  flush(c: NetChan): void {
    const { socket, out, outTo } = c;
    if (socket === null || out === null || outTo === 0) return;
    c.outTo = 0;
    c.out = null;
    c.meter?.wrote(outTo);
    const view = out.upTo(outTo);
    if (c.direct) {
      // Taken by the system whole: nothing refers to the slot any more. Else it is left to the socket.
      if (writeNow(socket, view)) {
        this.recycle(out);
        return;
      }
    } else if (c.isTls) {
      // TLS finishes a write later: give it bytes of its own, so that the slot is free at once.
      socket.write(Buffer.from(view));
      this.recycle(out);
    } else {
      socket.write(view);
      if (socket.writableLength === 0) this.recycle(out);
    }
    c.full = socket.writableNeedDrain;
  }

  recycle(slot: Slot): void {
    if (this.#spare.length < MAX_SPARE_SLOTS) this.#spare.push(slot);
  }

  #slot(c: NetChan): Slot {
    return c.out ??= this.#spare.pop() ?? new Slot();
  }
}
