// IP addresses and networks, read from text. An address is 16 bytes; IPv4 is the last four of them, and
// is only ever compared with IPv4.

import { byteAt, length, Text } from "@tulle/filter";

export class Address {
  readonly bytes: StaticArray<u8> = new StaticArray<u8>(16);
  isV4: bool = false;
  /** Bits that count, from the left. */
  bits: i32 = 128;
}

/** Null: no address. */
export function addressOf(written: Text): Address | null {
  return !written ? null : networkOf(written, 0, length(written));
}

/** An address in a network of the same family. */
export function inNetwork(ip: Address | null, network: Address | null): bool {
  if (!ip || !network || ip.isV4 != network.isV4) return false;
  const from = network.isV4 ? 12 : 0;
  let left = network.bits;
  for (let i = from; left > 0; i++, left -= 8) {
    const differs = ip.bytes[i] ^ network.bytes[i];
    if ((left >= 8 ? differs : differs >> <u8> (8 - left)) != 0) return false;
  }
  return true;
}

/** An address with or without `/length`, from `at` to `to`; null: neither. */
export function networkOf(written: Text, at: i32, to: i32): Address | null {
  let slash = at;
  while (slash < to && byteAt(written, slash) != 0x2f) slash++;
  const network = new Address();
  for (let i = at; i < slash; i++) {
    if (byteAt(written, i) == 0x3a) return v6(written, at, slash, to, network);
  }
  network.isV4 = true;
  if (!v4(written, at, slash, network, 12)) return null;
  return withBits(written, slash, to, network, 32);
}

function v6(written: Text, at: i32, slash: i32, to: i32, network: Address): Address | null {
  let filled = 0, gap = -1, i = at;
  if (byteAt(written, i) == 0x3a) {
    if (byteAt(written, i + 1) != 0x3a) return null;
    gap = 0;
    i += 2;
  }
  while (i < slash) {
    if (filled == 16) return null;
    let value = 0, digits = 0;
    const start = i;
    for (; i < slash && digits < 5; digits++, i++) {
      const digit = hex(byteAt(written, i));
      if (digit < 0) break;
      value = value << 4 | digit;
    }
    if (i < slash && byteAt(written, i) == 0x2e) {
      // IPv4 in the last four bytes
      if (filled > 12 || !v4(written, start, slash, network, filled)) return null;
      filled += 4;
      break;
    }
    if (digits == 0 || digits > 4) return null;
    network.bytes[filled] = <u8> (value >> 8);
    network.bytes[filled + 1] = <u8> value;
    filled += 2;
    if (i == slash) break;
    if (byteAt(written, i) != 0x3a) return null;
    i++;
    if (i < slash && byteAt(written, i) == 0x3a) {
      if (gap >= 0) return null;
      gap = filled;
      i++;
    } else if (i == slash) return null;
  }
  if (gap < 0 ? filled != 16 : filled > 14) return null;
  if (gap >= 0) {
    // What stood behind the gap goes to the end.
    const moved = filled - gap;
    for (let k = 1; k <= moved; k++) {
      network.bytes[16 - k] = network.bytes[filled - k];
      network.bytes[filled - k] = 0;
    }
  }
  return withBits(written, slash, to, network, 128);
}

function v4(written: Text, at: i32, to: i32, network: Address, into: i32): bool {
  let i = at;
  for (let part = 0; part < 4; part++) {
    let value = 0, digits = 0;
    for (; i < to && digits < 4; digits++, i++) {
      const digit = byteAt(written, i) - 0x30;
      if (<u32> digit > 9) break;
      value = value * 10 + digit;
    }
    if (digits == 0 || digits > 3 || value > 255) return false;
    network.bytes[into + part] = <u8> value;
    if (part < 3) {
      if (i >= to || byteAt(written, i) != 0x2e) return false;
      i++;
    }
  }
  return i == to;
}

function withBits(written: Text, slash: i32, to: i32, network: Address, most: i32): Address | null {
  if (slash == to) {
    network.bits = most;
    return network;
  }
  let value = 0, digits = 0;
  for (let i = slash + 1; i < to; i++, digits++) {
    const digit = byteAt(written, i) - 0x30;
    if (<u32> digit > 9 || digits == 3) return null;
    value = value * 10 + digit;
  }
  if (digits == 0 || value > most) return null;
  network.bits = value;
  return network;
}

function hex(c: i32): i32 {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
