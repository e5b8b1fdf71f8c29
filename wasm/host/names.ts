// Names of functions, from a module's section `name`: for messages only. What the section says is the
// module's own word, and a damaged one is no reason to refuse anything.

import { Reader } from "./reader.ts";
import { printable } from "./trap.ts";

const FUNCTION_NAMES = 1;
const MAX_NAMES = 20_000;

/** The name of function `index`, or its number. */
export function functionName(names: Uint8Array | null, index: number): string {
  if (names === null) return `number ${index}`;
  try {
    const reader = new Reader(names);
    while (!reader.done) {
      const id = reader.byte();
      const size = reader.u32();
      const end = reader.pos + size;
      if (id !== FUNCTION_NAMES) {
        reader.skip(size);
        continue;
      }
      const count = reader.count("names", MAX_NAMES);
      for (let i = 0; i < count && reader.pos < end; i++) {
        const of = reader.u32();
        const name = reader.name();
        if (of === index) return printable(name).slice(0, 100);
      }
      reader.pos = end;
    }
  } catch {
    // damaged: the number will do
  }
  return `number ${index}`;
}
