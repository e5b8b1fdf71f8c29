// What the demo's services share: their place in the mesh, an HTTP server on the pod's address, and
// calls through the pod's outbound proxy. Plain `node:http`, as an application would have it.

import http from "node:http";
import process from "node:process";

/** The pod's address: servers bind it, and outgoing connections come from it. */
export const POD_IP = process.env.POD_IP ?? "127.0.0.1";
/** The pod's outbound proxy. */
export const PROXY_PORT = 4140;
const MAX_BODY_BYTES = 64 * 1024;

/** What a call brought. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  /** What the mesh said of a failure, or empty. */
  readonly proxyError: string;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 256, maxFreeSockets: 16 });

/**
 * Calls `http://<authority><path>` through the outbound proxy. Resolves with whatever status came;
 * rejects when there was no whole response within `timeoutMs`.
 */
export function call(
  method: "GET" | "POST",
  authority: string,
  path: string,
  options: { body?: string; timeoutMs: number },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({
      agent,
      host: POD_IP,
      port: PROXY_PORT,
      localAddress: POD_IP,
      method,
      path: `http://${authority}${path}`,
      headers: {
        host: authority,
        ...(options.body === undefined ? {} : {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(options.body),
        }),
      },
    });
    const timer = setTimeout(
      () => request.destroy(new Error(`no answer after ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    const fail = (e: Error) => {
      clearTimeout(timer);
      reject(new Error(`${method} http://${authority}${path}: ${e.message}`));
    };
    request.on("error", fail);
    request.on("response", (response) => {
      response.on("error", fail);
      body(response).then((text) => {
        clearTimeout(timer);
        resolve({
          status: response.statusCode ?? 0,
          body: text,
          proxyError: String(response.headers["l5d-proxy-error"] ?? ""),
        });
      }, fail);
    });
    request.end(options.body);
  });
}

/** A whole body as text, bounded. */
export function body(message: http.IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    message.setEncoding("utf8");
    message.on("data", (part: string) => {
      text += part;
      if (text.length > MAX_BODY_BYTES) message.destroy(new Error("the body is too long"));
    });
    message.on("end", () => resolve(text));
    message.on("close", () => reject(new Error("the connection closed in the body")));
    message.on("error", reject);
  });
}

/** Answers with JSON. */
export function reply(response: http.ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** Serves HTTP on the pod's address and says so on stdout; a taken address is one clear line. */
export function serve(
  port: number,
  handle: (request: http.IncomingMessage, response: http.ServerResponse) => void | Promise<void>,
): void {
  const server = http.createServer((request, response) => {
    Promise.resolve(handle(request, response)).catch((e: unknown) => {
      if (!response.headersSent) reply(response, 502, { error: message(e) });
      else response.destroy();
    });
  });
  server.keepAliveTimeout = 60_000;
  server.on("error", (e) => die(`cannot listen on ${POD_IP}:${port}: ${message(e)}`));
  server.listen(port, POD_IP, () => say({ listening: `${POD_IP}:${port}` }));
}

/** One JSON line on stdout, for the parent. */
export function say(value: unknown): void {
  process.stdout.write(JSON.stringify(value) + "\n");
}

/** One line on stderr, and the end. */
export function die(why: string): never {
  process.stderr.write(why + "\n");
  process.exit(1);
}

/** The text of anything thrown. */
export function message(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

/** A whole number from the environment. */
export function wholeFromEnv(name: string, otherwise: number): number {
  const n = Number(process.env[name] ?? "");
  return Number.isInteger(n) && n >= 0 && process.env[name] !== undefined ? n : otherwise;
}

process.on("SIGTERM", () => process.exit(0));
