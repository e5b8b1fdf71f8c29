// A filter's configuration: JSON text checked against the fields of the manifest and made ready for
// the instance. Each refusal names the field, what it holds and what it may hold.

import { type HeaderEdit, headerName } from "../../src/core/head.ts";
import { FilterRefused } from "../../src/core/filter.ts";
import { type ConfigField, LIMITS, type Manifest } from "../abi.ts";
import { isHeaderValue, whyNotWritten } from "./manifest.ts";

const MAX_CONFIG_BYTES = 64 * 1024;
const MAX_HEADERS = 64;

/** Values by slot. A slot has the one that its field's type calls for. */
export interface ConfigValues {
  readonly numbers: Float64Array;
  readonly texts: readonly (string | null)[];
  readonly lists: readonly (readonly string[])[];
  /** Prepared edits of `headers` and `names` fields, by operation: set, add, remove. */
  readonly edits: readonly (readonly (readonly HeaderEdit[])[])[];
  /** Names of the headers that the configuration lets the filter write. */
  readonly headers: readonly string[];
}

/** Text as the filter sees it: UTF-8 bytes, one code unit each. */
export function toByteString(text: string): string {
  let isAscii = true;
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) isAscii = false;
  }
  if (isAscii) return text;
  return Array.from(new TextEncoder().encode(text), (b) => String.fromCharCode(b)).join("");
}

/** The inverse of `toByteString`; bytes that are not UTF-8 become U+FFFD. */
export function fromByteString(text: string): string {
  return new TextDecoder().decode(Uint8Array.from(text, (c) => c.charCodeAt(0)));
}

/** Reads `config`. Throws `FilterRefused` with the name of the first field that does not fit. */
export function readConfig(config: Uint8Array, manifest: Manifest): ConfigValues {
  const given = parse(config);
  const fields = manifest.config;
  for (const key of Object.keys(given)) {
    if (fields.some((f) => f.key === key)) continue;
    const known = fields.map((f) => f.key).join(", ") || "none";
    throw refusal(key, `is not a setting of this filter; there are: ${known}`);
  }
  const numbers = new Float64Array(fields.length);
  const texts: (string | null)[] = [];
  const lists: string[][] = [];
  const edits: HeaderEdit[][][] = [];
  const headers = new Set<string>();
  fields.forEach((field, slot) => {
    const value = Object.hasOwn(given, field.key) ? given[field.key] : undefined;
    texts.push(null);
    lists.push([]);
    edits.push([]);
    switch (field.type) {
      case "i32":
      case "f64":
        numbers[slot] = numberOf(field, value);
        return;
      case "bool":
        if (value !== undefined && typeof value !== "boolean") {
          throw mismatch(field.key, "true or false", value);
        }
        numbers[slot] = (value ?? field.default) ? 1 : 0;
        return;
      case "text":
        texts[slot] = toByteString(textOf(field.key, value ?? field.default));
        return;
      case "statuses":
        texts[slot] = statusesOf(field.key, value ?? field.default);
        return;
      case "list":
        lists[slot] = listOf(field.key, value ?? [], field.max).map(toByteString);
        return;
      case "headers":
        edits[slot] = headersOf(field.key, value ?? {}, headers);
        return;
      case "names": {
        const names = listOf(field.key, value ?? [], MAX_HEADERS);
        edits[slot] = [
          [],
          [],
          names.map((name) => {
            const known = nameOf(field.key, name);
            headers.add(known.text);
            return Object.freeze({ op: "remove" as const, name: known, value: "" });
          }),
        ];
        return;
      }
    }
  });
  return { numbers, texts, lists, edits, headers: [...headers] };
}

function refusal(key: string, what: string): FilterRefused {
  return new FilterRefused(`configuration: "${key}" ${what}`);
}

function mismatch(key: string, expected: string, value: unknown): FilterRefused {
  return refusal(key, `must be ${expected}, not ${shown(value)}`);
}

