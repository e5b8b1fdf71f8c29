// What a request asks of its retries in headers, read: Linkerd's grammar. `index.ts` says which headers.

import { byteAt, length, Text, text } from "@tulle/filter";

/** `5xx`, `gateway-error`, `NNN` and `NNN-MMM`, with commas between; the rest is passed over. */
export function hasStatus(written: Text, status: i32): bool {
  const end = length(written);
  for (let from = 0; from < end;) {
    let to = from;
    while (to < end && byteAt(written, to) != 0x2c) to++;
    let low = from, high = to;
    while (low < high && byteAt(written, low) == 0x20) low++;
    while (high > low && byteAt(written, high - 1) == 0x20) high--;
    if (isPart(written, low, high, text("5xx"))) {
      if (status >= 500 && status <= 599) return true;
    } else if (isPart(written, low, high, text("gateway-error"))) {
      if (status >= 502 && status <= 504) return true;
    } else if (high - low == 3 || (high - low == 7 && byteAt(written, low + 3) == 0x2d)) {
      const first = three(written, low);
      const last = three(written, high - 3);
      if (first >= 100 && first <= status && status <= last && last <= 599) return true;
    }
    from = to + 1;
  }
  return false;
}

/** The number that three digits are, or -1. */
function three(written: Text, at: i32): i32 {
  let value = 0;
  for (let i = at; i < at + 3; i++) {
    const digit = byteAt(written, i) - 0x30;
    if (<u32> digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** Whether `from` to `to` is `word`. */
function isPart(written: Text, from: i32, to: i32, word: Text): bool {
  if (to - from != length(word)) return false;
  for (let i = from; i < to; i++) {
    if (byteAt(written, i) != byteAt(word, i - from)) return false;
  }
  return true;
}

/** Names of codes with commas between; the rest is passed over. */
export function hasCode(written: Text, code: i32): bool {
  const end = length(written);
  for (let from = 0; from < end;) {
    let to = from;
    while (to < end && byteAt(written, to) != 0x2c) to++;
    let low = from, high = to;
    while (low < high && byteAt(written, low) == 0x20) low++;
    while (high > low && byteAt(written, high - 1) == 0x20) high--;
    const found = isPart(written, low, high, text("cancelled"))
      ? 1
      : isPart(written, low, high, text("deadline-exceeded"))
      ? 4
      : isPart(written, low, high, text("resource-exhausted"))
      ? 8
      : isPart(written, low, high, text("internal"))
      ? 13
      : isPart(written, low, high, text("unavailable"))
      ? 14
      : 0;
    if (found == code) return true;
    from = to + 1;
  }
  return false;
}

/** A whole number with `ms`, `s`, `m`, `h` or `d`, as far as an attempt may last; only 0 may be without. */
export function durationMs(written: Text, otherwise: i32): i32 {
  const end = length(written);
  let value: f64 = 0;
  let at = 0;
  for (; at < end; at++) {
    const digit = byteAt(written, at) - 0x30;
    if (<u32> digit > 9) break;
    value = value * 10 + <f64> digit;
  }
  if (at == 0 || at > 12) return otherwise;
  let ms: f64;
  if (at == end) {
    if (value > 0) return otherwise;
    ms = 0;
  } else if (isPart(written, at, end, text("ms"))) ms = 1;
  else if (isPart(written, at, end, text("s"))) ms = 1000;
  else if (isPart(written, at, end, text("m"))) ms = 60000;
  else if (isPart(written, at, end, text("h"))) ms = 3600000;
  else if (isPart(written, at, end, text("d"))) ms = 86400000;
  else return otherwise;
  return <i32> Math.min(value * ms, 3600000);
}
