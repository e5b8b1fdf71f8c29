// `config.int("maxRetries", 2, 0, 10)` as a field of the manifest.

import type { ConfigField } from "../abi.ts";
import type { Literals, Node } from "./ast.ts";

/** The field that a call of `config.<type>` declares. Throws a sentence when it is not written right. */
export function configField(
  type: string,
  args: readonly Node[],
  literals: Literals,
): { field: ConfigField } {
  const key = literals.string(args[0]);
  if (key === null || !/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(key)) {
    throw new Error("a configuration key must be a literal of letters, digits, - _ and .");
  }
  const field = fieldOf(type, key, args, literals);
  if (field === null) throw new Error(`config.${type} does not exist`);
  return { field };
}

function fieldOf(
  type: string,
  key: string,
  args: readonly Node[],
  literals: Literals,
): ConfigField | null {
  switch (type) {
    case "int":
    case "number": {
      const fallback = literals.number(args[1]);
      if (fallback === null) {
        throw new Error(`config.${type}("${key}", …) needs a number to fall back on`);
      }
      const bound = (node: Node | undefined) => {
        const value = literals.number(node);
        if (node !== undefined && value === null) throw new Error("a bound must be a number");
        return value;
      };
      return {
        key,
        type: type === "int" ? "i32" : "f64",
        default: fallback,
        min: bound(args[2]),
        max: bound(args[3]),
      };
    }
    case "flag": {
      const fallback = literals.bool(args[1]);
      if (fallback === null) throw new Error(`config.flag("${key}", …) needs true or false`);
      return { key, type: "bool", default: fallback };
    }
    case "text":
    case "statuses": {
      const fallback = literals.string(args[1]);
      if (fallback === null) {
        throw new Error(`config.${type}("${key}", …) needs a text to fall back on`);
      }
      return { key, type, default: fallback };
    }
    case "list": {
      const max = literals.number(args[1]);
      if (max === null || max < 1 || max > 256) {
        throw new Error(`config.list("${key}", …) needs the most items that it may have, 1 to 256`);
      }
      return { key, type, max };
    }
    case "requestHeaders":
      return { key, type: "headers", head: "request" };
    case "responseHeaders":
      return { key, type: "headers", head: "response" };
    case "requestNames":
      return { key, type: "names", head: "request" };
    case "responseNames":
      return { key, type: "names", head: "response" };
    default:
      return null;
  }
}
