// Messages of any type, filled at random from a seed by what their descriptor says: each field is set or
// not, each case of a oneof has its turn, lists and maps have several entries, recursion is bounded.

import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { reflect, type ReflectMessage, type ScalarValue } from "@bufbuild/protobuf/reflect";
import type { Random } from "../../support/random.ts";

/** Below this depth no message is set in a message. */
const MAX_DEPTH = 7;
const TEXTS = ["", "a", "web.shop.svc.cluster.local", "ünïcödé 网", "\u0000\n\"'", "x".repeat(300)];

/** Fields that were set, as `type.field`, so that a test can tell that none was left out. */
export type Seen = Set<string>;

/** A message of type `desc`. */
export function arbitrary(desc: DescMessage, random: Random, seen: Seen): Message {
  return fill(reflect(desc, create(desc)), random, seen, 0).message;
}

function fill(to: ReflectMessage, random: Random, seen: Seen, depth: number): ReflectMessage {
  for (const member of to.members) {
    // A oneof's case is drawn, `null` too; a field of its own is set in two of three messages.
    const field = member.kind === "oneof"
      ? random.pick([...member.fields, null])
      : random() < 2 / 3
      ? member
      : null;
    if (field === null || (depth >= MAX_DEPTH && holdsMessages(field))) continue;
    seen.add(`${to.desc.typeName}.${field.name}`);
    set(to, field, random, seen, depth);
  }
  return to;
}

function set(
  to: ReflectMessage,
  field: DescField,
  random: Random,
  seen: Seen,
  depth: number,
): void {
  const message = (desc: DescMessage) => fill(reflect(desc, create(desc)), random, seen, depth + 1);
  switch (field.fieldKind) {
    case "scalar":
      return to.set(field, scalar(field.scalar, random));
    case "enum":
      return to.set(field, enumNumber(field.enum, random));
    case "message":
      return to.set(field, message(field.message));
    case "list": {
      const list = to.get(field);
      // Lists of lists of lists grow fast: the deeper, the shorter.
      for (let n = random.int(1, depth < 3 ? 3 : 1); n > 0; n--) {
        if (field.listKind === "message") list.add(message(field.message));
        else if (field.listKind === "enum") list.add(enumNumber(field.enum, random));
        else list.add(scalar(field.scalar, random));
      }
      return;
    }
    case "map": {
      const map = to.get(field);
      for (let n = random.int(1, 3); n > 0; n--) {
        const key = scalar(field.mapKey, random) as string | number | bigint | boolean;
        if (field.mapKind === "message") map.set(key, message(field.message));
        else if (field.mapKind === "enum") map.set(key, enumNumber(field.enum, random));
        else map.set(key, scalar(field.scalar, random));
      }
    }
  }
}

function holdsMessages(field: DescField): boolean {
  return field.fieldKind === "message" ||
    (field.fieldKind === "list" && field.listKind === "message") ||
    (field.fieldKind === "map" && field.mapKind === "message");
}

/** A number of the enum, or one that a later version may have. */
function enumNumber(desc: DescEnum, random: Random): number {
  return random.pick([...desc.values.map((v) => v.number), 77]);
}

/** The edges of a type as often as its middle. */
function scalar(type: ScalarType, random: Random): ScalarValue {
  switch (type) {
    case ScalarType.BOOL:
      return random() < 0.5;
    case ScalarType.STRING:
      return random.pick(TEXTS);
    case ScalarType.BYTES:
      return random.bytes(random.int(0, 40));
    case ScalarType.DOUBLE:
      return random.pick([0, -0.5, 1e300, Infinity, random()]);
    case ScalarType.FLOAT:
      return Math.fround(random.pick([0, -0.5, 1e30, Infinity, random()]));
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return random.pick([0, 1, -1, 2 ** 31 - 1, -(2 ** 31), random.int(-1e6, 1e6)]);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return random.pick([0, 1, 300, 2 ** 32 - 1, random.int(0, 1e6)]);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return random.pick([
        0n,
        1n,
        -1n,
        2n ** 63n - 1n,
        -(2n ** 63n),
        BigInt(random.int(-1e9, 1e9)),
      ]);
    default:
      return random.pick([0n, 1n, 2n ** 64n - 1n, BigInt(random.int(0, 2 ** 40))]);
  }
}
