// Which instructions a module may use and what follows each of them. Unknown is refused, and what is
// known but not allowed is refused by the name of its feature.

import type { Reader } from "./reader.ts";

/** What follows an opcode. */
const NONE = 0;
const BLOCK = 1;
const INDEX = 2;
const BR_TABLE = 3;
const INDEX_TWICE = 4;
const MEMARG = 5;
const CONST32 = 6;
const CONST64 = 7;
const FLOAT32 = 8;
const FLOAT64 = 9;
const REF_NULL = 10;
const SELECT = 11;
const MISC = 12;
const VECTOR = 13;
const ZERO = 14;
const REFUSED = 15;

const FOLLOWS = new Uint8Array(256).fill(REFUSED);
const allow = (from: number, to: number, follows: number) => FOLLOWS.fill(follows, from, to + 1);
allow(0x00, 0x01, NONE); // unreachable, nop
allow(0x02, 0x04, BLOCK); // block, loop, if
allow(0x05, 0x05, NONE); // else
allow(0x0b, 0x0b, NONE); // end
allow(0x0c, 0x0d, INDEX); // br, br_if
allow(0x0e, 0x0e, BR_TABLE);
allow(0x0f, 0x0f, NONE); // return
allow(0x10, 0x10, INDEX); // call
allow(0x11, 0x11, INDEX_TWICE); // call_indirect
allow(0x12, 0x12, INDEX); // return_call
allow(0x13, 0x13, INDEX_TWICE); // return_call_indirect
allow(0x1a, 0x1b, NONE); // drop, select
allow(0x1c, 0x1c, SELECT);
allow(0x20, 0x26, INDEX); // locals, globals, table.get, table.set
allow(0x28, 0x3e, MEMARG); // loads and stores
allow(0x3f, 0x40, ZERO); // memory.size, memory.grow
allow(0x41, 0x41, CONST32);
allow(0x42, 0x42, CONST64);
allow(0x43, 0x43, FLOAT32);
allow(0x44, 0x44, FLOAT64);
allow(0x45, 0xc4, NONE); // comparison, arithmetic, conversion, sign extension
allow(0xd0, 0xd0, REF_NULL);
allow(0xd1, 0xd1, NONE); // ref.is_null
allow(0xd2, 0xd2, INDEX); // ref.func
allow(0xfc, 0xfc, MISC);
allow(0xfd, 0xfd, VECTOR);

/** The feature that a refused opcode belongs to. */
function featureOf(opcode: number): string {
  if ([0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f].includes(opcode)) return "exceptions";
  if ([0x14, 0x15, 0xd3, 0xd4, 0xd5, 0xd6].includes(opcode)) return "typed function references";
  if (opcode === 0xfb) return "garbage-collected types";
  if (opcode === 0xfe) return "shared memory and atomics";
  return "";
}

/** Throws with the feature's name. */
export function refuseFeature(reader: Reader, feature: string, at: number): never {
  return reader.refuse(
    `uses ${feature}, which a filter may not: allowed are the core instructions, bulk memory, ` +
      `reference types, sign extension, multiple values, tail calls and 128-bit vectors`,
    at,
  );
}

/** A type that a value may have. */
export function valueType(reader: Reader): number {
  const at = reader.pos;
  const type = reader.byte();
  if ((type >= 0x7b && type <= 0x7f) || type === 0x70 || type === 0x6f) return type;
  if (type === 0x69) return refuseFeature(reader, "exceptions", at);
  if (type === 0x63 || type === 0x64) return refuseFeature(reader, "typed references", at);
  if (type >= 0x65 && type <= 0x74) return refuseFeature(reader, "garbage-collected types", at);
  return reader.refuse(`0x${type.toString(16)} is not a value type`, at);
}

export const OP_BLOCK = 0x02;
export const OP_LOOP = 0x03;
export const OP_IF = 0x04;
export const OP_END = 0x0b;
export const OP_CALL = 0x10;
export const OP_CALL_INDIRECT = 0x11;
export const OP_RETURN_CALL = 0x12;
export const OP_RETURN_CALL_INDIRECT = 0x13;
export const OP_MEMORY_GROW = 0x40;
/** Bulk operations, as 0xfc00 + their number. */
export const OP_MEMORY_INIT = 0xfc08;
export const OP_MEMORY_COPY = 0xfc0a;
export const OP_MEMORY_FILL = 0xfc0b;
export const OP_TABLE_INIT = 0xfc0c;
export const OP_TABLE_COPY = 0xfc0e;
export const OP_TABLE_GROW = 0xfc0f;
export const OP_TABLE_FILL = 0xfc11;

