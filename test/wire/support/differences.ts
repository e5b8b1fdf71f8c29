// Two messages compared field by field, by name and number, each by its own descriptor: the types may come
// from two texts of the same API.

import type { DescField } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";

/** The number under which everything is that Linkerd does not have (ADR 4). */
export const OURS = 2048;

/**
 * What `got` has otherwise than `sent`, one line each with its path. Fields of ours must be absent from
 * `got`; what `got` holds and cannot name is a difference too.
 */
export function differences(sent: ReflectMessage, got: ReflectMessage, path = ""): string[] {
  const found: string[] = [];
  for (const field of sent.fields) {
    const at = `${path}.${field.name}`;
    const same = got.fields.find((f) => f.name === field.name);
    if (field.number === OURS) {
      if (same !== undefined && got.isSet(same)) found.push(`${at} is kept`);
    } else if (!sent.isSet(field)) {
      if (same !== undefined && got.isSet(same)) found.push(`${at} is set`);
    } else if (same === undefined) found.push(`${at} is not known`);
    else if (same.number !== field.number) found.push(`${at} is number ${same.number}`);
    else if (!got.isSet(same)) found.push(`${at} is lost`);
    else found.push(...valueDifferences(field, sent, same, got, at));
  }
  for (const field of got.fields) {
    const isKnown = sent.fields.some((f) => f.name === field.name);
    if (!isKnown && got.isSet(field)) found.push(`${path}.${field.name} came from nowhere`);
  }
  for (const { no } of got.getUnknown() ?? []) found.push(`${path}: field ${no} has no name`);
  return found;
}

function valueDifferences(
  field: DescField,
  sent: ReflectMessage,
  same: DescField,
  got: ReflectMessage,
  path: string,
): string[] {
  if (field.fieldKind !== same.fieldKind) return [`${path} is a ${same.fieldKind}`];
  const [a, b] = [sent.get(field), got.get(same)];
  if (field.fieldKind === "list" || field.fieldKind === "map") {
    const [x, y] = [entries(a), entries(b)];
    if (x.size !== y.size) return [`${path} has ${y.size} entries, not ${x.size}`];
    return [...x].flatMap(([key, value]) => compared(value, y.get(key), `${path}[${key}]`));
  }
  return compared(a, b, path);
}

/** A list's or a map's entries by index or key. */
function entries(all: unknown): Map<unknown, unknown> {
  const list = [...all as Iterable<unknown>];
  const isMap = typeof (all as { readonly entries?: unknown; add?: unknown }).add === "undefined";
  return new Map(isMap ? list as [unknown, unknown][] : list.map((value, i) => [i, value]));
}

function compared(a: unknown, b: unknown, path: string): string[] {
  if (isMessage(a)) return isMessage(b) ? differences(a, b, path) : [`${path} is no message`];
  const isSame = a instanceof Uint8Array
    ? b instanceof Uint8Array && Buffer.compare(a, b) === 0
    : Object.is(a, b);
  return isSame ? [] : [`${path} is ${String(b)}, not ${String(a)}`];
}

function isMessage(value: unknown): value is ReflectMessage {
  return typeof value === "object" && value !== null && "desc" in value && "fields" in value;
}