/** What was found, without what is inside lists and objects: that may be secret. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function parse(config: Uint8Array): Readonly<Record<string, unknown>> {
  if (config.length === 0) return {};
  if (config.length > MAX_CONFIG_BYTES) {
    throw new FilterRefused(
      `configuration: ${config.length} bytes; ${MAX_CONFIG_BYTES} are allowed`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(config));
  } catch (cause) {
    throw new FilterRefused("configuration: is not JSON in UTF-8", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FilterRefused("configuration: must be an object, such as {}");
  }
  return value as Readonly<Record<string, unknown>>;
}

function numberOf(field: ConfigField & { type: "i32" | "f64" }, value: unknown): number {
  if (value === undefined) return field.default;
  const isWhole = field.type === "i32";
  const min = field.min ?? (isWhole ? -(2 ** 31) : -Infinity);
  const max = field.max ?? (isWhole ? 2 ** 31 - 1 : Infinity);
  const fits = typeof value === "number" && value >= min && value <= max &&
    (!isWhole || Number.isInteger(value));
  if (fits) return value;
  const range = field.min === null && field.max === null
    ? ""
    : field.max === null
    ? ` of at least ${min}`
    : field.min === null
    ? ` of at most ${max}`
    : ` from ${min} to ${max}`;
  throw mismatch(field.key, `a ${isWhole ? "whole number" : "number"}${range}`, value);
}

function textOf(key: string, value: unknown): string {
  if (typeof value === "string" && value.length <= LIMITS.textBytes) return value;
  throw mismatch(key, `a text of at most ${LIMITS.textBytes} characters`, value);
}

function statusesOf(key: string, value: unknown): string {
  const text = typeof value === "number" ? String(value) : value;
  const expected = 'statuses and ranges from 100 to 599, such as "500,502-504"';
  if (typeof text !== "string") throw mismatch(key, expected, value);
  const compact = text.replaceAll(" ", "");
  if (compact === "") return "";
  for (const part of compact.split(",")) {
    const m = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(part);
    if (m === null || Number(m[2] ?? m[1]) < Number(m[1])) throw mismatch(key, expected, value);
  }
  return compact;
}

function listOf(key: string, value: unknown, max: number): readonly string[] {
  const expected = `a list of at most ${max} texts`;
  if (!Array.isArray(value) || value.length > max) throw mismatch(key, expected, value);
  return value.map((item) => {
    if (typeof item !== "string" || item.length > LIMITS.textBytes) {
      throw mismatch(key, expected, value);
    }
    return item;
  });
}

function headersOf(key: string, value: unknown, headers: Set<string>): HeaderEdit[][] {
  const expected = `an object of at most ${MAX_HEADERS} header names and values`;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw mismatch(key, expected, value);
  }
  const entries = Object.entries(value);
  if (entries.length > MAX_HEADERS) throw mismatch(key, expected, value);
  const make = (op: "set" | "add") =>
    entries.map(([name, text]) => {
      const known = nameOf(key, name);
      headers.add(known.text);
      const bytes = typeof text === "string" ? toByteString(text) : "\n";
      if (!isHeaderValue(bytes) || bytes.length > LIMITS.textBytes) {
        throw refusal(key, `holds a wrong value: that of "${name}" must be one line of text`);
      }
      return Object.freeze({ op, name: known, value: bytes });
    });
  return [make("set"), make("add"), []];
}

function nameOf(key: string, text: string): HeaderEdit["name"] {
  try {
    const name = headerName(text.slice(0, 256));
    const why = whyNotWritten(name.text);
    if (why === null) return name;
    throw refusal(key, `names a header that is not a filter's: ${why}`);
  } catch (e) {
    if (e instanceof FilterRefused) throw e;
    throw refusal(key, `names what is no header: ${JSON.stringify(text.slice(0, 60))}`);
  }
}
