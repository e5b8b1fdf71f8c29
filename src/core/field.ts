// A header field that never changes, as HTTP/2's tables keep them: one object for its bytes, its strings
// and what a codec knows of it, however many heads it stands in.

import { latin1 } from "./intern.ts";

/** One field; shared, never written to. */
export class Field {
  /** `name: value` and a line's end, as HTTP/1 writes it; the name in lower case. */
  readonly line: Uint8Array;
  /** Where the name ends; it begins at 0. */
  readonly nameTo: number;
  readonly valueFrom: number;
  readonly valueTo: number;
  #name: string | null = null;
  #value: string | null = null;

  constructor(line: Uint8Array, nameTo: number) {
    this.line = line;
    this.nameTo = nameTo;
    this.valueFrom = nameTo + 2;
    this.valueTo = line.length - 2;
  }

  /** The name, made when first asked for. */
  get name(): string {
    return this.#name ??= latin1(this.line, 0, this.nameTo);
  }

  /** The value, one code unit per byte, made when first asked for. */
  get value(): string {
    return this.#value ??= latin1(this.line, this.valueFrom, this.valueTo);
  }
}
