// The access log: one line for each inbound request, in Apache's common format or as JSON with Linkerd's
// fields. Lines are gathered and written together; what cannot be written in time is dropped and counted.
// Made only where it is asked for: without it a request pays one comparison.

import type { Driver } from "../../core/driver.ts";
import { formatSocketAddr } from "../../core/addr.ts";
import type { Exchange } from "../../core/exchange.ts";
import { headerName } from "../../core/head.ts";
import { createTimer } from "../../core/timers.ts";
import type { AccessLog as AccessLogFormat } from "../config.ts";
import type { ProxyMetrics } from "../metrics.ts";

/** Written when so much was gathered, or after so long. */
const CHUNK_CHARS = 16 * 1024;
const FLUSH_MS = 100;
/** Of a value that a client chose. */
const MAX_VALUE_CHARS = 4096;

const CONTENT_LENGTH = headerName("content-length");
const USER_AGENT = headerName("user-agent");
/** Where a trace's number may be, in this order, as in Linkerd. */
const TRACE_IDS = ["x-b3-traceid", "x-request-id", "x-amzn-trace-id"].map(headerName);

export interface AccessLogOptions {
  readonly format: AccessLogFormat;
  readonly driver: Pick<Driver, "now" | "timers">;
  readonly metrics: ProxyMetrics;
  /** The wall clock, in milliseconds. */
  wall(): number;
  /** Takes whole lines; false: there is no room, and they are lost. */
  write(text: string): boolean;
}

/** The log of one data-plane thread. */
export class AccessLog {
  readonly #o: AccessLogOptions;
  readonly #timer = createTimer(() => this.flush());
  #text = "";
  #lines = 0;

  constructor(o: AccessLogOptions) {
    this.#o = o;
  }

  /** A request is over. */
  ended(x: Exchange): void {
    const { format, driver } = this.#o;
    if (this.#lines === 0) driver.timers.arm(this.#timer, driver.now + FLUSH_MS);
    this.#text += format === "json" ? this.#json(x) : this.#apache(x);
    this.#lines++;
    if (this.#text.length >= CHUNK_CHARS) this.flush();
  }

  /** Writes what was gathered. */
  flush(): void {
    if (this.#lines === 0) return;
    const { driver, metrics, write } = this.#o;
    driver.timers.cancel(this.#timer);
    if (!write(this.#text)) {
      const { sheet, accessLogDropped } = metrics;
      sheet.add(sheet.cell(accessLogDropped, {}), this.#lines);
    }
    this.#text = "";
    this.#lines = 0;
  }

  /** `client identity - [time] "request line" status bytes`. */
  #apache(x: Exchange): string {
    const { conn, request, status, responseBytes } = x;
    const line = `${escaped(request.method)} ${escaped(request.path)} ${version(x)}`;
    const bytes = responseBytes < 0 ? "-" : responseBytes;
    return `${formatSocketAddr(conn.remote)} ${clientId(x)} - [${this.#began(x)}] "${line}" ${
      status === 0 ? "-" : status
    } ${bytes}\n`;
  }

  #json(x: Exchange): string {
    const { conn, request, status, responseBytes, respondedMs } = x;
    const { now } = this.#o.driver;
    const total = Math.round(((respondedMs === 0 ? now : respondedMs) - x.startedMs) * 1e6);
    const header = (name: typeof USER_AGENT) => bounded(request.get(name) ?? "");
    const trace = TRACE_IDS.find((name) => request.find(name) >= 0);
    return JSON.stringify({
      "client.addr": formatSocketAddr(conn.remote),
      "client.id": clientId(x),
      host: bounded(request.authority),
      method: bounded(request.method),
      processing_ns: String(Math.round((now - x.startedMs) * 1e6)),
      request_bytes: header(CONTENT_LENGTH),
      response_bytes: responseBytes < 0 ? "" : String(responseBytes),
      status,
      timestamp: this.#began(x),
      total_ns: String(total),
      trace_id: trace === undefined ? "" : header(trace),
      uri: bounded(request.path),
      user_agent: header(USER_AGENT),
      version: version(x),
    }) + "\n";
  }

  /** When the request came, by the wall clock. */
  #began(x: Exchange): string {
    const { driver, wall } = this.#o;
    return new Date(wall() - (driver.now - x.startedMs)).toISOString();
  }
}

function clientId({ conn: { tls } }: Exchange): string {
  return tls?.identity ?? "-";
}

function version({ request: { major, minor } }: Exchange): string {
  return major === 2 ? "HTTP/2.0" : `HTTP/1.${minor}`;
}

function bounded(value: string): string {
  return value.length <= MAX_VALUE_CHARS ? value : value.slice(0, MAX_VALUE_CHARS);
}

/** As Apache writes it: nothing that a client says ends a field or a line. */
function escaped(value: string): string {
  return bounded(value).replace(
    // deno-lint-ignore no-control-regex -- those are what must not get into a line
    /["\\\x00-\x20\x7f-\xff]/g,
    (c) =>
      c === '"' || c === "\\" ? `\\${c}` : "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
  );
}
