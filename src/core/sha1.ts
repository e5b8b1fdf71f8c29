// SHA-1 (RFC 3174) of short texts, at once and without the runtime: what a WebSocket's handshake is
// confirmed with (RFC 6455 §4.2.2). It proves nothing to anybody, so that its weakness harms nobody.

/** The 20 bytes of the digest. `text` has one code unit per byte. */
export function sha1(text: string): Uint8Array {
  const blocks = ((text.length + 8) >>> 6) + 1;
  const words = new Int32Array(blocks * 16);
  for (let i = 0; i < text.length; i++) {
    words[i >>> 2] = at(words, i >>> 2) | (text.charCodeAt(i) << (24 - 8 * (i & 3)));
  }
  words[text.length >>> 2] = at(words, text.length >>> 2) | (0x80 << (24 - 8 * (text.length & 3)));
  words[blocks * 16 - 1] = text.length * 8;
  const h = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
  const w = new Int32Array(80);
  for (let block = 0; block < words.length; block += 16) {
    for (let t = 0; t < 16; t++) w[t] = at(words, block + t);
    for (let t = 16; t < 80; t++) {
      w[t] = rotate(at(w, t - 3) ^ at(w, t - 8) ^ at(w, t - 14) ^ at(w, t - 16), 1);
    }
    let [a, b, c, d, e] = [at(h, 0), at(h, 1), at(h, 2), at(h, 3), at(h, 4)];
    for (let t = 0; t < 80; t++) {
      const [f, k] = t < 20
        ? [(b & c) | (~b & d), 0x5a827999]
        : t < 40
        ? [b ^ c ^ d, 0x6ed9eba1]
        : t < 60
        ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
        : [b ^ c ^ d, 0xca62c1d6];
      const next = (rotate(a, 5) + f + e + at(w, t) + k) | 0;
      [a, b, c, d, e] = [next, a, rotate(b, 30), c, d];
    }
    [a, b, c, d, e].forEach((value, i) => (h[i] = (at(h, i) + value) | 0));
  }
  const out = new Uint8Array(20);
  for (let i = 0; i < 20; i++) out[i] = at(h, i >>> 2) >>> (24 - 8 * (i & 3));
  return out;
}

function at(words: Int32Array, i: number): number {
  return words[i] as number;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
