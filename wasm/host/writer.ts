// Builds a module's bytes. The counterpart of reader.ts.

/** A growing byte buffer with WebAssembly's integer encoding. */
export class Writer {
  #buf = new Uint8Array(1024);
  #at = 0;

  get length(): number {
    return this.#at;
  }

  #room(more: number): void {
    if (this.#at + more <= this.#buf.length) return;
    const bigger = new Uint8Array(Math.max(this.#buf.length * 2, this.#at + more));
    bigger.set(this.#buf.subarray(0, this.#at));
    this.#buf = bigger;
  }

  byte(value: number): this {
    this.#room(1);
    this.#buf[this.#at++] = value;
    return this;
  }

  bytes(from: Uint8Array): this {
    this.#room(from.length);
    this.#buf.set(from, this.#at);
    this.#at += from.length;
    return this;
  }

  /** Unsigned LEB128. */
  u32(value: number): this {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    return this.byte(rest);
  }

  /** Signed LEB128 of a 32-bit value. */
  s32(value: number): this {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        return this.byte(low);
      }
      this.byte(low | 0x80);
    }
  }

  name(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u32(bytes.length).bytes(bytes);
  }

  /** A section: id, length, contents. */
  section(id: number, contents: Writer): this {
    return this.byte(id).u32(contents.length).bytes(contents.view());
  }

  /** The bytes so far; valid until the next write. */
  view(): Uint8Array {
    return this.#buf.subarray(0, this.#at);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#buf.slice(0, this.#at);
  }
}
