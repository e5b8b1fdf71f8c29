// deno-fmt-ignore-file -- the formatter drops decorators of functions

// Text of a request: a reference to a string of the host, one code unit per byte. It lives in
// locals and parameters; nothing is copied into the filter's memory.

/**
 * A header value, path, method or constant; may be absent, which `!text` tells. It is good until the
 * hook returns: what is kept longer is copied, `copy(text)`, and the compiler says where it is not.
 */
export type Text = externref;

@external("wasm:js-string", "length")
declare function refLength(text: externref): i32;

@external("wasm:js-string", "charCodeAt")
declare function refCharCodeAt(text: externref, at: i32): i32;

@external("wasm:js-string", "equals")
declare function refEquals(a: externref, b: externref): i32;

/** A constant; needed only where a literal is not taken directly. The compiler replaces the call. */
export declare function text(literal: string): Text;

/** Length in bytes; 0 when absent. */
export function length(text: Text): i32 {
  return !text ? 0 : refLength(text);
}

/** The byte at `at`, or -1 past the end. */
export function byteAt(text: Text, at: i32): i32 {
  return <u32> at < <u32> length(text) ? refCharCodeAt(text, at) : -1;
}

/** Whether both are the same bytes, or both absent. */
export function is(text: Text, other: Text): bool {
  return refEquals(text, other) != 0;
}

/** Whether `text` begins with `prefix`; false when it is absent. */
export function startsWith(text: Text, prefix: Text): bool {
  const want = length(prefix);
  if (length(text) < want || !text) return false;
  for (let i = 0; i < want; i++) {
    if (refCharCodeAt(text, i) != refCharCodeAt(prefix, i)) return false;
  }
  return true;
}

/** Whether `text` ends with `suffix`; false when it is absent. */
export function endsWith(text: Text, suffix: Text): bool {
  const want = length(suffix);
  const from = length(text) - want;
  if (from < 0 || !text) return false;
  for (let i = 0; i < want; i++) {
    if (refCharCodeAt(text, from + i) != refCharCodeAt(suffix, i)) return false;
  }
  return true;
}

/** Where `part` first begins at or after `from`, or -1. */
export function indexOf(text: Text, part: Text, from: i32 = 0): i32 {
  const want = length(part);
  const last = length(text) - want;
  if (!text) return -1;
  for (let at = from; at <= last; at++) {
    let i = 0;
    while (i < want && refCharCodeAt(text, at + i) == refCharCodeAt(part, i)) i++;
    if (i == want) return at;
  }
  return -1;
}

/** The decimal number that `text` is, or `otherwise` when it is absent or anything else. */
export function toInt(text: Text, otherwise: i32): i32 {
  const end = length(text);
  if (end == 0 || end > 9) return otherwise;
  let value = 0;
  for (let i = 0; i < end; i++) {
    const digit = refCharCodeAt(text, i) - 0x30;
    if (<u32> digit > 9) return otherwise;
    value = value * 10 + digit;
  }
  return value;
}

@external("tulle", "text")
declare function hostText(from: usize, count: i32): externref;

/** The filter's own copy of a text, to be kept as long as it likes; empty when the text is absent. */
export function copy(text: Text): string {
  const end = length(text);
  const kept = changetype<string>(__new(<usize> end << 1, idof<string>()));
  for (let i = 0; i < end; i++) {
    store<u16>(changetype<usize>(kept) + (<usize> i << 1), <u16> refCharCodeAt(text, i));
  }
  return kept;
}

/** A text again, for as long as the hook runs: of at most 8192 characters, each of which is a byte. */
export function lend(kept: string): Text {
  return hostText(changetype<usize>(kept), kept.length);
}
