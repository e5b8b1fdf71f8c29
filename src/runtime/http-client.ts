// The HTTP client of the control side: scrapes, the Kubernetes API, module URLs. One dispatcher per
// client and never the global `fetch`, which ignores the dispatcher on Deno. Not on the data path.

import { Agent, request } from "undici";
import { errorText } from "../core/errors.ts";

export interface HttpRequest {
  readonly url: string;
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  /** A larger answer is refused. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  /** Lower-case names; of repeated headers, the first. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** A request whose answer goes on: a watch. */
export interface HttpStreamRequest {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** From the call to the head of the answer, and between two parts of its body. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

export interface HttpStream {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** As it arrives. Rejects with one line when the connection breaks, idles or is aborted. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface HttpClient {
  /** Follows no redirect, retries nothing. Rejects with one line that names the URL without its query. */
  request(what: HttpRequest): Promise<HttpResponse>;
  /** A GET. Whoever calls reads the body to its end or aborts. Rejects as `request` does. */
  stream(what: HttpStreamRequest): Promise<HttpStream>;
  /** Ends what runs. */
  close(): Promise<void>;
}

export interface HttpClientOptions {
  readonly connectTimeoutMs?: number;
  /** Idle connections are closed after this. */
  readonly keepAliveMs?: number;
  readonly connectionsPerOrigin?: number;
  /** PEM; the system's roots when missing. */
  readonly ca?: string;
  /** The client's own certificate. PEM. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** The name that the server's certificate must be for, when it is not the URL's. */
  readonly serverName?: string;
}

/** A client with its own connections. */
export function createHttpClient(options: HttpClientOptions = {}): HttpClient {
  const { connectTimeoutMs = 2_000, keepAliveMs = 10_000, connectionsPerOrigin = 4 } = options;
  const { ca, certificate, serverName } = options;
  const agent = new Agent({
    connect: {
      timeout: connectTimeoutMs,
      ...(ca === undefined ? {} : { ca }),
      ...certificate,
      ...(serverName === undefined ? {} : { servername: serverName }),
    },
    // One connection a request: a watch must not share one with what else runs.
    allowH2: false,
    connections: connectionsPerOrigin,
    keepAliveTimeout: keepAliveMs,
    pipelining: 1,
    maxHeaderSize: 16 * 1024,
  });
  return {
    request: (what) => send(agent, what),
    stream: (what) => open(agent, what),
    close: () => agent.destroy(),
  };
}

async function send(agent: Agent, what: HttpRequest): Promise<HttpResponse> {
  const { url, method = "GET", headers = {}, body = null, timeoutMs, maxBytes } = what;
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  const signal = what.signal === undefined
    ? timeout.signal
    : AbortSignal.any([timeout.signal, what.signal]);
  try {
    const answer = await request(url, { dispatcher: agent, method, headers, body, signal });
    return {
      status: answer.statusCode,
      headers: firstValues(answer.headers),
      body: await readBounded(answer.body, maxBytes),
    };
  } catch (e) {
    const why = timeout.signal.aborted ? `timed out after ${timeoutMs} ms` : reason(e);
    throw new Error(`${method} ${withoutQuery(url)} failed: ${why}`, { cause: e });
  } finally {
    clearTimeout(timer);
  }
}

async function open(agent: Agent, what: HttpStreamRequest): Promise<HttpStream> {
  const { url, headers = {}, idleMs, signal } = what;
  const failed = (e: unknown) => {
    const code = (e as { code?: unknown } | null)?.code;
    const idle = code === "UND_ERR_BODY_TIMEOUT" || code === "UND_ERR_HEADERS_TIMEOUT";
    const why = idle ? `nothing came for ${idleMs} ms` : reason(e);
    return new Error(`GET ${withoutQuery(url)} failed: ${why}`, { cause: e });
  };
  try {
    const times = { headersTimeout: idleMs, bodyTimeout: idleMs };
    const answer = await request(url, { dispatcher: agent, headers, signal, ...times });
    return {
      status: answer.statusCode,
      headers: firstValues(answer.headers),
      body: (async function* () {
        try {
          yield* answer.body as AsyncIterable<Uint8Array>;
        } catch (e) {
          throw failed(e);
        }
      })(),
    };
  } catch (e) {
    throw failed(e);
  }
}

async function readBounded(
  body: AsyncIterable<Uint8Array> & { destroy(): unknown },
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) {
      body.destroy();
      throw new Error(`the answer is larger than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function firstValues(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const first: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const one = Array.isArray(value) ? value[0] : value;
    if (one !== undefined) first[name] = one;
  }
  return first;
}

/** System errors say more by their name, and an AggregateError says nothing by itself. */
function reason(e: unknown): string {
  const code = (e as { code?: unknown } | null)?.code;
  if (code === "ECONNREFUSED") return "the connection was refused";
  const text = errorText(e);
  return text === "" && typeof code === "string" ? code : text;
}

function withoutQuery(url: string): string {
  if (!URL.canParse(url)) return "an invalid URL";
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
