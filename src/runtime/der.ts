// DER as far as identities need it: elements read with every bound checked, elements written, and the
// names of a certificate. A runtime's `subjectAltName` text is never used: Deno does not escape it, so
// that one name can look like two. Input is hostile.

/** One element of `der`: where it begins and where its content is. */
export interface Element {
  readonly tag: number;
  readonly at: number;
  readonly from: number;
  readonly to: number;
}

/** ASN.1 tags that are used here. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
} as const;

/** GeneralName choices (RFC 5280 §4.2.1.6). */
export const DNS_NAME = 0x82;
export const URI_NAME = 0x86;

/** 2.5.29.17, content only. */
export const OID_SUBJECT_ALT_NAME: readonly number[] = [0x55, 0x1d, 0x11];
const EXTENSIONS = 0xa3;
const MAX_NAME_BYTES = 2048;

/** The element at `at`, which must end by `end`. Throws on anything that is not DER. */
export function readElement(der: Uint8Array, at: number, end: number): Element {
  const tag = byteAt(der, at, end);
  if ((tag & 0x1f) === 0x1f) throw new Error("DER with a tag of several bytes");
  const first = byteAt(der, at + 1, end);
  let from = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw new Error("DER with an indefinite or absurd length");
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + byteAt(der, from++, end);
    if (length < 0x80 || length < 256 ** (count - 1)) throw new Error("DER with a padded length");
  }
  if (length > end - from) throw new Error("DER that ends inside an element");
  return { tag, at, from, to: from + length };
}

/** The elements inside a constructed one, in order. */
export function readChildren(der: Uint8Array, parent: Element): readonly Element[] {
  const children: Element[] = [];
  for (let at = parent.from; at < parent.to;) {
    const child = readElement(der, at, parent.to);
    children.push(child);
    at = child.to;
  }
  return children;
}

/** An element of `tag` around the concatenated contents. */
export function writeElement(tag: number, ...contents: readonly ArrayLike<number>[]): Uint8Array {
  const length = contents.reduce((n, c) => n + c.length, 0);
  const size: number[] = [];
  if (length < 0x80) size.push(length);
  else {
    for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) size.unshift(rest % 256);
    size.unshift(0x80 | size.length);
  }
  const out = new Uint8Array(1 + size.length + length);
  out[0] = tag;
  out.set(size, 1);
  let at = 1 + size.length;
  for (const content of contents) {
    out.set(content, at);
    at += content.length;
  }
  return out;
}

/**
 * The DNS and URI names of an X.509 certificate, in its order. The first is a mesh identity.
 *
 * Never throws: a certificate that cannot be read, that has the extension twice, or a name with
 * anything but visible ASCII gives no names at all, so that nobody is taken for somebody.
 */
export function subjectAltNames(certificate: Uint8Array): readonly string[] {
  try {
    const whole = readElement(certificate, 0, certificate.length);
    expect(whole.tag === TAG.sequence && whole.to === certificate.length);
    const tbs = readChildren(certificate, whole)[0];
    expect(tbs?.tag === TAG.sequence);
    const wrapper = readChildren(certificate, tbs as Element).filter((e) => e.tag === EXTENSIONS);
    expect(wrapper.length <= 1);
    const list = wrapper[0] === undefined ? undefined : readChildren(certificate, wrapper[0])[0];
    return list === undefined ? [] : namesOf(certificate, list);
  } catch {
    return [];
  }
}

/** From a SEQUENCE OF Extension. Throws when it is not one. */
export function namesOf(der: Uint8Array, extensions: Element): readonly string[] {
  expect(extensions.tag === TAG.sequence);
  let names: readonly string[] | null = null;
  for (const extension of readChildren(der, extensions)) {
    const [oid, ...rest] = readChildren(der, extension);
    expect(oid?.tag === TAG.oid);
    if (!sameBytes(der.subarray(oid?.from, oid?.to), OID_SUBJECT_ALT_NAME)) continue;
    const value = rest.at(-1);
    expect(names === null && value?.tag === TAG.octetString);
    const sequence = readElement(der, (value as Element).from, (value as Element).to);
    expect(sequence.tag === TAG.sequence && sequence.to === value?.to);
    names = readChildren(der, sequence)
      .filter((e) => e.tag === DNS_NAME || e.tag === URI_NAME)
      .map((e) => visibleAscii(der.subarray(e.from, e.to)));
  }
  return names ?? [];
}

export function sameBytes(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function visibleAscii(bytes: Uint8Array): string {
  expect(bytes.length > 0 && bytes.length <= MAX_NAME_BYTES);
  expect(bytes.every((b) => b > 0x20 && b < 0x7f));
  return String.fromCharCode(...bytes);
}

function byteAt(der: Uint8Array, at: number, end: number): number {
  const byte = at < end ? der[at] : undefined;
  if (byte === undefined) throw new Error("DER that ends inside an element");
  return byte;
}

function expect(holds: boolean): void {
  if (!holds) throw new Error("not the structure of a certificate");
}
