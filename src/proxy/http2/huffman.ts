// The Huffman code of HPACK (RFC 7541 appendix B): decoding by a table of the short codes, which nearly
// all text is made of, encoding by shifts. Below the HPACK coders; bounded by the destination; never
// throws on hostile bytes.

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

/** Bits that are looked at together. */
const ROOT_BITS = 8;
/** By the next eight bits: length and symbol of the code that begins there, or 0: it is longer. */
const ROOT = new Uint16Array(1 << ROOT_BITS);
const MAX_LENGTH = 30;
/** The code is canonical: codes of one length follow each other, in the order of `ORDER`. */
const ORDER: readonly number[] = Array.from(LENGTHS.keys()).sort((a, b) =>
  (LENGTHS[a] as number) - (LENGTHS[b] as number) || a - b
);
/** By length: the first code, how many there are, and where they begin in `ORDER`. */
const FIRST = new Int32Array(MAX_LENGTH + 1);
const COUNT = new Int32Array(MAX_LENGTH + 1);
const BEGIN = new Int32Array(MAX_LENGTH + 1);

function build(): void {
  let code = 0;
  let before = 0;
  for (const [at, symbol] of ORDER.entries()) {
    const length = LENGTHS[symbol] as number;
    code <<= length - before;
    if (length !== before) {
      FIRST[length] = code;
      BEGIN[length] = at;
    }
    before = length;
    COUNT[length] = (COUNT[length] as number) + 1;
    CODES[symbol] = code;
    const spare = ROOT_BITS - length;
    if (spare >= 0) ROOT.fill((length << 8) | symbol, code << spare, (code + 1) << spare);
    code++;
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
  const room = dst.length;
  let held = 0; // the low `bits` bits are not used up yet
  let bits = 0;
  let i = from;
  for (;;) {
    if (bits < ROOT_BITS) {
      if (i === to) break;
      held = ((held << 8) | (src[i++] as number)) & 0xffff;
      bits += 8;
    }
    const code = ROOT[(held >>> (bits - ROOT_BITS)) & 0xff] as number;
    if (code === 0) {
      const position = decodeLong(src, i * 8 - bits, to * 8);
      if (position < 0 || at >= room) return -1;
      dst[at++] = symbolOfLong;
      i = (position + 7) >>> 3;
      bits = i * 8 - position;
      held = bits > 0 ? src[i - 1] as number : 0;
      continue;
    }
    if (at >= room) return -1;
    dst[at++] = code & 0xff;
    bits -= code >>> 8;
  }
  // the last codes are followed by less than eight bits of EOS, which are ones
  for (;;) {
    const ones = (1 << (ROOT_BITS - bits)) - 1;
    const code = ROOT[((held << (ROOT_BITS - bits)) | ones) & 0xff] as number;
    if (code === 0 || code >>> 8 > bits) break;
    if (at >= room) return -1;
    dst[at++] = code & 0xff;
    bits -= code >>> 8;
  }
  const padding = (1 << bits) - 1;
  return (held & padding) === padding ? at : -1;
}

let symbolOfLong = 0;

/** Reads a code of more than eight bits from bit `at` on; the bit after it, or -1. */
function decodeLong(src: Uint8Array, at: number, end: number): number {
  let code = 0;
  for (let length = 1; length <= MAX_LENGTH && at < end; length++, at++) {
    code = (code << 1) | (((src[at >>> 3] as number) >>> (7 - (at & 7))) & 1);
    const nth = code - (FIRST[length] as number);
    if (length > ROOT_BITS && nth >= 0 && nth < (COUNT[length] as number)) {
      symbolOfLong = ORDER[(BEGIN[length] as number) + nth] as number;
      return symbolOfLong === EOS ? -1 : at + 1;
    }
  }
  return -1;
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