const MAX_BR_TABLE = 4096;

/** The index that followed the last instruction read by `readInstruction`, where there was one. */
export const last = { index: 0 };

/** Reads one instruction with what follows it; returns its opcode (0xfcNN for the 0xfc group). */
export function readInstruction(reader: Reader): number {
  const at = reader.pos;
  const opcode = reader.byte();
  switch (FOLLOWS[opcode]) {
    case NONE:
      return opcode;
    case BLOCK:
      blockType(reader);
      return opcode;
    case INDEX:
      last.index = reader.u32();
      return opcode;
    case BR_TABLE: {
      const targets = reader.count("targets of a br_table", MAX_BR_TABLE);
      for (let i = 0; i <= targets; i++) reader.u32();
      return opcode;
    }
    case INDEX_TWICE:
      reader.u32();
      reader.u32();
      return opcode;
    case MEMARG:
      memoryArgument(reader);
      return opcode;
    case CONST32:
      reader.skipLeb(5);
      return opcode;
    case CONST64:
      reader.skipLeb(10);
      return opcode;
    case FLOAT32:
      reader.skip(4);
      return opcode;
    case FLOAT64:
      reader.skip(8);
      return opcode;
    case REF_NULL: {
      const type = reader.byte();
      if (type !== 0x70 && type !== 0x6f) refuseFeature(reader, "garbage-collected types", at);
      return opcode;
    }
    case SELECT: {
      const types = reader.count("types of a select", 1);
      for (let i = 0; i < types; i++) valueType(reader);
      return opcode;
    }
    case MISC:
      return misc(reader, at);
    case VECTOR:
      vector(reader, at);
      return opcode;
    case ZERO:
      memoryIndex(reader, at);
      return opcode;
    default: {
      const feature = featureOf(opcode);
      if (feature !== "") refuseFeature(reader, feature, at);
      return reader.refuse(`0x${opcode.toString(16)} is not an instruction that is known here`, at);
    }
  }
}

function blockType(reader: Reader): void {
  const first = reader.peek();
  if (first === 0x40) reader.byte();
  else if (first >= 0x40 && first < 0x80) valueType(reader);
  else if (reader.s33() < 0) reader.refuse("a block's type is not a type");
}

function memoryArgument(reader: Reader): void {
  const at = reader.pos;
  const align = reader.u32();
  if (align >= 0x40) refuseFeature(reader, "several memories", at);
  if (align > 4) reader.refuse("an alignment is larger than any access", at);
  reader.u32();
}

function memoryIndex(reader: Reader, at: number): void {
  if (reader.byte() !== 0) refuseFeature(reader, "several memories", at);
}

function misc(reader: Reader, at: number): number {
  const op = reader.u32();
  if (op === 8) {
    reader.u32();
    memoryIndex(reader, at);
  } else if (op === 10) {
    memoryIndex(reader, at);
    memoryIndex(reader, at);
  } else if (op === 11) {
    memoryIndex(reader, at);
  } else if (op === 12 || op === 14) {
    reader.u32();
    reader.u32();
  } else if (op === 9 || op === 13 || (op >= 15 && op <= 17)) {
    reader.u32();
  } else if (op > 7) {
    reader.refuse(`0xfc ${op} is not an instruction that is known here`, at);
  }
  return 0xfc00 + op;
}

function vector(reader: Reader, at: number): void {
  const op = reader.u32();
  if (op > 0xff) refuseFeature(reader, "relaxed vectors", at);
  if (op <= 11 || op === 92 || op === 93) memoryArgument(reader);
  else if (op === 12 || op === 13) reader.skip(16);
  else if (op >= 21 && op <= 34) reader.skip(1);
  else if (op >= 84 && op <= 91) {
    memoryArgument(reader);
    reader.skip(1);
  }
}

/** Reads the constant expression of a global, element or data segment. */
export function constantExpression(reader: Reader): void {
  for (let i = 0; i < 64; i++) {
    const at = reader.pos;
    const opcode = readInstruction(reader);
    if (opcode === OP_END) return;
    const isConstant = (opcode >= 0x41 && opcode <= 0x44) || opcode === 0x23 ||
      opcode === 0xd0 || opcode === 0xd2 || opcode === 0xfd ||
      [0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e].includes(opcode);
    if (!isConstant) reader.refuse("a constant expression computes more than a constant", at);
  }
  reader.refuse("a constant expression is too long");
}
