// A response that is made here: by a filter, or for CONNECT. Built as bytes and parsed like any other,
// so that everything after it sees one kind of head. Not on the hot path.

import type { LocalReply, Reply } from "../../core/exchange.ts";
import { headerName, ResponseHead } from "../../core/head.ts";
import { writeLatin1 } from "../../core/intern.ts";
import { parseResponse } from "../http1/parse.ts";
import { reasonOf } from "./respond.ts";

const MAX_HEAD_BYTES = 64 * 1024;

/** Sends a whole response. The body is text, sent as UTF-8. */
export function replyLocally(local: LocalReply, reply: Reply): void {
  const body = new TextEncoder().encode(local.body);
  reply.head(localHead(local, body.length));
  if (body.length > 0) reply.data(body, 0, body.length);
  reply.end();
}

/** The 200 that opens a tunnel (RFC 9110 §9.3.6). */
export function tunnelHead(): ResponseHead {
  const head = localHead({ status: 200, headers: [], body: "" }, null);
  head.tunnel = true;
  return head;
}

function localHead(local: LocalReply, bodyBytes: number | null): ResponseHead {
  let text = `HTTP/1.1 ${local.status} ${reasonOf(local.status)}\r\n`;
  for (const [name, value] of local.headers) {
    if (headerName(name).codec) continue;
    text += `${name}: ${value.replace(/[\r\n\0]/g, " ")}\r\n`;
  }
  text += bodyBytes === null ? "\r\n" : `content-length: ${bodyBytes}\r\n\r\n`;
  const bytes = new Uint8Array(text.length);
  writeLatin1(text, bytes, 0);
  const head = new ResponseHead();
  const n = parseResponse(head, bytes, 0, bytes.length, MAX_HEAD_BYTES, false, bodyBytes === null);
  if (n !== bytes.length) {
    throw new Error(`a local reply with status ${local.status} is not well-formed`);
  }
  return head;
}
