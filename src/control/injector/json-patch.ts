// JSON Patch (RFC 6902), the one operation that the injector needs, and its use on a value: for the
// CLI, which has no API server to do it, and for tests.

/** Adds a member to an object, or inserts into a list (`-`: at its end). */
export interface PatchOp {
  readonly op: "add";
  /** A JSON pointer (RFC 6901). */
  readonly path: string;
  readonly value: unknown;
}

/** A pointer from its parts. */
export function pointer(...parts: readonly (string | number)[]): string {
  return parts.map((p) => "/" + String(p).replaceAll("~", "~0").replaceAll("/", "~1")).join("");
}

/** A copy of `target` with the patch applied. Throws where a parent is missing. */
export function applyPatch(target: unknown, patch: readonly PatchOp[]): unknown {
  const root = { root: structuredClone(target) };
  for (const { path, value } of patch) {
    const parts = path.split("/").slice(1)
      .map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = parts.pop();
    let at: unknown = root.root;
    for (const part of parts) at = member(at, part, path);
    if (last === undefined) throw new Error(`${path} is no pointer into an object`);
    if (Array.isArray(at)) {
      const index = last === "-" ? at.length : Number(last);
      if (!(index >= 0 && index <= at.length)) throw new Error(`${path} is outside of the list`);
      at.splice(index, 0, structuredClone(value));
    } else if (typeof at === "object" && at !== null) {
      Object.defineProperty(at, last, {
        value: structuredClone(value),
        enumerable: true,
        writable: true,
        configurable: true,
      });
    } else throw new Error(`${path} has no parent`);
  }
  return root.root;
}

function member(of: unknown, part: string, path: string): unknown {
  if (Array.isArray(of)) return of[Number(part)];
  if (typeof of === "object" && of !== null && Object.hasOwn(of, part)) {
    return (of as Record<string, unknown>)[part];
  }
  throw new Error(`${path} has no parent`);
}
