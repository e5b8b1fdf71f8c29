// Reads a module's bytes: integers, names, and a refusal with the offset for whatever does not fit.
// Everything read from a module passes through here, so nothing is trusted twice.

import { FilterRefused } from "../../src/core/filter.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A cursor over `bytes[pos..end)`. */
export class Reader {
  readonly bytes: Uint8Array;
  pos: number;
  end: number;

  constructor(bytes: Uint8Array, pos = 0, end = bytes.length) {
    this.bytes = bytes;
    this.pos = pos;
    this.end = end;
  }

  get done(): boolean {
    return this.pos >= this.end;
  }

  /** Throws a `FilterRefused` that says what and where. */
  refuse(what: string, at = this.pos): never {
    throw new FilterRefused(`${what} (at byte ${at})`);
  }

  byte(): number {
    if (this.pos >= this.end) this.refuse("the module ends in the middle of something");
    return this.bytes[this.pos++] as number;
  }

  peek(): number {
    if (this.pos >= this.end) this.refuse("the module ends in the middle of something");
    return this.bytes[this.pos] as number;
  }

  skip(count: number): void {
    if (count > this.end - this.pos) this.refuse("a length reaches past the end of its section");
    this.pos += count;
  }

  /** An unsigned LEB128 of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const b = this.byte();
      if (shift === 28 && b > 0x0f) this.refuse("an integer is longer than 32 bits");
      value += (b & 0x7f) * 2 ** shift;
      if (b < 0x80) return value;
    }
    return this.refuse("an integer is longer than 32 bits");
  }

  /** A count of things, each at least one byte long, at most `max`. */
  count(what: string, max: number): number {
    const at = this.pos;
    const n = this.u32();
    if (n > max) this.refuse(`${n} ${what}; at most ${max} are allowed`, at);
    if (n > this.end - this.pos) this.refuse(`${n} ${what} do not fit`, at);
    return n;
  }

  /** Skips a signed LEB128 of at most `bytes` bytes. */
  skipLeb(bytes: number): void {
    for (let i = 0; i < bytes; i++) {
      if (this.byte() < 0x80) return;
    }
    this.refuse("an integer is too long");
  }

  /** A signed LEB128 of at most 33 bits. */
  s33(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const b = this.byte();
      value += (b & 0x7f) * 2 ** shift;
      if (b < 0x80) return (b & 0x40) === 0 ? value : value - 2 ** (shift + 7);
    }
    return this.refuse("an integer is too long");
  }

  /** A length-prefixed UTF-8 name of at most `max` bytes. */
  name(max = 8192): string {
    const at = this.pos;
    const length = this.u32();
    if (length > max) this.refuse(`a name of ${length} bytes; at most ${max} are allowed`, at);
    const from = this.pos;
    this.skip(length);
    try {
      return utf8.decode(this.bytes.subarray(from, this.pos));
    } catch {
      return this.refuse("a name is not UTF-8", at);
    }
  }
}
