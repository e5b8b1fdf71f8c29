// Frames of HTTP/2 (RFC 9113 §4, §6): their header, the rules that need no state, and writing them.
// Below the HTTP/2 codecs; knows of no stream or connection.

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

/** Flags. `ACK` is of SETTINGS and PING, `END_STREAM` of DATA and HEADERS. */
export const ACK = 0x1;
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const HAS_PRIORITY = 0x20;

/** Error codes (§7). */
export const NO_ERROR = 0x0;
export const PROTOCOL_ERROR = 0x1;
export const INTERNAL_ERROR = 0x2;
export const FLOW_CONTROL_ERROR = 0x3;
export const SETTINGS_TIMEOUT = 0x4;
export const STREAM_CLOSED = 0x5;
export const FRAME_SIZE_ERROR = 0x6;
export const REFUSED_STREAM = 0x7;
export const CANCEL = 0x8;
export const COMPRESSION_ERROR = 0x9;
export const CONNECT_ERROR = 0xa;
export const ENHANCE_YOUR_CALM = 0xb;
export const INADEQUATE_SECURITY = 0xc;
export const HTTP_1_1_REQUIRED = 0xd;

/** Their names, for messages. */
export const ERROR_NAMES: readonly string[] = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

/** Settings (§6.5.2). */
export const HEADER_TABLE_SIZE = 1;
export const ENABLE_PUSH = 2;
export const MAX_CONCURRENT_STREAMS = 3;
export const INITIAL_WINDOW_SIZE = 4;
export const MAX_FRAME_SIZE = 5;
export const MAX_HEADER_LIST_SIZE = 6;
/** RFC 8441 §3: whoever says 1 takes extended CONNECT. */
export const ENABLE_CONNECT_PROTOCOL = 8;

export const FRAME_HEADER_BYTES = 9;
/** The longest frame that may be sent before the peer allows more, and all that we ever allow. */
export const DEFAULT_MAX_FRAME_BYTES = 16_384;
export const DEFAULT_WINDOW_BYTES = 65_535;
export const MAX_WINDOW_BYTES = 0x7fffffff;

/** What a client speaks first (§3.4). */
export const PREFACE: Uint8Array = Uint8Array.from(
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  (c) => c.charCodeAt(0),
);

/** A frame's header, and where its payload is without padding once `unpad` was asked. */
export class Frame {
  length = 0;
  type = 0;
  flags = 0;
  stream = 0;
  from = 0;
  to = 0;

  /** Reads the nine bytes at `at`; the payload is expected after them. */
  read(buf: Uint8Array, at: number): void {
    this.length = ((buf[at] as number) << 16) | ((buf[at + 1] as number) << 8) |
      (buf[at + 2] as number);
    this.type = buf[at + 3] as number;
    this.flags = buf[at + 4] as number;
    // the reserved bit is ignored (§4.1)
    this.stream = readU32(buf, at + 5) & 0x7fffffff;
    this.from = at + FRAME_HEADER_BYTES;
    this.to = this.from + this.length;
  }

  /**
   * What is wrong with the header alone, as an error code of the connection; NO_ERROR: nothing. To be
   * asked before the payload is awaited, so that nothing too long is ever buffered.
   */
  check(maxFrameBytes: number): number {
    const { length, stream } = this;
    if (length > maxFrameBytes) return FRAME_SIZE_ERROR;
    switch (this.type) {
      case DATA:
      case HEADERS:
      case PUSH_PROMISE:
      case CONTINUATION:
        return stream === 0 ? PROTOCOL_ERROR : NO_ERROR;
      case PRIORITY:
        // a wrong length is an error of the stream only (§6.3): the codec's business
        return stream === 0 ? PROTOCOL_ERROR : NO_ERROR;
      case RST_STREAM:
        if (stream === 0) return PROTOCOL_ERROR;
        return length === 4 ? NO_ERROR : FRAME_SIZE_ERROR;
      case SETTINGS:
        if (stream !== 0) return PROTOCOL_ERROR;
        if ((this.flags & ACK) !== 0) return length === 0 ? NO_ERROR : FRAME_SIZE_ERROR;
        return length % 6 === 0 ? NO_ERROR : FRAME_SIZE_ERROR;
      case PING:
        if (stream !== 0) return PROTOCOL_ERROR;
        return length === 8 ? NO_ERROR : FRAME_SIZE_ERROR;
      case GOAWAY:
        if (stream !== 0) return PROTOCOL_ERROR;
        return length >= 8 ? NO_ERROR : FRAME_SIZE_ERROR;
      case WINDOW_UPDATE:
        return length === 4 ? NO_ERROR : FRAME_SIZE_ERROR;
      default:
        return NO_ERROR; // unknown types are ignored (§4.1)
    }
  }

  /** Takes padding and priority off a DATA or HEADERS payload; an error code of the connection. */
  unpad(buf: Uint8Array): number {
    let padding = 0;
    if ((this.flags & PADDED) !== 0) {
      if (this.length === 0) return FRAME_SIZE_ERROR;
      padding = buf[this.from++] as number;
    }
    if (this.type === HEADERS && (this.flags & HAS_PRIORITY) !== 0) {
      if (this.to - this.from < 5) return FRAME_SIZE_ERROR;
      this.from += 5;
    }
    // padding of all that is left is legal; of more is not (§6.1)
    if (padding > this.to - this.from) return PROTOCOL_ERROR;
    this.to -= padding;
    return NO_ERROR;
  }
}

/** What is wrong with one setting, as an error code of the connection; NO_ERROR: nothing. */
export function checkSetting(id: number, value: number): number {
  if (id === ENABLE_PUSH || id === ENABLE_CONNECT_PROTOCOL) {
    return value > 1 ? PROTOCOL_ERROR : NO_ERROR;
  }
  if (id === INITIAL_WINDOW_SIZE) return value > MAX_WINDOW_BYTES ? FLOW_CONTROL_ERROR : NO_ERROR;
  if (id === MAX_FRAME_SIZE) {
    return value < DEFAULT_MAX_FRAME_BYTES || value > 0xffffff ? PROTOCOL_ERROR : NO_ERROR;
  }
  return NO_ERROR;
}

/** Reads 32 bits, unsigned. */
export function readU32(buf: Uint8Array, at: number): number {
  return (((buf[at] as number) << 24) | ((buf[at + 1] as number) << 16) |
    ((buf[at + 2] as number) << 8) | (buf[at + 3] as number)) >>> 0;
}

/** Writes 32 bits; the end. */
export function writeU32(dst: Uint8Array, at: number, value: number): number {
  dst[at] = value >>> 24;
  dst[at + 1] = (value >>> 16) & 0xff;
  dst[at + 2] = (value >>> 8) & 0xff;
  dst[at + 3] = value & 0xff;
  return at + 4;
}

/** Writes a frame header, nine bytes; the end. */
export function writeFrameHeader(
  dst: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): number {
  dst[at] = length >>> 16;
  dst[at + 1] = (length >>> 8) & 0xff;
  dst[at + 2] = length & 0xff;
  dst[at + 3] = type;
  dst[at + 4] = flags;
  return writeU32(dst, at + 5, stream);
}
