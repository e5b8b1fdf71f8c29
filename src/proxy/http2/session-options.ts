// What an HTTP/2 session is made with, and what it tells whoever made it. Of `session.ts`, apart so that
// servers, clients and settings can name it.

import type { Http2Stream } from "./stream.ts";

/** How a connection behaves. */
export interface SessionOptions {
  readonly role: "server" | "client";
  /** What the peer may send on a stream before we took it. */
  readonly streamWindowBytes: number;
  /** The same for all streams together; at least 65,535. */
  readonly connectionWindowBytes: number;
  /** Streams that the peer may have open. */
  readonly maxConcurrentStreams: number;
  /** Longest header block, and what is announced as the longest list. At most 64 KiB. */
  readonly maxHeadBytes: number;
  /** Longest frame that the peer may send, if not 16,384; at most 128 KiB are buffered. */
  readonly maxFrameBytes?: number | undefined;
  /** Streams that the peer may reset at once, beside those that time allows; absent: twice its streams. */
  readonly maxResets?: number | undefined;
  /** For the preface, a frame or a header block that began, and the answer to our SETTINGS. */
  readonly headMs: number;
  /** A connection without streams is ended after this long; Infinity: never. */
  readonly idleMs: number;
  /** A stream whose peer gives no window for what waits is reset after this long. */
  readonly stallMs: number;
  /** PING after so long without a frame, and how long its answer may take; null: never. */
  readonly keepAlive: { readonly intervalMs: number; readonly timeoutMs: number } | null;
}

/** A bound that a peer ran into; labels of a counter. */
export type Flood = "frames" | "resets" | "continuation" | "output" | "slow" | "stalled";

/** What a session needs of who made it. */
export interface SessionOwner {
  /** A server's: the peer begins a stream. Null: not now (REFUSED_STREAM). */
  incoming(): Http2Stream | null;
  /** A client's: the peer's limits or the number of streams changed; see `available`. */
  settled(): void;
  /** The peer takes no more streams; those that it did not process have been told. */
  goneAway(code: number): void;
  /** The peer ran into a bound. */
  flooded(what: Flood): void;
  /** The connection is over, and all its streams have been told. `why`: for logs; null: in order. */
  over(why: string | null): void;
  /** After that, the channel is closed: the peer heard what was said last, or had its time to. Once. */
  gone(): void;
}
