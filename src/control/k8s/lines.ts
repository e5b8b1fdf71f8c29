// A watch's body as lines: one JSON object each. Lines that arrive together are handed on together, so
// that what changed at once is told at once.

const LF = 10;

/**
 * Splits at line feeds; empty lines are left out. Throws when a line is over `maxBytes`. What follows
 * the last line feed was cut off and is dropped.
 */
export async function* lines(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<readonly string[]> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    const found: string[] = [];
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      parts.push(chunk.subarray(from, at));
      check(size + at - from, maxBytes);
      const text = join(parts);
      if (text !== "") found.push(text);
      parts = [];
      size = 0;
      from = at + 1;
    }
    if (from < chunk.length) {
      // A copy: the chunk may be a large one that this would keep alive.
      parts.push(chunk.slice(from));
      size += chunk.length - from;
      check(size, maxBytes);
    }
    if (found.length > 0) yield found;
  }
}

function check(size: number, maxBytes: number): void {
  if (size > maxBytes) throw new Error(`a line of the answer is over ${maxBytes} bytes`);
}

function join(parts: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  return parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
}
