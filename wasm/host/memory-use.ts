// How much of its memory a guest has, for the reason of a trap.

import { DEFAULT_MEMORY_PAGES } from "./rewrite.ts";
import type { MemoryUse } from "./trap.ts";

const PAGE_BYTES = 65_536;

/** `maxPages` 0: the default. Null: the guest has no memory. */
export function memoryUse(memory: WebAssembly.Memory | null, maxPages: number): MemoryUse | null {
  if (memory === null) return null;
  const pages = memory.buffer.byteLength / PAGE_BYTES;
  return { pages, maxPages: maxPages === 0 ? DEFAULT_MEMORY_PAGES : maxPages };
}
