// A field of HPACK's tables (RFC 7541 §2.3): an object whose bytes were read and checked once. It
// carries what reading and writing a head need of it – its rule, its hash, where the last table that was
// asked keeps it –, so that a field which came by its index goes out by its index, unread.

import { Field } from "../../core/field.ts";
import { copy } from "./field-bytes.ts";
import { fits, kindOf, NEVER_INDEX, type Rule, ruleOf, wayOf } from "./field-rules.ts";
import {
  findStatic,
  findStaticName,
  hashOf,
  NAME_SEED,
  STATIC_COUNT,
  staticBytes,
  staticSpans,
} from "./hpack-static.ts";
import { huffmanString, stringRoom } from "./hpack-string.ts";

/** What the size of an entry counts beside its bytes (RFC 7541 §4.1). */
export const ENTRY_OVERHEAD = 32;
/** What a line has beside name and value. */
const LINE_EXTRA = 4;
const HOST = Uint8Array.from("host: ", (c) => c.charCodeAt(0));

export class HpackField extends Field {
  readonly hash: number;
  readonly nameHash: number;
  readonly rule: Rule;
  /** Name and value may stand in a message. */
  readonly fits: boolean;
  /** Its index in the static table, or 0. */
  readonly index: number;
  /** The index of its name there, or 0. */
  readonly nameIndex: number;
  /** The table that was asked last, and the how-manieth entry it was there. */
  table = 0;
  added = 0;
  #packed: Uint8Array | null = null;
  #host: Field | null = null;

  constructor(line: Uint8Array, nameTo: number, nameHash: number, hash: number) {
    super(line, nameTo);
    const { valueFrom, valueTo } = this;
    this.nameHash = nameHash;
    this.hash = hash;
    this.rule = ruleOf(line, 0, nameTo);
    this.fits = fits(kindOf(this.rule), line, valueFrom, valueTo);
    this.index = findStatic(hash, line, 0, nameTo, valueFrom, valueTo);
    this.nameIndex = findStaticName(nameHash, line, 0, nameTo);
  }

  /** What it weighs in a table (RFC 7541 §4.1). */
  get weight(): number {
    return this.line.length - LINE_EXTRA + ENTRY_OVERHEAD;
  }

  /** The Host field with the same value: what HTTP/1 and filters know an authority as. */
  host(): Field {
    if (this.#host !== null) return this.#host;
    const line = new Uint8Array(HOST.length + this.line.length - this.valueFrom);
    line.set(HOST);
    line.set(this.line.subarray(this.valueFrom), HOST.length);
    return this.#host = new Field(line, HOST.length - 2);
  }

  /** Its value as a string of HPACK (§5.2), kept: asked for where no table may have the field. */
  packed(): Uint8Array {
    if (this.#packed !== null) return this.#packed;
    const { line, valueFrom, valueTo } = this;
    const room = new Uint8Array(stringRoom(valueTo - valueFrom));
    return this.#packed = room.slice(0, huffmanString(line, valueFrom, valueTo, room, 0));
  }
}

// Connections of one program say the same fields: they share the objects, and with them where a table
// keeps them. Direct-mapped, so bounded: a collision only makes an object again. Secrets are not kept.
const SLOTS = 1024;
const MAX_SHARED_BYTES = 256;
const shared: (HpackField | null)[] = new Array(SLOTS).fill(null);

/** The field of these bytes. Takes none of them. */
export function hpackField(
  nameBuf: Uint8Array,
  nameFrom: number,
  nameTo: number,
  buf: Uint8Array,
  from: number,
  to: number,
): HpackField {
  const nameHash = hashOf(NAME_SEED, nameBuf, nameFrom, nameTo);
  const hash = hashOf(nameHash, buf, from, to);
  const slot = (hash ^ (hash >>> 10) ^ (hash >>> 20)) & (SLOTS - 1);
  const one = shared[slot] as HpackField | null;
  if (one !== null && one.hash === hash && says(one, nameBuf, nameFrom, nameTo, buf, from, to)) {
    return one;
  }
  const length = nameTo - nameFrom;
  const line = new Uint8Array(length + to - from + LINE_EXTRA);
  copy(nameBuf, nameFrom, nameTo, line, 0);
  line[length] = 58;
  line[length + 1] = 32;
  const end = copy(buf, from, to, line, length + 2);
  line[end] = 13;
  line[end + 1] = 10;
  const made = new HpackField(line, length, nameHash, hash);
  if (line.length <= MAX_SHARED_BYTES && wayOf(made.rule) !== NEVER_INDEX) shared[slot] = made;
  return made;
}

/** The field of these strings, one code unit per byte; the name in lower case. */
export function constantField(name: string, value: string): HpackField {
  const bytes = Uint8Array.from(name + value, (c) => c.charCodeAt(0));
  return hpackField(bytes, 0, name.length, bytes, name.length, bytes.length);
}

/** Whether the field is of these bytes. */
export function says(
  field: HpackField,
  nameBuf: Uint8Array,
  nameFrom: number,
  nameTo: number,
  buf: Uint8Array,
  from: number,
  to: number,
): boolean {
  const { line, valueFrom } = field;
  if (field.nameTo !== nameTo - nameFrom || field.valueTo - valueFrom !== to - from) return false;
  if (line === nameBuf && line === buf) return true;
  return isAt(line, 0, nameBuf, nameFrom, nameTo) && isAt(line, valueFrom, buf, from, to);
}

/** Whether the field's name is of these bytes. */
export function isNamed(field: HpackField, buf: Uint8Array, from: number, to: number): boolean {
  return field.nameTo === to - from && isAt(field.line, 0, buf, from, to);
}

function isAt(line: Uint8Array, at: number, buf: Uint8Array, from: number, to: number): boolean {
  while (from < to) if (line[at++] !== buf[from++]) return false;
  return true;
}

/** The static table, from index 1 on. */
export const STATIC_FIELDS: readonly HpackField[] = Array.from(
  { length: STATIC_COUNT },
  (_, i) => {
    const [from, middle, to] = staticSpans.subarray(i * 3, i * 3 + 3) as unknown as number[];
    return hpackField(
      staticBytes,
      from as number,
      middle as number,
      staticBytes,
      middle as number,
      to as number,
    );
  },
);
