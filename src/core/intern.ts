// Bytes to strings without garbage: the few hundred values that traffic repeats (methods, paths,
// hosts, header values) are made once. A direct-mapped cache: a collision only makes a string again.

const SIZE = 4096;
const MAX_BYTES = 128;
const cache: string[] = new Array(SIZE).fill("");

/** The string with one code unit per byte of `buf[from..to)`. */
export function internLatin1(buf: Uint8Array, from: number, to: number): string {
  const length = to - from;
  if (length <= 0) return "";
  if (length > MAX_BYTES) return latin1(buf, from, to);
  let hash = length;
  for (let i = from; i < to; i++) hash = (Math.imul(hash, 31) + (buf[i] as number)) | 0;
  hash ^= hash >>> 15;
  const slot = hash & (SIZE - 1);
  const known = cache[slot] as string;
  if (known.length === length) {
    let i = 0;
    while (i < length && known.charCodeAt(i) === buf[from + i]) i++;
    if (i === length) return known;
  }
  const made = latin1(buf, from, to);
  cache[slot] = made;
  return made;
}

/** As `internLatin1`, never kept. */
export function latin1(buf: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let at = from; at < to; at += 4096) {
    text += String.fromCharCode(...buf.subarray(at, Math.min(to, at + 4096)));
  }
  return text;
}

/** Writes the low byte of each code unit; returns where it ended. The caller made room. */
export function writeLatin1(text: string, buf: Uint8Array, at: number): number {
  for (let i = 0; i < text.length; i++) buf[at + i] = text.charCodeAt(i);
  return at + text.length;
}
