// The key of a request for consistent hashing, read from its head without making strings; and the cookie
// that a client without one is given. `balance.ts` calls it for each attempt.

import type { Exchange, Reply } from "../../core/exchange.ts";
import { type Head, type HeaderName, headerName, type ResponseHead } from "../../core/head.ts";
import type { MeshError } from "../../core/errors.ts";
import type { HashKey } from "../../model/hash-key.ts";
import { hashBytes, hashText } from "./hash-ring.ts";

const COOKIE = headerName("cookie");
const SET_COOKIE = headerName("set-cookie");

/** How keys of one target are found. Made at target rate. */
export class KeyReader {
  readonly #key: HashKey;
  readonly #header: HeaderName | null;
  readonly #cookie: Uint8Array;
  /** What follows the value in `Set-Cookie`. */
  readonly #attributes: string;

  constructor(key: HashKey) {
    this.#key = key;
    this.#header = key.kind === "header" ? headerName(key.name) : null;
    const name = key.kind === "cookie" ? key.name : "";
    this.#cookie = Uint8Array.from(name, (c) => c.charCodeAt(0));
    const age = key.kind === "cookie" && key.ttlMs > 0
      ? `; Max-Age=${Math.ceil(key.ttlMs / 1000)}`
      : "";
    this.#attributes = `; Path=/${age}; HttpOnly`;
  }

  /** The hash of the request's key, an unsigned 32-bit number; -1: it has none. */
  read(x: Exchange): number {
    const head = x.request;
    if (this.#header !== null) return hashOfHeader(head, this.#header);
    if (this.#key.kind === "source") return hashText(x.conn.remote.ip);
    if (x.givenCookie !== "") return hashText(x.givenCookie);
    return hashOfCookie(head, this.#cookie);
  }

  /** Whether a request without the key is given one. */
  get gives(): boolean {
    return this.#key.kind === "cookie";
  }

  /** Makes up a cookie for the request, whose key it is from now on; its hash. */
  give(x: Exchange, random: () => number): number {
    const hex = () => Math.floor(random() * 0x1_0000_0000).toString(16).padStart(8, "0");
    x.givenCookie = hex() + hex();
    return hashText(x.givenCookie);
  }

  /** The reply that tells the client of the cookie that it was given. */
  telling(x: Exchange, reply: Reply): Reply {
    const name = this.#key.kind === "cookie" ? this.#key.name : "";
    return new CookieReply(reply, `${name}=${x.givenCookie}${this.#attributes}`);
  }
}

function hashOfHeader(head: Head, name: HeaderName): number {
  if (head.edits.length > 0) {
    const text = head.get(name);
    return text === null || text === "" ? -1 : hashText(text);
  }
  const i = head.find(name);
  if (i < 0) return -1;
  const from = head.valueFrom(i);
  const to = head.valueTo(i);
  return from === to ? -1 : hashBytes(head.bytesOf(i), from, to);
}

/** Of the first cookie with that name (RFC 6265 §4.2.1); HTTP/2 may send several fields. */
function hashOfCookie(head: Head, name: Uint8Array): number {
  for (let i = head.find(COOKIE); i >= 0; i = head.find(COOKIE, i + 1)) {
    const buf = head.bytesOf(i);
    const end = head.valueTo(i);
    let at = head.valueFrom(i);
    while (at < end) {
      while (at < end && (buf[at] === 0x20 || buf[at] === 0x09)) at++;
      let to = at;
      while (to < end && buf[to] !== 0x3b) to++;
      const value = at + name.length + 1;
      if (value < to && buf[value - 1] === 0x3d && startsWith(buf, at, name)) {
        let last = to;
        while (last > value && (buf[last - 1] === 0x20 || buf[last - 1] === 0x09)) last--;
        if (last > value) return hashBytes(buf, value, last);
      }
      at = to + 1;
    }
  }
  return -1;
}

function startsWith(buf: Uint8Array, at: number, bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (buf[at + i] !== bytes[i]) return false;
  return true;
}

/** Adds one cookie to the response. Only for clients that had none. */
class CookieReply implements Reply {
  readonly #outer: Reply;
  readonly #cookie: string;

  constructor(outer: Reply, cookie: string) {
    this.#outer = outer;
    this.#cookie = cookie;
  }

  get wake(): (() => void) | null {
    return this.#outer.wake;
  }

  set wake(wake: (() => void) | null) {
    this.#outer.wake = wake;
  }

  informational(head: ResponseHead): void {
    this.#outer.informational(head);
  }

  head(head: ResponseHead): void {
    head.add(SET_COOKIE, this.#cookie);
    this.#outer.head(head);
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    return this.#outer.data(buf, from, to);
  }

  end(): void {
    this.#outer.end();
  }

  abort(why: MeshError): void {
    this.#outer.abort(why);
  }

  fail(why: MeshError): void {
    this.#outer.fail(why);
  }
}
