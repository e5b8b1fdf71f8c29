// One HTTPS request after another over a connection of its own, with nothing but the runtime's own
// module: for a program that starts for each pod and must not load an HTTP library. Not for watches.

import { Agent, request } from "node:https";
import { errorText } from "../core/errors.ts";

/** What is asked; as `HttpRequest` of `http-client.ts`. */
export interface HttpsRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  /** A larger answer is refused. */
  readonly maxBytes: number;
}

export interface HttpsClientOptions {
  /** PEM; the system's roots when missing. */
  readonly ca?: string;
  /** The name that the server's certificate must be for, when it is not the URL's. */
  readonly serverName?: string;
  readonly certificate?: { readonly cert: string; readonly key: string };
}

/** A client that keeps its connection until it is closed. Follows no redirect, retries nothing. */
export function createHttpsClient({ ca, serverName, certificate }: HttpsClientOptions) {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ...(ca === undefined ? {} : { ca }),
    ...certificate,
    ...(serverName === undefined ? {} : { servername: serverName }),
  });
  return {
    /** Rejects with one line that names the URL without its query. */
    request: (what: HttpsRequest) => send(agent, what),
    /** Watches are not for this client. */
    stream: () => Promise.reject(new Error("This client cannot watch")),
    close(): Promise<void> {
      agent.destroy();
      return Promise.resolve();
    },
  };
}

function send(
  agent: Agent,
  { url, method, headers, body, timeoutMs, maxBytes }: HttpsRequest,
): Promise<{ readonly status: number; readonly body: Uint8Array }> {
  const { promise, resolve, reject } = Promise.withResolvers<
    { readonly status: number; readonly body: Uint8Array }
  >();
  const asked = request(url, { agent, method, headers }, (answer) => {
    const parts: Uint8Array[] = [];
    let size = 0;
    answer.on("data", (part: Uint8Array) => {
      size += part.length;
      parts.push(part);
      if (size > maxBytes) asked.destroy(new Error(`the answer is over ${maxBytes} bytes`));
    });
    answer.once("error", reject);
    answer.once("end", () => resolve({ status: answer.statusCode ?? 0, body: join(parts, size) }));
  });
  const timer = setTimeout(
    () => asked.destroy(new Error(`timed out after ${timeoutMs} ms`)),
    timeoutMs,
  );
  asked.once("error", reject);
  asked.end(body);
  const { origin, pathname } = new URL(url);
  return promise.catch((e: unknown) => {
    const text = errorText(e) || String((e as { code?: unknown }).code);
    throw new Error(`${method} ${origin}${pathname} failed: ${text}`, { cause: e });
  }).finally(() => clearTimeout(timer));
}

function join(parts: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
