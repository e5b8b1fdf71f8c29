// HTTP of the tests in `test/mesh`: small applications that say what they saw, and a client that takes
// whatever status comes. Plain `node:http`, since it must not share the proxy's codec.

import http from "node:http";

/** What a client got. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What an application got. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  /** Names in lower case; values of a name that came twice are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What an application says. */
export interface Said {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Serves at `ip:port` in this process. The result ends it, with its connections. */
export async function serveApp(
  ip: string,
  port: number,
  answer: (seen: Seen) => Said | Promise<Said>,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = http.createServer((request, response) => {
    void respond(request, response, answer);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: ip, port }, () => resolve());
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function respond(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  answer: (seen: Seen) => Said | Promise<Said>,
): Promise<void> {
  try {
    const said = await answer({
      method: request.method ?? "",
      path: request.url ?? "",
      headers: flat(request.headers),
      body: await textOf(request),
    });
    const body = said.body ?? "";
    response.writeHead(said.status ?? 200, {
      "content-length": Buffer.byteLength(body),
      ...said.headers,
    });
    response.end(body);
  } catch {
    response.destroy();
  }
}

/** One request. Rejects only when there was no whole response. */
export function ask(options: http.RequestOptions, body: string | Uint8Array = ""): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = http.request(options);
    sent.setTimeout(15_000, () => sent.destroy(new Error("no answer within 15 s")));
    sent.on("error", (e) => {
      reject(new Error(`${options.method ?? "GET"} ${options.path}: ${e.message}`, { cause: e }));
    });
    sent.on("response", (response) => {
      textOf(response).then((text) => {
        const status = response.statusCode ?? 0;
        resolve({ status, headers: flat(response.headers), body: text });
      }, reject);
    });
    sent.end(body);
  });
}

async function textOf(stream: http.IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString();
}

function flat(headers: http.IncomingHttpHeaders): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, String(v)]));
}
