// Heads for a filter under test: made of plain values before a hook, read back as plain values after
// it. Texts are UTF-8 on the tests' side and one code unit per byte on the filter's.

import { type ConnInfo, Exchange, type LocalReply } from "../../src/core/exchange.ts";
import { type Head, ResponseHead } from "../../src/core/head.ts";
import { parseRequest, parseResponse } from "../../src/proxy/http1/parse.ts";

/** Fields by name; a list for one that is repeated. */
export type Fields = Readonly<Record<string, string | readonly string[]>>;

/** A request as a test writes it. */
export interface TestRequest {
  /** `GET` */
  readonly method?: string;
  /** Path with query: `/` */
  readonly path?: string;
  /** `svc` */
  readonly authority?: string;
  readonly headers?: Fields;
  /** The client's mesh identity; null: it has none. */
  readonly identity?: string | null;
  /** The name of the route that it matched. */
  readonly route?: string;
  /** The filter runs in the server's proxy. */
  readonly inbound?: boolean;
}

/** A response as a test writes it. */
export interface TestResponse {
  /** 200 */
  readonly status?: number;
  readonly headers?: Fields;
}

/** An answer that a filter gave. */
export interface TestReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const MAX_HEAD_BYTES = 64 * 1024;

/** An exchange at its begin. Throws for a request that no proxy would take. */
export function exchangeOf(request: TestRequest): Exchange {
  const { method = "GET", path = "/", authority = "svc", headers = {} } = request;
  const { identity = null, inbound = false } = request;
  const conn: ConnInfo = {
    direction: inbound ? "inbound" : "outbound",
    remote: { ip: "127.0.0.1", port: 40000 },
    target: { ip: "127.0.0.1", port: 80 },
    tls: identity === null ? null : { identity, alpn: null },
  };
  const x = new Exchange(conn);
  x.begin(0);
  x.routeName = request.route ?? "";
  const head = bytesOf(`${method} ${path} HTTP/1.1`, { host: authority, ...headers });
  if (!isWhole(() => parseRequest(x.request, head, 0, head.length, MAX_HEAD_BYTES), head)) {
    throw new Error(`${method} ${path} with these headers is not a request that a proxy takes`);
  }
  return x;
}

/** A response's head. Throws for one that no proxy would take. */
export function responseHeadOf({ status = 200, headers = {} }: TestResponse): ResponseHead {
  const response = new ResponseHead();
  const head = bytesOf(`HTTP/1.1 ${status} Status`, { "content-length": "0", ...headers });
  const parse = () => parseResponse(response, head, 0, head.length, MAX_HEAD_BYTES, false, false);
  if (!isWhole(parse, head)) {
    throw new Error(`${status} with these headers is not a response that a proxy takes`);
  }
  return response;
}

/** The fields after a response's body. */
export function trailersOf(fields: Fields): ResponseHead {
  const trailers = new ResponseHead();
  const head = bytesOf("HTTP/1.1 200 Status", fields);
  const parse = () => parseResponse(trailers, head, 0, head.length, MAX_HEAD_BYTES, false, false);
  if (!isWhole(parse, head)) throw new Error("These trailers are none that a proxy takes");
  return trailers;
}

function isWhole(parse: () => number, head: Uint8Array): boolean {
  try {
    return parse() === head.length;
  } catch {
    return false;
  }
}

function bytesOf(firstLine: string, fields: Fields): Uint8Array {
  const lines = Object.entries(fields).flatMap(([name, values]) =>
    [values].flat().map((value) => `${name}: ${value}\r\n`)
  );
  return new TextEncoder().encode(`${firstLine}\r\n${lines.join("")}\r\n`);
}

/** The fields of a head with what filters changed, in order. */
export function fieldsOf(head: Head): readonly (readonly [name: string, value: string])[] {
  let fields: (readonly [string, string])[] = [];
  for (let i = 0; i < head.count; i++) fields.push([head.nameAt(i), text(head.valueAt(i))]);
  for (const { op, name, value } of head.edits) {
    if (name.codec) continue; // the codec writes these itself
    const key = name.text;
    if (op !== "add") fields = fields.filter(([n]) => n !== key);
    if (op !== "remove") fields.push([key, text(value)]);
  }
  return fields;
}

/** A filter's answer. */
export function replyOf({ status, headers, body }: LocalReply): TestReply {
  const fields = headers.map(([name, value]) => [name, text(value)] as const);
  return { status, headers: Object.fromEntries(fields), body }; // the host made it text
}

/** UTF-8 → one code unit per byte. */
export function byteString(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

/** One code unit per byte → UTF-8. */
export function text(byteString: string): string {
  return new TextDecoder().decode(Uint8Array.from(byteString, (c) => c.charCodeAt(0)));
}
