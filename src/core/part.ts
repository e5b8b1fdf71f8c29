// Parts of large buffers that everybody shares, such as the one that sockets are read into: what comes is
// often of the same length as what came before, and a view of it need not be made again. Garbage on the
// path of every request would be a pause for all of them.

const SIZE = 64;
/** Smaller buffers are their owners' own, and are not kept alive here. */
const SHARED_BYTES = 64 * 1024;

const buffers: (Uint8Array | null)[] = new Array(SIZE).fill(null);
const views: Uint8Array[] = new Array(SIZE).fill(new Uint8Array(0));
const starts = new Int32Array(SIZE);

/** `buf.subarray(from, to)`, to be read at once and not kept. */
export function part(buf: Uint8Array, from: number, to: number): Uint8Array {
  if (buf.length < SHARED_BYTES) return buf.subarray(from, to);
  const i = (to - from) & (SIZE - 1);
  const known = views[i] as Uint8Array;
  if (buffers[i] === buf && starts[i] === from && known.length === to - from) return known;
  const made = buf.subarray(from, to);
  buffers[i] = buf;
  starts[i] = from;
  views[i] = made;
  return made;
}
