// Applications behind a proxy and clients in front of one: HTTP/1 and HTTP/2 by the runtime's own
// codecs, and bytes as they are.

import http from "node:http";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import type { Answer } from "../../mesh/support/http.ts";
import { eventually } from "../../mesh/support/waiting.ts";

export type Version = "http1" | "http2";

/** What an application got. */
export interface Got {
  readonly version: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What it says: a body, or more; `null` resets. */
export type Says = string | null | {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly trailers?: Readonly<Record<string, string>>;
};

/** A running application. */
export interface App {
  readonly at: string;
  readonly got: Got[];
  /** Connections so far. */
  readonly connections: number;
  close(): Promise<void>;
}

/** Serves at `ip`, on any port unless one is given. */
export async function serve(
  ip: string,
  version: Version,
  answer: string | ((got: Got) => Says | Promise<Says>),
  port = 0,
): Promise<App> {
  const got: Got[] = [];
  const say = async (one: Got) => {
    got.push(one);
    return await (typeof answer === "string" ? answer : answer(one));
  };
  const server: net.Server = version === "http1"
    ? http.createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (piece: string) => (body += piece));
      request.on("error", () => {});
      request.on("end", () => {
        const { httpVersion, method = "", url = "", headers } = request;
        const one = { version: httpVersion, method, path: url, headers: flat(headers), body };
        void say(one).then((said) => respond1(response, said), () => response.destroy());
      });
    })
    : http2.createServer();
  if (version === "http2") server.on("stream", (stream, headers) => serve2(stream, headers, say));
  const open = new Set<net.Socket>();
  let connections = 0;
  server.on("connection", (socket: net.Socket) => {
    connections++;
    open.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => open.delete(socket));
  });
  server.on("sessionError", () => {});
  await listening(server, ip, port);
  return {
    at: `${ip}:${(server.address() as AddressInfo).port}`,
    got,
    get connections() {
      return connections;
    },
    close: () => closed(server, open),
  };
}

function respond1(response: http.ServerResponse, said: Says): void {
  if (said === null) return void response.destroy();
  const { status = 200, headers = {}, body = "", trailers } = asSaid(said);
  response.writeHead(status, {
    ...(trailers === undefined ? {} : { trailer: Object.keys(trailers).join(",") }),
    ...headers,
  });
  if (trailers !== undefined) response.addTrailers(trailers);
  response.end(body);
}

function serve2(
  stream: http2.ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
  say: (got: Got) => Promise<Says>,
): void {
  let body = "";
  stream.setEncoding("utf8").on("data", (piece: string) => (body += piece));
  stream.on("error", () => {});
  stream.on("end", () => {
    const one = {
      version: "2.0",
      method: String(headers[":method"]),
      path: String(headers[":path"]),
      headers: flat(headers),
      body,
    };
    void say(one).then((said) => {
      if (stream.destroyed) return;
      if (said === null) return void stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      const { status = 200, headers = {}, body = "", trailers } = asSaid(said);
      const isEmpty = body === "" && trailers === undefined;
      stream.respond(
        { ":status": status, ...headers },
        { endStream: isEmpty, waitForTrailers: trailers !== undefined },
      );
      if (isEmpty) return;
      if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      stream.end(body);
    }, () => stream.close());
  });
}

function asSaid(said: Exclude<Says, null>): Exclude<Says, null | string> {
  return typeof said === "string" ? { body: said } : said;
}

/** Bytes: `answer` is called with each socket, which it owns until it ends. */
export async function serveTcp(
  ip: string,
  answer: (socket: net.Socket) => void,
  port = 0,
): Promise<App> {
  const open = new Set<net.Socket>();
  let connections = 0;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    connections++;
    open.add(socket);
    socket.on("error", () => {}).once("close", () => open.delete(socket));
    answer(socket);
  });
  await listening(server, ip, port);
  return {
    at: `${ip}:${(server.address() as AddressInfo).port}`,
    got: [],
    get connections() {
      return connections;
    },
    close: () => closed(server, open),
  };
}

function listening(server: net.Server, ip: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: ip, port }, () => resolve());
  });
}

function closed(server: net.Server, open: ReadonlySet<net.Socket>): Promise<void> {
  return new Promise((resolve) => {
    net.Server.prototype.close.call(server, () => resolve());
    for (const socket of open) socket.destroy();
  });
}

export interface Way {
  readonly host: string;
  readonly port: number;
  readonly localAddress: string;
}

/** One request over HTTP/2 on a connection of its own; rejects with the stream's error. */
export async function ask2(
  way: Way,
  headers: http2.OutgoingHttpHeaders,
  body = "",
): Promise<Answer & { readonly trailers: Readonly<Record<string, string>> }> {
  const socket = net.connect(way);
  const session = http2.connect("http://test", { createConnection: () => socket });
  session.on("error", () => {});
  try {
    const stream = session.request(headers, { endStream: body === "" });
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer within 15 s")), 15_000);
      let text = "";
      let head: http2.IncomingHttpHeaders = {};
      let trailers: Readonly<Record<string, string>> = {};
      stream.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      stream.on("response", (h) => (head = h));
      stream.on("trailers", (t) => (trailers = flat(t)));
      stream.on("error", (e) => {
        clearTimeout(timer);
        reject(e);
      });
      stream.on("end", () => {
        clearTimeout(timer);
        resolve({ status: Number(head[":status"]), headers: flat(head), body: text, trailers });
      });
      if (body !== "") stream.end(body);
    });
  } finally {
    session.destroy();
  }
}

/** A connection in the test's hands. */
export interface Raw {
  readonly socket: net.Socket;
  /** All that came. */
  text(): string;
  /** Resolves once it matches. */
  saw(pattern: RegExp): Promise<string>;
  /** Resolves when the other side has ended, or reset it. */
  ended(): Promise<void>;
}

/** Connects and writes. */
export function raw(way: Way, text = ""): Raw {
  const socket = net.connect({ ...way, allowHalfOpen: true });
  let got = "";
  let ended = false;
  socket.setEncoding("latin1").on("data", (piece: string) => (got += piece));
  socket.on("error", () => {}).on("end", () => (ended = true)).on("close", () => (ended = true));
  if (text !== "") socket.write(text, "latin1");
  return {
    socket,
    text: () => got,
    saw: (pattern) =>
      eventually(`an answer like ${pattern}`, () => {
        if (!pattern.test(got)) throw new Error(`it is ${JSON.stringify(got)}`);
        return got;
      }),
    ended: () =>
      eventually("the end of the connection", () => {
        if (!ended) throw new Error(`it is open, with ${JSON.stringify(got)}`);
      }),
  };
}

/** `raw`, until what came matches; then it is closed. */
export async function exchange(way: Way, text: string, until: RegExp): Promise<string> {
  const one = raw(way, text);
  try {
    return await one.saw(until);
  } finally {
    one.socket.destroy();
  }
}

function flat(headers: http.IncomingHttpHeaders): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, String(v)]));
}
