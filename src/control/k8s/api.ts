// The Kubernetes API as this control plane uses it: JSON in, JSON out, and watches. Adds credentials to
// each request and turns refusals into one line. Knows no kind; never puts a token or an object into an
// error.

import { errorText } from "../../core/errors.ts";
import type { Credentials } from "./credentials.ts";
import { lines } from "./lines.ts";

/** What is needed of an HTTP client; `runtime/http-client.ts` has it. */
export interface KubeHttp {
  request(what: {
    readonly url: string;
    readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: string;
    readonly timeoutMs: number;
    readonly maxBytes: number;
    readonly signal?: AbortSignal;
  }): Promise<{ readonly status: number; readonly body: Uint8Array }>;
  stream(what: {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly idleMs: number;
    readonly signal: AbortSignal;
  }): Promise<{ readonly status: number; readonly body: AsyncIterable<Uint8Array> }>;
  close(): Promise<void>;
}

/** A client of an API server. A certificate is presented as long as it is the same. */
export interface KubeConnector {
  readonly server: string;
  connect(certificate: { readonly cert: string; readonly key: string } | null): KubeHttp;
}

/** The API server refused. */
export class KubeError extends Error {
  /** Of HTTP, or of the Status object. */
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = "KubeError";
    this.status = status;
  }
}

/** The connection of a watch broke: nothing that a new one would not mend. */
export class WatchCut extends Error {}

export interface KubeRequest {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With its query. */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

export interface KubeApi {
  /** The answer's JSON. Rejects with a `KubeError` for a refusal, or with one line. */
  request(what: KubeRequest): Promise<unknown>;
  /** The events of a watch, those that came together as one; none at first, when it is open. Rejects as
   * `request` does. */
  watch(path: string, idleMs: number, signal: AbortSignal): AsyncIterable<readonly unknown[]>;
  close(): Promise<void>;
}

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const MAX_EVENT_BYTES = 8 * 1024 * 1024;
const MAX_REFUSAL_BYTES = 64 * 1024;

export function kubeApi(connector: KubeConnector, credentials: Credentials): KubeApi {
  let http: KubeHttp | null = null;
  let presented = "";
  let closed = false;

  /** The client for the certificate that counts now, and the headers of the token that does. */
  const access = async () => {
    const { token, certificate } = await credentials.current();
    if (closed) throw new Error("the client of the API server is closed");
    const key = certificate === null ? "" : certificate.cert;
    if (http === null || presented !== key) {
      // Requests that run end with the old one: they are tried again by whoever made them.
      void http?.close();
      http = connector.connect(certificate);
      presented = key;
    }
    const headers: Record<string, string> = { accept: "application/json", "user-agent": "tulle" };
    if (token !== null) headers["authorization"] = `Bearer ${token}`;
    return { http, headers };
  };

  const refuse = (method: string, path: string, status: number, body: Uint8Array): never => {
    // A token that was good may have been replaced: the next request asks anew.
    if (status === 401) credentials.refused();
    throw new KubeError(
      status,
      `${method} ${withoutQuery(path)}: the API server at ${connector.server} answered ${status}${
        why(body)
      }`,
    );
  };

  return {
    async request({ method = "GET", path, body, contentType = "application/json", signal }) {
      const { http, headers } = await access();
      const answer = await http.request({
        url: connector.server + path,
        method,
        headers: body === undefined ? headers : { ...headers, "content-type": contentType },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_ANSWER_BYTES,
        ...(signal === undefined ? {} : { signal }),
      });
      if (answer.status < 200 || answer.status > 299) {
        refuse(method, path, answer.status, answer.body);
      }
      return json(answer.body, path);
    },
    async *watch(path, idleMs, signal) {
      const { http, headers } = await access();
      // Its own signal, so that leaving the loop ends the connection too.
      const own = new AbortController();
      const both = AbortSignal.any([signal, own.signal]);
      try {
        const url = connector.server + path;
        const answer = await http.stream({ url, headers, idleMs, signal: both });
        if (answer.status !== 200) {
          refuse("GET", path, answer.status, await head(answer.body));
        }
        yield [];
        for await (const some of lines(uncut(answer.body), MAX_EVENT_BYTES)) {
          yield some.map((line) => parse(line, path));
        }
      } finally {
        own.abort();
      }
    },
    async close() {
      closed = true;
      await http?.close();
    },
  };
}

async function* uncut(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (e) {
    throw new WatchCut(errorText(e), { cause: e });
  }
}

/** The beginning of a body. */
async function head(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  for await (const chunk of body) return chunk.subarray(0, MAX_REFUSAL_BYTES);
  return new Uint8Array();
}

function json(body: Uint8Array, path: string): unknown {
  return parse(new TextDecoder().decode(body), path);
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message would repeat a part of the text.
    throw new Error(`GET ${withoutQuery(path)}: the API server's answer is not JSON`);
  }
}

/** What a Status object says, or the text of an answer that is none. */
function why(body: Uint8Array): string {
  const text = new TextDecoder().decode(body.subarray(0, MAX_REFUSAL_BYTES));
  let message = text;
  try {
    const status = JSON.parse(text) as { message?: unknown } | null;
    if (typeof status?.message === "string") message = status.message;
  } catch {
    // It is text, as of a proxy before the API server.
  }
  const line = message.replace(/\s+/g, " ").trim().slice(0, 300);
  return line === "" ? "" : `: ${line}`;
}

function withoutQuery(path: string): string {
  const cut = path.indexOf("?");
  return cut < 0 ? path : path.slice(0, cut);
}
