// The tables of HPACK (RFC 7541 §2.3, appendix A): the static one, and the dynamic one as two rings,
// one of entries and one of bytes. Shared by decoder and encoder (hpack.ts); holds bytes, no strings.

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

/** What the size of an entry counts beside its bytes (RFC 7541 §4.1). */
export const ENTRY_OVERHEAD = 32;

/** Where an entry is: in `bytes`, the name from `from` to `middle`, the value from there to `to`. */
export interface EntryAt {
  bytes: Uint8Array;
  from: number;
  middle: number;
  to: number;
}

/** All static entries, one after the other. */
const staticBytes = Uint8Array.from(
  STATIC.map(([name, value]) => name + value).join(""),
  (c) => c.charCodeAt(0),
);
const staticSpans = new Int32Array(STATIC_COUNT * 3);
STATIC.reduce((at, [name, value], i) => {
  staticSpans.set([at, at + name.length, at + name.length + value.length], i * 3);
  return at + name.length + value.length;
}, 0);

function same(a: Uint8Array, aFrom: number, b: Uint8Array, from: number, to: number): boolean {
  for (let i = from, k = aFrom; i < to; i++, k++) {
    if (a[k] !== b[i]) return false;
  }
  return true;
}

/** Static and dynamic table under one index, from 1 on. `capacity` bounds its memory for ever. */
export class HpackTable {
  readonly capacity: number;
  /** The most that entries may weigh now; at most `capacity`. */
  #max: number;
  #size = 0;
  #count = 0;
  /** Slot of the newest entry. */
  #newest = 0;
  readonly #slots: number;
  readonly #spans: Int32Array;
  /** Live entries lie together; when the end is reached they are moved to the front. */
  readonly #bytes: Uint8Array;
  #tail = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#max = capacity;
    this.#slots = Math.floor(capacity / ENTRY_OVERHEAD) + 1;
    this.#spans = new Int32Array(this.#slots * 3);
    this.#bytes = new Uint8Array(capacity * 2);
  }

  /** What the entries weigh (RFC 7541 §4.1). */
  get size(): number {
    return this.#size;
  }

  /** Dynamic entries. */
  get count(): number {
    return this.#count;
  }

  get max(): number {
    return this.#max;
  }

  /** Changes the bound, evicting what no longer fits. `max` is at most `capacity`. */
  resize(max: number): void {
    this.#max = Math.min(max, this.capacity);
    this.#evict(this.#max);
  }

  /** Points `into` at entry `index`; false when there is none. Valid until the next `add`. */
  at(index: number, into: EntryAt): boolean {
    if (index < 1 || index > STATIC_COUNT + this.#count) return false;
    const dynamic = index > STATIC_COUNT;
    const spans = dynamic ? this.#spans : staticSpans;
    const k = 3 * (dynamic ? this.#slot(index - STATIC_COUNT - 1) : index - 1);
    into.bytes = dynamic ? this.#bytes : staticBytes;
    into.from = spans[k] as number;
    into.middle = spans[k + 1] as number;
    into.to = spans[k + 2] as number;
    return true;
  }

  /** Adds a field whose bytes are not in this table. One over the bound empties it (§4.4). */
  add(buf: Uint8Array, nameFrom: number, nameTo: number, from: number, to: number): void {
    const length = nameTo - nameFrom + to - from;
    const weight = length + ENTRY_OVERHEAD;
    if (weight > this.#max) return this.#evict(0);
    this.#evict(this.#max - weight);
    if (this.#tail + length > this.#bytes.length) this.#compact();
    this.#newest = (this.#newest + 1) % this.#slots;
    const at = this.#tail;
    const middle = at + nameTo - nameFrom;
    for (let i = nameFrom, k = at; i < nameTo; i++, k++) this.#bytes[k] = buf[i] as number;
    for (let i = from, k = middle; i < to; i++, k++) this.#bytes[k] = buf[i] as number;
    this.#tail = at + length;
    const k = this.#newest * 3;
    this.#spans[k] = at;
    this.#spans[k + 1] = middle;
    this.#spans[k + 2] = this.#tail;
    this.#count++;
    this.#size += weight;
  }

  /** Index of the field, or minus the index of one with its name, or 0. */
  find(buf: Uint8Array, nameFrom: number, nameTo: number, from: number, to: number): number {
    let named = 0;
    for (let index = 1; index <= STATIC_COUNT + this.#count; index++) {
      const dynamic = index > STATIC_COUNT;
      const bytes = dynamic ? this.#bytes : staticBytes;
      const spans = dynamic ? this.#spans : staticSpans;
      const k = 3 * (dynamic ? this.#slot(index - STATIC_COUNT - 1) : index - 1);
      const at = spans[k] as number;
      const middle = spans[k + 1] as number;
      if (middle - at !== nameTo - nameFrom || !same(bytes, at, buf, nameFrom, nameTo)) continue;
      if (named === 0) named = index;
      if ((spans[k + 2] as number) - middle === to - from && same(bytes, middle, buf, from, to)) {
        return index;
      }
    }
    return -named;
  }

  /** Slot of the dynamic entry that is `age` entries older than the newest. */
  #slot(age: number): number {
    return (this.#newest - age + this.#slots) % this.#slots;
  }

  #evict(max: number): void {
    while (this.#size > max) {
      const k = 3 * this.#slot(this.#count - 1);
      this.#size -= (this.#spans[k + 2] as number) - (this.#spans[k] as number) + ENTRY_OVERHEAD;
      this.#count--;
    }
    if (this.#count === 0) this.#tail = 0;
  }

  #compact(): void {
    const start = this.#spans[3 * this.#slot(this.#count - 1)] as number;
    this.#bytes.copyWithin(0, start, this.#tail);
    for (let age = 0; age < this.#count; age++) {
      const k = 3 * this.#slot(age);
      for (let j = k; j < k + 3; j++) this.#spans[j] = (this.#spans[j] as number) - start;
    }
    this.#tail -= start;
  }
}
