// The first record of a TLS connection, read just far enough to know the name that is asked for.
// Pure, bounds-checked; nothing is decrypted or trusted.

/** What a ClientHello asks for. */
export interface ClientHello {
  /** The SNI host name (RFC 6066 §3), or null when there is none. */
  readonly serverName: string | null;
}

/** The ClientHello at the start of `bytes`, or null when it is incomplete or not one (RFC 8446 §4.1.2). */
export function readClientHello(bytes: Uint8Array): ClientHello | null {
  // Join the handshake fragments of consecutive records.
  let hello = new Uint8Array(0);
  let at = 0;
  let want = 4;
  while (hello.length < want) {
    if (at + 5 > bytes.length || bytes[at] !== 0x16 || bytes[at + 1] !== 3) return null;
    const length = u16(bytes, at + 3);
    if (length === 0 || at + 5 + length > bytes.length) return null;
    const joined = new Uint8Array(hello.length + length);
    joined.set(hello);
    joined.set(bytes.subarray(at + 5, at + 5 + length), hello.length);
    hello = joined;
    at += 5 + length;
    if (hello.length >= 4) {
      if (hello[0] !== 1) return null;
      want = 4 + ((hello[1] as number) << 16) + u16(hello, 2);
    }
  }
  let p = 4 + 2 + 32; // version, random
  p += 1 + (hello[p] ?? 255); // session id
  if (p + 2 > want) return null;
  p += 2 + u16(hello, p); // cipher suites
  if (p + 1 > want) return null;
  p += 1 + (hello[p] as number); // compression
  if (p + 2 > want) return { serverName: null };
  const end = Math.min(want, p + 2 + u16(hello, p));
  p += 2;
  while (p + 4 <= end) {
    const type = u16(hello, p);
    const length = u16(hello, p + 2);
    p += 4;
    if (p + length > end) return { serverName: null };
    if (type === 0 && length >= 5 && hello[p + 2] === 0) {
      const size = u16(hello, p + 3);
      if (p + 5 + size > end) return { serverName: null };
      return { serverName: String.fromCharCode(...hello.subarray(p + 5, p + 5 + size)) };
    }
    p += length;
  }
  return { serverName: null };
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
