// The transport header: what a proxy says inside TLS before the bytes of a direct connection to another
// proxy's inbound port. ALPN `transport.l5d.io/v1`, a fixed preface, a length, a protobuf message.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { HeaderSchema } from "./gen/transport_header_pb.ts";
import { shown, WireError } from "./wire-error.ts";

/** The ALPN protocol of such a connection. */
export const TRANSPORT_ALPN = "transport.l5d.io/v1";

const PREFACE = new TextEncoder().encode(`${TRANSPORT_ALPN}\r\n\r\n`);
/** A port, a session protocol and a name of at most 253 characters fit easily. */
const MAX_MESSAGE_BYTES = 1024;

/** What the client wants behind the inbound port. */
export interface TransportHeader {
  /** The endpoint's real port. */
  readonly port: number;
  /** A gateway's target; empty otherwise. */
  readonly name: string;
  /** `opaque`: bytes that are not to be interpreted. */
  readonly protocol: "http1" | "http2" | "opaque";
}

/** Preface, length and message. */
export function encodeTransportHeader(header: TransportHeader): Uint8Array {
  const kind = header.protocol;
  const message = toBinary(
    HeaderSchema,
    create(HeaderSchema, {
      port: header.port,
      name: header.name,
      ...(kind === "opaque" ? {} : { sessionProtocol: { kind: { case: kind, value: {} } } }),
    }),
  );
  const out = new Uint8Array(PREFACE.length + 4 + message.length);
  out.set(PREFACE);
  new DataView(out.buffer).setUint32(PREFACE.length, message.length);
  out.set(message, PREFACE.length + 4);
  return out;
}

/**
 * Reads a header from `buf[from..to)`.
 *
 * Null: it is not whole yet, feed more. `bytes` is what it took; what follows is the connection's own.
 * Raises a `WireError` as soon as the bytes cannot become a header.
 */
export function decodeTransportHeader(
  buf: Uint8Array,
  from: number,
  to: number,
): { readonly header: TransportHeader; readonly bytes: number } | null {
  const have = Math.min(to - from, PREFACE.length);
  for (let i = 0; i < have; i++) {
    if (buf[from + i] !== PREFACE[i]) throw new WireError("preface", "is not a transport header");
  }
  const start = PREFACE.length + 4;
  if (to - from < start) return null;
  const length = new DataView(buf.buffer, buf.byteOffset + from + PREFACE.length, 4).getUint32(0);
  if (length > MAX_MESSAGE_BYTES) {
    throw new WireError("length", `is ${length}, over ${MAX_MESSAGE_BYTES}`);
  }
  if (to - from < start + length) return null;
  return {
    header: readMessage(buf.subarray(from + start, from + start + length)),
    bytes: start + length,
  };
}

function readMessage(bytes: Uint8Array): TransportHeader {
  let message;
  try {
    message = fromBinary(HeaderSchema, bytes);
  } catch {
    throw new WireError("header", "is not a protobuf message");
  }
  const { port, name, sessionProtocol } = message;
  if (port < 1 || port > 65535) throw new WireError("port", `is ${port}, not in 1–65535`);
  if (name.length > 253) throw new WireError("name", `${shown(name)} is too long`);
  const kind = sessionProtocol?.kind.case;
  // A protocol that we do not know must not be taken for opaque.
  if (sessionProtocol !== undefined && kind === undefined) {
    throw new WireError("session_protocol", "is not one that is spoken here");
  }
  return { port, name, protocol: kind ?? "opaque" };
}
