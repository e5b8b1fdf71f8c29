// The pseudo-headers of a block (RFC 9113 §8.3), and the first line of HTTP/1 that they say. Part of
// read-heads.ts, which reads the fields after them.

import {
  FIELD_HOP,
  FIELD_HOST,
  type Head,
  type RequestHead,
  type ResponseHead,
} from "../../core/head.ts";
import { internLatin1, writeLatin1 } from "../../core/intern.ts";
import { reasonOf } from "../http/respond.ts";
import { MALFORMED } from "../http1/codes.ts";
import {
  addField,
  all,
  AUTHORITY,
  CLASS,
  crlf,
  decimal,
  equals,
  is,
  METHOD,
  type Part,
  part,
  put,
  take,
  TARGET,
} from "./field-bytes.ts";

const MAX_METHOD = 64;
const MAX_PROTOCOL = 64;
const MAX_SCHEME = 16;

/** Longest authority: a name of DNS and a port. */
export const MAX_AUTHORITY = 260;

export class PseudoFields {
  /** The value of `:authority`, which a Host field must not contradict. */
  readonly authority: Part = part(MAX_AUTHORITY);
  readonly #method = part(MAX_METHOD);
  readonly #scheme = part(MAX_SCHEME);
  readonly #path: Part;
  readonly #protocol = part(MAX_PROTOCOL);
  readonly #status = part(3);

  constructor(maxPathBytes: number) {
    this.#path = part(maxPathBytes);
  }

  /** Forgets the last block's. */
  begin(): void {
    this.#method.seen =
      this.#scheme.seen =
      this.#path.seen =
      this.#protocol.seen =
      this.#status.seen =
      this.authority.seen =
        false;
  }

  /** Keeps one of a request: 0 or `MALFORMED`. */
  ofRequest(
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    buf: Uint8Array,
    from: number,
    to: number,
  ): number {
    if (is(nameBuf, nameFrom, nameTo, ":path")) return take(this.#path, buf, from, to);
    if (is(nameBuf, nameFrom, nameTo, ":method")) return take(this.#method, buf, from, to);
    if (is(nameBuf, nameFrom, nameTo, ":scheme")) return take(this.#scheme, buf, from, to);
    if (is(nameBuf, nameFrom, nameTo, ":authority")) return take(this.authority, buf, from, to);
    if (is(nameBuf, nameFrom, nameTo, ":protocol")) return take(this.#protocol, buf, from, to);
    return MALFORMED;
  }

  /** Keeps one of a response: 0 or `MALFORMED`. */
  ofResponse(
    nameBuf: Uint8Array,
    nameFrom: number,
    nameTo: number,
    buf: Uint8Array,
    from: number,
    to: number,
  ): number {
    return is(nameBuf, nameFrom, nameTo, ":status") ? take(this.#status, buf, from, to) : MALFORMED;
  }

  /** Writes a request's line, Host and Upgrade at the start of `text`: where they end, or `MALFORMED`. */
  requestLine(head: RequestHead, text: Uint8Array): number {
    const method = this.#method;
    const path = this.#path;
    const { authority } = this;
    if (!method.seen || method.length === 0 || !all(method, METHOD)) return MALFORMED;
    if (authority.seen && (authority.length === 0 || !all(authority, AUTHORITY))) return MALFORMED;
    const asksConnect = equals(method, "CONNECT");
    // Extended CONNECT is what HTTP/1 upgrades with a GET (RFC 8441 §4).
    const extended = this.#protocol.seen;
    if (extended && (!asksConnect || !isProtocol(this.#protocol))) return MALFORMED;
    head.upgrade = extended;
    head.isConnect = asksConnect && !extended;
    head.isHead = equals(method, "HEAD");
    if (head.isConnect) {
      if (path.seen || this.#scheme.seen || !authority.seen) return MALFORMED; // §8.5
    } else if (!this.#hasTarget()) return MALFORMED;
    let at = extended ? writeLatin1("GET", text, 0) : put(method, text, 0);
    head.methodTo = at;
    text[at++] = 32;
    head.targetFrom = head.pathFrom = at;
    at = put(head.isConnect ? authority : path, text, at);
    head.targetTo = at;
    at = writeLatin1(" HTTP/1.1\r\n", text, at);
    head.authorityFrom = head.authorityTo = 0;
    if (authority.seen) {
      const nameFrom = at;
      at = writeLatin1("host: ", text, at);
      head.authorityFrom = at;
      at = put(authority, text, at);
      head.authorityTo = at;
      addField(head, nameFrom, nameFrom + 4, nameFrom + 6, at, FIELD_HOST);
      at = crlf(text, at);
    }
    if (!extended) return at;
    const { buf, length } = this.#protocol;
    return upgradeLine(head, internLatin1(buf, 0, length), text, at);
  }

  #hasTarget(): boolean {
    const path = this.#path;
    const scheme = this.#scheme;
    if (!path.seen || path.length === 0 || !all(path, TARGET)) return false;
    if (path.buf[0] !== 47 && !(path.length === 1 && path.buf[0] === 42)) return false;
    return scheme.seen && (equals(scheme, "http") || equals(scheme, "https"));
  }

  /**
   * Writes a response's line at the start of `text`: where it ends, or `MALFORMED`. `protocol`: what
   * extended CONNECT asked for, which a 2xx grants as HTTP/1's 101 does; empty: nothing.
   */
  statusLine(head: ResponseHead, text: Uint8Array, protocol: string): number {
    const { seen, length, buf } = this.#status;
    if (!seen || length !== 3) return MALFORMED;
    const said = decimal(buf, 0, 3);
    if (said < 100 || said === 101) return MALFORMED; // no upgrades in HTTP/2 (§8.6)
    head.tunnel = protocol !== "" && said >= 200 && said < 300;
    head.status = head.tunnel ? 101 : said;
    let at = writeLatin1("HTTP/1.1 ", text, 0);
    at = head.tunnel ? writeLatin1("101", text, at) : put(this.#status, text, at);
    text[at++] = 32;
    head.reasonFrom = at;
    at = writeLatin1(reasonOf(head.status), text, at);
    head.reasonTo = at;
    at = crlf(text, at);
    return head.tunnel ? upgradeLine(head, protocol, text, at) : at;
  }
}

/** A token, perhaps with a version: what the registry of HTTP Upgrade tokens has. */
function isProtocol({ buf, length }: Part): boolean {
  for (let i = 0; i < length; i++) {
    const c = buf[i] as number;
    if (((CLASS[c] as number) & METHOD) === 0 && c !== 47) return false;
  }
  return length > 0;
}

/** Writes the field that says in HTTP/1 what is switched to; its end. */
function upgradeLine(head: Head, protocol: string, text: Uint8Array, at: number): number {
  const valueFrom = writeLatin1("upgrade: ", text, at);
  const to = writeLatin1(protocol, text, valueFrom);
  addField(head, at, at + 7, valueFrom, to, FIELD_HOP);
  return crlf(text, to);
}
