// Which endpoint a key belongs to: consistent hashing with bounded loads. The ring is made at target
// rate when the endpoints change; picking allocates nothing. `balance.ts` asks, `hash-key.ts` makes the key.
//
// Ring: Karger et al., «Consistent Hashing and Random Trees» (STOC 1997), with as many points for each
// endpoint as ketama has. Bound: Mirrokni, Thorup, Zadimoghaddam, «Consistent Hashing with Bounded
// Loads» (SODA 2018): an endpoint that has more than its share of what is pending is passed over, and
// the walk goes on along the ring. Points depend on the endpoint's address and weight alone, so that
// every proxy has the same ring and a change of one endpoint moves its keys and no others.

import type { EndpointState } from "./endpoint.ts";
import type { PendingCount } from "./peak-ewma.ts";

/** Points of an endpoint with the usual weight of 10000. */
const POINTS = 160;
const USUAL_WEIGHT = 10_000;
/** A weight counts up to so many times the usual one. */
const MAX_TIMES = 16;
/** Of a whole ring; past it every endpoint has fewer. */
const MAX_RING = 1 << 18;
/** An endpoint may have so many times its fair share of what is pending. */
const BALANCE = 1.25;
/** No endpoint is passed over before so many requests wait for it: few are no load. */
const FREE = 8;
/** Points that a walk looks at. With a tenth of the endpoints usable, one in 1e190 ends here. */
const MAX_WALK = 4096;
/** Attempts that go to another endpoint each; later ones may meet an earlier one's again. */
const MAX_SKIP = 8;
/** Indexes share a number with their hash: 32 + 20 bits. */
const INDEX = 1 << 20;

export class HashRing {
  readonly #endpoints: readonly EndpointState[];
  readonly #pending: PendingCount;
  /** Ascending, with the endpoint of each. */
  readonly #hashes: Uint32Array;
  readonly #owners: Uint32Array;
  /** Of the sum of weights, for each endpoint. */
  readonly #shares: Float64Array;
  /** Of one pick: those of earlier attempts. */
  readonly #skipped = new Int32Array(MAX_SKIP);
  /** Whether the last pick was not the key's first endpoint. */
  moved = false;

  /** `pending` counts those of `endpoints`, of which there may be none. */
  constructor(endpoints: readonly EndpointState[], pending: PendingCount) {
    // By address, so that the order in which they were heard of does not matter.
    const sorted = endpoints.toSorted((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
      .slice(0, INDEX);
    const times = sorted.map(({ endpoint: { weight } }) =>
      Math.min(MAX_TIMES, Math.max(1 / POINTS, weight / USUAL_WEIGHT))
    );
    const sum = times.reduce((a, b) => a + b, 0);
    let each = POINTS;
    while (each > 1 && sum * each > MAX_RING) each /= 2;
    const counts = times.map((t) => Math.max(1, Math.round(t * each)));
    const points = new Float64Array(counts.reduce((a, b) => a + b, 0));
    let at = 0;
    for (const [i, { name }] of sorted.entries()) {
      const base = hashText(name, 0);
      const step = hashText(name, 0x9e3779b9) | 1;
      for (let k = 0; k < (counts[i] as number); k++) {
        points[at++] = mix(base + Math.imul(step, k)) * INDEX + i;
      }
    }
    points.sort();
    this.#endpoints = sorted;
    this.#pending = pending;
    this.#hashes = Uint32Array.from(points, (p) => Math.floor(p / INDEX));
    this.#owners = Uint32Array.from(points, (p) => p % INDEX);
    this.#shares = Float64Array.from(times, (t) => t / sum);
  }

  /**
   * The endpoint of a key at this moment: the first along the ring that is not ejected, can be reached
   * and has room, after passing over `skip` others, which are those of earlier attempts. Null: all are
   * ejected, or there are none.
   */
  pick(hash: number, skip: number, nowMs: number): EndpointState | null {
    const n = this.#hashes.length;
    this.moved = false;
    if (n === 0) return null;
    const want = Math.min(skip, this.#endpoints.length - 1, MAX_SKIP);
    let skipped = 0;
    let at = this.#from(hash);
    const first = this.#owners[at] as number;
    let last = -1;
    let full: EndpointState | null = null;
    let away: EndpointState | null = null;
    const walk = n < MAX_WALK ? n : MAX_WALK;
    for (let i = 0; i < walk; i++) {
      const owner = this.#owners[at] as number;
      at = at + 1 === n ? 0 : at + 1;
      if (owner === last) continue;
      last = owner;
      const endpoint = this.#endpoints[owner] as EndpointState;
      if (endpoint.isEjected(nowMs)) continue;
      if (this.#isSkipped(owner, skipped)) continue;
      if (skipped < want) {
        this.#skipped[skipped++] = owner;
        // Better than none, when the walk finds no other.
        away ??= endpoint;
        continue;
      }
      if (endpoint.isAway(nowMs)) {
        away ??= endpoint;
        continue;
      }
      if (!this.#hasRoom(owner, endpoint)) {
        full ??= endpoint;
        continue;
      }
      this.moved = owner !== first;
      return endpoint;
    }
    // Those with room are ejected or away: the rest takes more than its share.
    const chosen = full ?? away;
    this.moved = chosen !== this.#endpoints[first];
    return chosen;
  }

  #isSkipped(owner: number, n: number): boolean {
    for (let i = 0; i < n; i++) if (this.#skipped[i] === owner) return true;
    return false;
  }

  /** Whether one request more leaves it within its bound. */
  #hasRoom(owner: number, { ewma }: EndpointState): boolean {
    if (ewma.pending < FREE) return true;
    const share = this.#shares[owner] as number;
    return ewma.pending < Math.ceil(BALANCE * share * (this.#pending.count + 1));
  }

  /** The first point at or after the hash; past the last it begins anew. */
  #from(hash: number): number {
    let lo = 0;
    let hi = this.#hashes.length;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if ((this.#hashes[mid] as number) < hash) lo = mid + 1;
      else hi = mid;
    }
    return lo === this.#hashes.length ? 0 : lo;
  }
}

/** MurmurHash3's finalizer: every bit of the input changes half of the output's. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Another hash of the same key. */
export function again(hash: number): number {
  return mix(hash ^ 0x5bd1e995);
}

/** FNV-1a with a good last step, over bytes; an unsigned 32-bit number. The same as of their text. */
export function hashBytes(buf: Uint8Array, from: number, to: number, seed = 0): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = from; i < to; i++) h = Math.imul(h ^ (buf[i] as number), 0x01000193);
  return mix(h);
}

/** As `hashBytes`, over text with one code unit per byte. */
export function hashText(text: string, seed = 0): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h);
}
