// Consistent hashing of a Service, from its annotations: which requests clients send to the same
// endpoint. Tulle's own; Linkerd's controllers do not look at it.

import { HASH_NAME, type HashKey } from "../../model/hash-key.ts";
import type { Field } from "../field.ts";
import { wireDuration } from "./accrual.ts";

const HASH = "balancer.tulle.dev/hash";
const TTL = "balancer.tulle.dev/hash-cookie-ttl";

/**
 * The key that the annotations ask for, or null: `header:NAME`, `cookie:NAME` or `source`. Raises a
 * `FieldError` for what cannot be read.
 */
export function hashOf(annotations: Field): HashKey | null {
  const hash = annotations.at(HASH);
  const ttl = annotations.at(TTL);
  if (hash.isAbsent) {
    return ttl.isAbsent ? null : ttl.fail(`is set without ${HASH}: cookie:NAME`);
  }
  const text = hash.string();
  const cut = text.indexOf(":");
  const [kind, name] = cut < 0 ? [text, ""] : [text.slice(0, cut), text.slice(cut + 1)];
  if (kind !== "cookie" && !ttl.isAbsent) ttl.fail(`is for ${HASH}: cookie:NAME only`);
  if (text === "source") return { kind: "source" };
  if ((kind === "header" || kind === "cookie") && HASH_NAME.test(name)) {
    return kind === "header"
      ? { kind, name: name.toLowerCase() }
      : { kind, name, ttlMs: wireDuration(ttl, 0) };
  }
  return hash.fail(
    `is ${JSON.stringify(text.slice(0, 60))}: write header:NAME, cookie:NAME or source`,
  );
}
