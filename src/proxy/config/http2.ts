// The HTTP/2 knobs of the environment: what servers announce and how both ends watch their peer.
// Bounds are RFC 9113's; absent ones are this proxy's own defaults, in the codec.

import type { Http2Config, KeepAlive } from "../config.ts";
import * as grammar from "./grammar.ts";
import type { EnvReader } from "./reader.ts";

/** Linkerd's windows, in bytes. */
const STREAM_WINDOW_BYTES = 65_535;
const CONNECTION_WINDOW_BYTES = 1_048_576;

/** RFC 9113 §6.9.1: the largest window, and §4.2: the bounds of a frame. */
const MAX_WINDOW = 2 ** 31 - 1;
const MIN_FRAME = 16_384;
const MAX_FRAME = 16_777_215;

/** What accepted HTTP/2 connections of one direction announce. */
export function http2Config(read: EnvReader, side: "INBOUND" | "OUTBOUND"): Http2Config {
  const base = `LINKERD2_PROXY_${side}_SERVER_HTTP2` as const;
  const limit = (
    name: `${typeof base}_${
      | "MAX_CONCURRENT_STREAMS"
      | "MAX_HEADER_LIST_SIZE"
      | "MAX_PENDING_ACCEPT_RESET_STREAMS"
      | "MAX_SEND_BUF_SIZE"}`,
  ) => read.get<number | null>(name, (t) => within(grammar.parseCount(t), 1, MAX_WINDOW), null);
  const adaptive = `${base}_ADAPTIVE_FLOW_CONTROL` as const;
  read.get(adaptive, grammar.parseBoolean, false);
  return {
    ...windows(
      read,
      `${base}_INITIAL_STREAM_WINDOW_SIZE`,
      `${base}_INITIAL_CONNECTION_WINDOW_SIZE`,
    ),
    keepAlive: keepAlive(read, side),
    maxConcurrentStreams: limit(`${base}_MAX_CONCURRENT_STREAMS`),
    maxFrameBytes: read.get<number | null>(
      `${base}_MAX_FRAME_SIZE`,
      (t) => within(grammar.parseCount(t), MIN_FRAME, MAX_FRAME),
      null,
    ),
    maxHeaderListBytes: limit(`${base}_MAX_HEADER_LIST_SIZE`),
    maxPendingResets: limit(`${base}_MAX_PENDING_ACCEPT_RESET_STREAMS`),
    maxSendBufferBytes: limit(`${base}_MAX_SEND_BUF_SIZE`),
  };
}

/** The windows that connections to endpoints announce. */
export function http2ClientWindows(read: EnvReader) {
  return windows(
    read,
    "LINKERD2_PROXY_HTTP2_INITIAL_STREAM_WINDOW_SIZE",
    "LINKERD2_PROXY_HTTP2_INITIAL_CONNECTION_WINDOW_SIZE",
  );
}

type Window = Parameters<EnvReader["get"]>[0];

function windows(read: EnvReader, stream: Window, connection: Window) {
  const bytes = (text: string) => within(grammar.parseCount(text), 1, MAX_WINDOW);
  return {
    streamWindowBytes: read.get(stream, bytes, STREAM_WINDOW_BYTES),
    // The protocol has no way to make it smaller than it begins.
    connectionWindowBytes: Math.max(
      STREAM_WINDOW_BYTES,
      read.get(connection, bytes, CONNECTION_WINDOW_BYTES),
    ),
  };
}

function keepAlive(read: EnvReader, side: "INBOUND" | "OUTBOUND"): KeepAlive | null {
  const interval = `LINKERD2_PROXY_${side}_SERVER_HTTP2_KEEP_ALIVE_INTERVAL` as const;
  const timeout = `LINKERD2_PROXY_${side}_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT` as const;
  const intervalMs = read.get<number | null>(interval, grammar.parseDuration, null);
  const timeoutMs = read.get<number | null>(timeout, grammar.parseDuration, null);
  if (read.has(interval) !== read.has(timeout)) {
    const [missing, other] = read.has(interval) ? [timeout, "_INTERVAL"] : [interval, "_TIMEOUT"];
    read.problem(missing, `must be set with ${other}`);
  }
  return intervalMs === null || timeoutMs === null ? null : { intervalMs, timeoutMs };
}

function within(value: number, min: number, max: number): number {
  if (value < min || value > max) throw new Error(`is ${value}: write ${min} to ${max}`);
  return value;
}
