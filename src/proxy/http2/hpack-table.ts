// The tables of HPACK (RFC 7541 §2.3, appendix A): the static one, and the dynamic one as two rings,
// one of entries and one of bytes. Shared by decoder and encoder (hpack.ts); holds bytes, no strings.
// The encoder's has an index by hash, since it looks up every field of every block.

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

const NAME_SEED = 17;

/** Hash of a name, or of a field when it is continued over the value. */
function hash(seed: number, buf: Uint8Array, from: number, to: number): number {
  let h = seed;
  for (let i = from; i < to; i++) h = (Math.imul(h, 31) + (buf[i] as number)) | 0;
  return h;
}

/** Buckets of an index; a power of two. */
const BUCKETS = 256;

function bucketOf(h: number): number {
  return (h ^ (h >>> 8) ^ (h >>> 16)) & (BUCKETS - 1);
}

/** Static entries by field and by name: buckets of chains, as indexes from 1 on; 0 ends a chain. */
const staticByField = new Uint8Array(BUCKETS);
const staticByName = new Uint8Array(BUCKETS);
const staticNextByField = new Uint8Array(STATIC_COUNT + 1);
const staticNextByName = new Uint8Array(STATIC_COUNT + 1);
// from the last to the first, so that the first of a name is found first
for (let index = STATIC_COUNT; index >= 1; index--) {
  const k = (index - 1) * 3;
  const middle = staticSpans[k + 1] as number;
  const name = hash(NAME_SEED, staticBytes, staticSpans[k] as number, middle);
  const field = bucketOf(hash(name, staticBytes, middle, staticSpans[k + 2] as number));
  staticNextByField[index] = staticByField[field] as number;
  staticByField[field] = index;
  staticNextByName[index] = staticByName[bucketOf(name)] as number;
  staticByName[bucketOf(name)] = index;
}

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
  /** Entries ever added; the newest has this number, and lies in the slot of this modulo `#slots`. */
  #added = 0;
  /**
   * Entries by field, then by name: numbers of the newest in each bucket, then for each slot the number
   * of the next older one. A chain ends at a number that is no longer in the table, so that evicting
   * touches nothing. Null: not indexed.
   */
  readonly #index: Float64Array | null;
  // hashes of the field that `find` looked for last, which `add` takes over
  #nameHash = 0;
  #fieldHash = 0;

  /** `indexed`: `find` is used, and before each `add` with the same field. */
  constructor(capacity: number, indexed = false) {
    this.capacity = capacity;
    this.#max = capacity;
    this.#slots = Math.floor(capacity / ENTRY_OVERHEAD) + 1;
    this.#spans = new Int32Array(this.#slots * 3);
    this.#bytes = new Uint8Array(capacity * 2);
    this.#index = indexed ? new Float64Array((BUCKETS + this.#slots) * 2) : null;
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
    this.#newest = ++this.#added % this.#slots;
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
    const index = this.#index;
    if (index === null) return;
    this.#chain(index, bucketOf(this.#fieldHash), 2 * BUCKETS);
    this.#chain(index, BUCKETS + bucketOf(this.#nameHash), 2 * BUCKETS + this.#slots);
  }

  #chain(index: Float64Array, bucket: number, next: number): void {
    index[next + this.#newest] = index[bucket] as number;
    index[bucket] = this.#added;
  }

  /** Index of the field, or minus the index of one with its name, or 0. Of an indexed table only. */
  find(buf: Uint8Array, nameFrom: number, nameTo: number, from: number, to: number): number {
    const name = this.#nameHash = hash(NAME_SEED, buf, nameFrom, nameTo);
    const field = this.#fieldHash = hash(name, buf, from, to);
    for (let i = staticByField[bucketOf(field)] as number; i > 0;) {
      if (this.#isField(staticBytes, staticSpans, i - 1, buf, nameFrom, nameTo, from, to)) return i;
      i = staticNextByField[i] as number;
    }
    const index = this.#index as Float64Array;
    const oldest = this.#added - this.#count;
    const slots = this.#slots;
    for (let n = index[bucketOf(field)] as number; n > oldest;) {
      const slot = n % slots;
      if (this.#isField(this.#bytes, this.#spans, slot, buf, nameFrom, nameTo, from, to)) {
        return STATIC_COUNT + 1 + this.#added - n;
      }
      n = index[2 * BUCKETS + slot] as number;
    }
    for (let i = staticByName[bucketOf(name)] as number; i > 0;) {
      if (this.#isName(staticBytes, staticSpans, i - 1, buf, nameFrom, nameTo)) return -i;
      i = staticNextByName[i] as number;
    }
    for (let n = index[BUCKETS + bucketOf(name)] as number; n > oldest;) {
      const slot = n % slots;
      if (this.#isName(this.#bytes, this.#spans, slot, buf, nameFrom, nameTo)) {
        return -(STATIC_COUNT + 1 + this.#added - n);
      }
      n = index[2 * BUCKETS + slots + slot] as number;
    }
    return 0;
  }

  #isName(
    bytes: Uint8Array,
    spans: Int32Array,
    slot: number,
    buf: Uint8Array,
    nameFrom: number,
    nameTo: number,
  ): boolean {
    const at = spans[slot * 3] as number;
    return (spans[slot * 3 + 1] as number) - at === nameTo - nameFrom &&
      same(bytes, at, buf, nameFrom, nameTo);
  }

  #isField(
    bytes: Uint8Array,
    spans: Int32Array,
    slot: number,
    buf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    from: number,
    to: number,
  ): boolean {
    const middle = spans[slot * 3 + 1] as number;
    return (spans[slot * 3 + 2] as number) - middle === to - from &&
      this.#isName(bytes, spans, slot, buf, nameFrom, nameTo) &&
      same(bytes, middle, buf, from, to);
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
