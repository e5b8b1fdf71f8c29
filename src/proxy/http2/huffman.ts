// The Huffman code of HPACK (RFC 7541 appendix B): decoding by half bytes with a table made once,
// encoding by shifts. Below hpack.ts; bounded by the destination; never throws on hostile bytes.

/** Code length in bits of each byte, then of EOS. The code is canonical, so lengths say it all. */
// deno-fmt-ignore
const LENGTHS = Uint8Array.of(
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
);
const EOS = 256;
const CODES = new Uint32Array(257);

// Decoding walks the code's tree four bits at a time. A state is an inner node; an entry holds the
// next state, whether a byte came out (no code is shorter than five bits, so at most one) and it.
const STATES = 256;
const EMITS = 1 << 16;
const BAD = 1 << 17;
const STEPS = new Int32Array(STATES * 16);
/** States in which a string may end: at most seven bits into the all-ones code of EOS. */
const MAY_END = new Uint8Array(STATES);

function build(): void {
  const order = Array.from(LENGTHS.keys());
  order.sort((a, b) => (LENGTHS[a] as number) - (LENGTHS[b] as number) || a - b);
  // tree: child of node n by bit b; leaves are stored as ~symbol
  const tree = new Int32Array(STATES * 2);
  let nodes = 1;
  let code = 0;
  let before = 0;
  for (const symbol of order) {
    const length = LENGTHS[symbol] as number;
    code <<= length - before;
    before = length;
    CODES[symbol] = code;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const at = node * 2 + ((code >>> bit) & 1);
      if (tree[at] === 0) tree[at] = nodes++;
      node = tree[at] as number;
    }
    tree[node * 2 + (code & 1)] = ~symbol;
    code++;
  }
  for (let state = 0; state < nodes; state++) {
    for (let half = 0; half < 16; half++) {
      let node = state;
      let flags = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = tree[node * 2 + ((half >>> bit) & 1)] as number;
        if (next >= 0) {
          node = next;
        } else if (~next === EOS) {
          flags = BAD;
          break;
        } else {
          flags = EMITS | (~next << 8);
          node = 0;
        }
      }
      STEPS[state * 16 + half] = flags | node;
    }
  }
  let node = 0;
  for (let bits = 0; bits < 8; bits++) {
    MAY_END[node] = 1;
    node = tree[node * 2 + 1] as number;
  }
}
build();

/**
 * Decodes `src[from..to)` into `dst` from `at` on; the end of what was written, or -1.
 *
 * -1 when EOS is inside, the padding is not the beginning of EOS or is longer than seven bits
 * (RFC 7541 §5.2), or `dst` is too short.
 */
export function huffmanDecode(
  src: Uint8Array,
  from: number,
  to: number,
  dst: Uint8Array,
  at: number,
): number {
  let state = 0;
  for (let i = from; i < to; i++) {
    const byte = src[i] as number;
    let step = STEPS[state * 16 + (byte >>> 4)] as number;
    if (step >= EMITS) {
      if (step >= BAD || at >= dst.length) return -1;
      dst[at++] = (step >>> 8) & 0xff;
    }
    step = STEPS[(step & 0xff) * 16 + (byte & 15)] as number;
    if (step >= EMITS) {
      if (step >= BAD || at >= dst.length) return -1;
      dst[at++] = (step >>> 8) & 0xff;
    }
    state = step & 0xff;
  }
  return MAY_END[state] === 1 ? at : -1;
}

/** How many bytes `src[from..to)` takes encoded. */
export function huffmanLength(src: Uint8Array, from: number, to: number): number {
  let bits = 0;
  for (let i = from; i < to; i++) bits += LENGTHS[src[i] as number] as number;
  return (bits + 7) >>> 3;
}

/** Encodes `src[from..to)` into `dst` from `at` on, which must have room; the end. */
export function huffmanEncode(
  src: Uint8Array,
  from: number,
  to: number,
  dst: Uint8Array,
  at: number,
): number {
  let held = 0;
  let bits = 0;
  for (let i = from; i < to; i++) {
    const symbol = src[i] as number;
    let left = LENGTHS[symbol] as number;
    const code = CODES[symbol] as number;
    // a byte at a time, so that never more than 15 bits are held
    while (left > 0) {
      const take = left < 8 ? left : 8;
      left -= take;
      held = ((held << take) | ((code >>> left) & ((1 << take) - 1))) & 0xffff;
      bits += take;
      if (bits >= 8) {
        bits -= 8;
        dst[at++] = (held >>> bits) & 0xff;
      }
    }
  }
  if (bits > 0) dst[at++] = ((held << (8 - bits)) | ((1 << (8 - bits)) - 1)) & 0xff;
  return at;
}
