// The header with which a mesh connection begins: which port and protocol the stream behind it is for.
// ASCII line, length, protobuf message `transport.l5d.io.Header`; small enough to be read by hand,
// since it is on the path of each connection.

const PREFIX = new TextEncoder().encode("transport.l5d.io/v1\r\n\r\n");
const MAX_MESSAGE_BYTES = 1024;

/** What a connection carries. `opaque`: bytes. */
export type SessionProtocol = "opaque" | "http1" | "http2";

export interface TransportHeader {
  readonly port: number;
  /** Only for gateways; empty otherwise. */
  readonly name: string;
  readonly protocol: SessionProtocol;
}

/** The bytes to send. */
export function encodeTransportHeader(header: TransportHeader): Uint8Array {
  const message: number[] = [0x08, ...varint(header.port)];
  if (header.name !== "") {
    const name = new TextEncoder().encode(header.name);
    message.push(0x12, ...varint(name.length), ...name);
  }
  if (header.protocol !== "opaque") {
    message.push(0x1a, 2, header.protocol === "http1" ? 0x0a : 0x12, 0);
  }
  const bytes = new Uint8Array(PREFIX.length + 4 + message.length);
  bytes.set(PREFIX);
  new DataView(bytes.buffer).setUint32(PREFIX.length, message.length);
  bytes.set(message, PREFIX.length + 4);
  return bytes;
}

/** Where the stream begins, null for "not all there yet", or a text that says what is wrong. */
export function decodeTransportHeader(
  buf: Uint8Array,
  from: number,
  to: number,
): { header: TransportHeader; length: number } | null | string {
  for (let i = 0; i < PREFIX.length && from + i < to; i++) {
    if (buf[from + i] !== PREFIX[i]) return "the connection does not begin with a transport header";
  }
  const at = from + PREFIX.length;
  if (at + 4 > to) return null;
  const size = new DataView(buf.buffer, buf.byteOffset).getUint32(at);
  if (size > MAX_MESSAGE_BYTES) {
    return `the transport header has ${size} bytes, more than ${MAX_MESSAGE_BYTES}`;
  }
  if (at + 4 + size > to) return null;
  const header = decodeMessage(buf, at + 4, at + 4 + size);
  if (header === null) return "the transport header is not a protobuf message";
  if (header.port < 1 || header.port > 65535) {
    return `the transport header names port ${header.port}`;
  }
  return { header, length: at + 4 + size - from };
}

function decodeMessage(buf: Uint8Array, from: number, to: number): TransportHeader | null {
  let port = 0;
  let name = "";
  let protocol: SessionProtocol = "opaque";
  let p = from;
  const read = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35 && p < to; shift += 7) {
      const byte = buf[p++] as number;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    return -1;
  };
  while (p < to) {
    const tag = read();
    const wire = tag & 7;
    const field = tag >>> 3;
    if (tag < 0 || field === 0) return null;
    if (wire === 0) {
      const value = read();
      if (value < 0) return null;
      if (field === 1) port = value;
    } else if (wire === 2) {
      const size = read();
      if (size < 0 || p + size > to) return null;
      if (field === 2) name = new TextDecoder().decode(buf.subarray(p, p + size));
      if (field === 3) {
        const kind = size > 0 ? (buf[p] as number) >>> 3 : 0;
        protocol = kind === 1 ? "http1" : kind === 2 ? "http2" : "opaque";
      }
      p += size;
    } else if (wire === 5 || wire === 1) p += wire === 5 ? 4 : 8;
    else return null;
    if (p > to) return null;
  }
  return { port, name, protocol };
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  while (value > 127) {
    bytes.push((value & 127) | 128);
    value >>>= 7;
  }
  bytes.push(value);
  return bytes;
}
