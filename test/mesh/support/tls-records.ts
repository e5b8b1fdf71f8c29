// Reads recorded bytes as TLS (RFC 8446 §5.1): records, and what the two hellos say. Throws where a
// byte is outside a record, so that a stream that parses is TLS from its first byte to its last.

export const CHANGE_CIPHER_SPEC = 20;
export const HANDSHAKE = 22;
export const APPLICATION_DATA = 23;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const SERVER_NAME = 0;
const ALPN = 16;
const SUPPORTED_GROUPS = 10;
const SUPPORTED_VERSIONS = 43;
const KEY_SHARE = 51;

/** Named groups of the key exchange (RFC 8446 §4.2.7; draft-ietf-tls-ecdhe-mlkem). */
export const X25519 = 0x001d;
export const X25519MLKEM768 = 0x11ec;

export interface TlsRecord {
  readonly type: number;
  readonly fragment: Uint8Array;
}

/** Every record. The last may be cut short, since a recording may end anywhere. */
export function recordsOf(bytes: Uint8Array): readonly TlsRecord[] {
  const records: TlsRecord[] = [];
  let at = 0;
  while (at + 5 <= bytes.length) {
    const type = bytes[at]!;
    const version = (bytes[at + 1]! << 8) | bytes[at + 2]!;
    const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
    const isRecord = type >= CHANGE_CIPHER_SPEC && type <= APPLICATION_DATA &&
      (version === 0x0301 || version === 0x0303) && length > 0 && length <= 16384 + 256;
    if (!isRecord) throw new Error(`no TLS record at byte ${at}: ${hex(bytes, at)}`);
    records.push({ type, fragment: bytes.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return records;
}

/** What the client asks for. */
export interface ClientHello {
  readonly serverName: string;
  readonly alpn: readonly string[];
  readonly versions: readonly number[];
  /** Groups in order of preference, and those with a key share. */
  readonly groups: readonly number[];
  readonly shares: readonly number[];
}

/** The handshake message in the first records. */
export function clientHello(records: readonly TlsRecord[]): ClientHello {
  const { body } = firstMessage(records, CLIENT_HELLO);
  const r = new Reader(body);
  r.skip(2 + 32);
  r.skip(r.number(1)); // session
  r.skip(r.number(2)); // cipher suites
  r.skip(r.number(1)); // compression
  const extensions = readExtensions(r);
  const name = new Reader(extensions.get(SERVER_NAME) ?? new Uint8Array([0, 0, 0, 0, 0]));
  name.skip(3);
  const alpn: string[] = [];
  const protocols = new Reader(extensions.get(ALPN) ?? new Uint8Array(2));
  protocols.skip(2);
  while (protocols.left > 0) alpn.push(protocols.text(protocols.number(1)));
  const versions: number[] = [];
  const offered = new Reader(extensions.get(SUPPORTED_VERSIONS) ?? new Uint8Array(1));
  offered.skip(1);
  while (offered.left > 0) versions.push(offered.number(2));
  const groups: number[] = [];
  const named = new Reader(extensions.get(SUPPORTED_GROUPS) ?? new Uint8Array(2));
  named.skip(2);
  while (named.left > 0) groups.push(named.number(2));
  const shares: number[] = [];
  const keys = new Reader(extensions.get(KEY_SHARE) ?? new Uint8Array(2));
  keys.skip(2);
  while (keys.left > 0) {
    shares.push(keys.number(2));
    keys.skip(keys.number(2));
  }
  return { serverName: name.text(name.number(2)), alpn, versions, groups, shares };
}

/** What the server chose. Version 0x0304: TLS 1.3; group 0: it gave no key share. */
export function serverHello(
  records: readonly TlsRecord[],
): { readonly version: number; readonly cipherSuite: number; readonly group: number } {
  const { body } = firstMessage(records, SERVER_HELLO);
  const r = new Reader(body);
  const legacy = r.number(2);
  r.skip(32);
  r.skip(r.number(1));
  const cipherSuite = r.number(2);
  r.skip(1);
  const extensions = readExtensions(r);
  const chosen = extensions.get(SUPPORTED_VERSIONS);
  const share = extensions.get(KEY_SHARE);
  return {
    version: chosen === undefined ? legacy : new Reader(chosen).number(2),
    cipherSuite,
    group: share === undefined ? 0 : new Reader(share).number(2),
  };
}

function firstMessage(records: readonly TlsRecord[], type: number): { body: Uint8Array } {
  const first = records.findIndex((r) => r.type !== HANDSHAKE);
  const handshake = records.slice(0, first < 0 ? undefined : first).map((r) => r.fragment);
  const r = new Reader(Buffer.concat(handshake));
  const found = r.number(1);
  if (found !== type) throw new Error(`the first handshake message has type ${found}, not ${type}`);
  return { body: r.bytes(r.number(3)) };
}

function readExtensions(r: Reader): Map<number, Uint8Array> {
  const extensions = new Map<number, Uint8Array>();
  const all = new Reader(r.bytes(r.number(2)));
  while (all.left > 0) {
    const type = all.number(2);
    extensions.set(type, all.bytes(all.number(2)));
  }
  return extensions;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  bytes(length: number): Uint8Array {
    if (length > this.left) throw new Error("a TLS message is cut short");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  skip(length: number): void {
    this.bytes(length);
  }

  number(length: number): number {
    return this.bytes(length).reduce((n, byte) => n * 256 + byte, 0);
  }

  text(length: number): string {
    return Buffer.from(this.bytes(length)).toString("latin1");
  }
}

function hex(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.subarray(at, at + 16)).toString("hex");
}
