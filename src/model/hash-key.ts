// What requests have in common that should reach the same endpoint: the key of consistent hashing. An
// extension of ours; without it a destination is balanced by load alone.

/** Where the key of a request is. */
export type HashKey =
  /** The first value of a header, as filters left it. `name` is in lower case. */
  | { readonly kind: "header"; readonly name: string }
  /** A cookie, which a client that has none is given; `ttlMs` 0: until its session ends. */
  | { readonly kind: "cookie"; readonly name: string; readonly ttlMs: number }
  /** The address of the client. */
  | { readonly kind: "source" };

/** A token (RFC 9110 §5.6.2), which names of headers and of cookies are. */
export const HASH_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
