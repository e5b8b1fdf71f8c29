// What the HTTP/1 parsers answer and say of body lengths, as plain numbers.

/** Not all there yet. */
export const INCOMPLETE = 0;
/** Malformed or ambiguous: 400. */
export const MALFORMED = -1;
/** Over a bound: 431. */
export const TOO_LARGE = -2;
/** A transfer coding that is not spoken here: 501. */
export const UNKNOWN_CODING = -3;
/** HTTP/1 with another major version: 505. */
export const WRONG_VERSION = -4;

/** `bodyLength` of a chunked message. */
export const CHUNKED = -1;
/** `bodyLength` of a response that ends with its connection. */
export const UNTIL_CLOSE = -2;
