// Which TLS connections a route is for, by the name that their clients ask for (SNI, RFC 6066 §3). Pure.

/** A condition on the name. */
export type SniMatch =
  | { readonly kind: "exact"; readonly name: string }
  /** `example.com` is every name that ends in `.example.com`. */
  | { readonly kind: "suffix"; readonly name: string };

/**
 * How well the conditions fit: 0, not at all; else more for a longer suffix, and most for the name itself.
 * No conditions fit every name, and none, with 1. `name` is null when the client asks for none.
 */
export function sniRank(conditions: readonly SniMatch[], name: string | null): number {
  if (conditions.length === 0) return 1;
  if (name === null) return 0;
  const asked = name.toLowerCase();
  let best = 0;
  for (const { kind, name } of conditions) {
    const wanted = name.toLowerCase();
    if (kind === "exact") {
      if (asked === wanted) return Infinity;
    } else if (asked.length > wanted.length + 1 && asked.endsWith(`.${wanted}`)) {
      best = Math.max(best, 1 + wanted.length);
    }
  }
  return best;
}
