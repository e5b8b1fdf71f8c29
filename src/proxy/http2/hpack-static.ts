// The static table of HPACK (RFC 7541 appendix A), and its entries by hash. Bytes only: hpack-field.ts
// makes objects of them.

const STATIC: readonly (readonly [string, string])[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
];

/** Entries of the static table; the dynamic one begins after them. */
export const STATIC_COUNT = STATIC.length;

/** All entries, one after the other: name, value. */
export const staticBytes = Uint8Array.from(
  STATIC.map(([name, value]) => name + value).join(""),
  (c) => c.charCodeAt(0),
);

/** Three numbers an entry: where it begins, where its value begins, where it ends. */
export const staticSpans = new Int32Array(STATIC_COUNT * 3);
STATIC.reduce((at, [name, value], i) => {
  staticSpans.set([at, at + name.length, at + name.length + value.length], i * 3);
  return at + name.length + value.length;
}, 0);

/** What the hash of a name begins with; a field's continues its name's over the value. */
export const NAME_SEED = 17;

/** Hash of a name, or of a field when `seed` is its name's. */
export function hashOf(seed: number, buf: Uint8Array, from: number, to: number): number {
  let h = seed;
  for (let i = from; i < to; i++) h = (Math.imul(h, 31) + (buf[i] as number)) | 0;
  return h;
}

/** Buckets of an index; a power of two. */
export const BUCKETS = 256;

export function bucketOf(h: number): number {
  return (h ^ (h >>> 8) ^ (h >>> 16)) & (BUCKETS - 1);
}

/** Entries by field and by name: buckets of chains, as indexes from 1 on; 0 ends a chain. */
const byField = new Uint8Array(BUCKETS);
const byName = new Uint8Array(BUCKETS);
const nextByField = new Uint8Array(STATIC_COUNT + 1);
const nextByName = new Uint8Array(STATIC_COUNT + 1);
// from the last to the first, so that the first of a name is found first
for (let index = STATIC_COUNT; index >= 1; index--) {
  const k = (index - 1) * 3;
  const middle = staticSpans[k + 1] as number;
  const name = hashOf(NAME_SEED, staticBytes, staticSpans[k] as number, middle);
  const field = bucketOf(hashOf(name, staticBytes, middle, staticSpans[k + 2] as number));
  nextByField[index] = byField[field] as number;
  byField[field] = index;
  nextByName[index] = byName[bucketOf(name)] as number;
  byName[bucketOf(name)] = index;
}

/** Index of the field with that hash, or 0. */
export function findStatic(
  hash: number,
  buf: Uint8Array,
  nameFrom: number,
  nameTo: number,
  from: number,
  to: number,
): number {
  let i = byField[bucketOf(hash)] as number;
  while (i > 0) {
    const middle = staticSpans[i * 3 - 2] as number;
    const length = (staticSpans[i * 3 - 1] as number) - middle;
    if (length === to - from && isName(i, buf, nameFrom, nameTo) && is(middle, buf, from, to)) {
      break;
    }
    i = nextByField[i] as number;
  }
  return i;
}

/** Index of the first field whose name has that hash, or 0. */
export function findStaticName(hash: number, buf: Uint8Array, from: number, to: number): number {
  let i = byName[bucketOf(hash)] as number;
  while (i > 0 && !isName(i, buf, from, to)) i = nextByName[i] as number;
  return i;
}

function isName(index: number, buf: Uint8Array, from: number, to: number): boolean {
  const at = staticSpans[index * 3 - 3] as number;
  return (staticSpans[index * 3 - 2] as number) - at === to - from && is(at, buf, from, to);
}

function is(at: number, buf: Uint8Array, from: number, to: number): boolean {
  while (from < to) if (staticBytes[at++] !== buf[from++]) return false;
  return true;
}
