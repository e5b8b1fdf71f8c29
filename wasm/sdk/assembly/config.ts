// deno-fmt-ignore-file -- the formatter drops decorators of functions

// The filter's configuration: read by the host, checked against what the filter declares here, and
// refused with the field's name when it does not fit. Top-level constants are the usual place.

import { byteAt, length, Text } from "./text";

@external("tulle", "config_length")
declare function hostLength(slot: i32): i32;

@external("tulle", "config_item")
declare function hostItem(slot: i32, at: i32): externref;

@external("tulle", "config_text")
declare function hostText(slot: i32): externref;

@external("tulle", "apply_config")
declare function hostApply(op: i32, slot: i32): void;

/** Headers named and valued by the configuration. */
@unmanaged
export class ConfiguredHeaders {
  /** Replaces each of them in the head. */
  set(): void {
    hostApply(0, changetype<i32>(this));
  }
  /** Adds each of them beside what there is. */
  add(): void {
    hostApply(1, changetype<i32>(this));
  }
}

/** Header names from the configuration. */
@unmanaged
export class ConfiguredNames {
  /** Removes each of them from the head. */
  remove(): void {
    hostApply(2, changetype<i32>(this));
  }
}

/** A list of texts from the configuration. */
@unmanaged
export class TextList {
  get length(): i32 {
    return hostLength(changetype<i32>(this));
  }
  at(index: i32): Text {
    return hostItem(changetype<i32>(this), index);
  }
}

/** A set of HTTP statuses from the configuration, such as `502-504,500`. */
@unmanaged
export class StatusSet {
  has(status: i32): bool {
    if (<u32> status > 599) return false;
    return (load<u8>(changetype<usize>(this) + (status >> 3)) >> <u8> (status & 7) & 1) != 0;
  }
}

/** Declares configuration keys. `fallback` is what an absent key means. */
export namespace config {
  /** A whole number; `config.int("maxRetries", 2, 0, 10)`: key, fallback, least, most. */
  @external("tulle", "config_i32")
  export declare function int(slot: i32): i32;

  /** A number: key, fallback, least, most. */
  @external("tulle", "config_f64")
  export declare function number(slot: i32): f64;

  /** A text: key, fallback. */
  @external("tulle", "config_text")
  export declare function text(slot: i32): Text;

  /** true or false: key, fallback. */
  @external("tulle", "config_i32")
  export declare function flag(slot: i32): bool;

  /** A list of texts: key, most items. */
  export function list(slot: i32): TextList {
    return changetype<TextList>(slot);
  }
  /** An object of header names and values for the request: key. */
  export function requestHeaders(slot: i32): ConfiguredHeaders {
    return changetype<ConfiguredHeaders>(slot);
  }
  /** An object of header names and values for the response: key. */
  export function responseHeaders(slot: i32): ConfiguredHeaders {
    return changetype<ConfiguredHeaders>(slot);
  }
  /** A list of names of request headers: key. */
  export function requestNames(slot: i32): ConfiguredNames {
    return changetype<ConfiguredNames>(slot);
  }
  /** A list of names of response headers: key. */
  export function responseNames(slot: i32): ConfiguredNames {
    return changetype<ConfiguredNames>(slot);
  }
  /** A set of statuses: key, fallback. The host has checked the text. */
  export function statuses(slot: i32, bits: usize): StatusSet {
    const written = hostText(slot);
    const end = length(written);
    let from = -1, value = 0;
    for (let i = 0; i <= end; i++) {
      const c = byteAt(written, i);
      if (c >= 0x30 && c <= 0x39) {
        value = value * 10 + c - 0x30;
      } else if (c == 0x2d) {
        from = value;
        value = 0;
      } else if (c == 0x2c || c == -1) {
        for (let s = from < 0 ? value : from; s <= value && <u32> s <= 599; s++) {
          const at = bits + (s >> 3);
          store<u8>(at, <u8> (<i32> load<u8>(at) | 1 << (s & 7)));
        }
        from = -1;
        value = 0;
      }
    }
    return changetype<StatusSet>(bits);
  }

  /** In `configure`: refuses the configuration, naming the key and why. Does not return. */
  @external("tulle", "config_refuse")
  export declare function refuse(slot: i32, why: Text): void;
}
