// An HTTP/1 Upgrade as a stream of HTTP/2: extended CONNECT (RFC 8441). Inside the proxy an upgrade is
// always HTTP/1's – GET with `upgrade`, answered by 101, a WebSocket with key and accept –; here is what
// the two stream classes change of it at the edge. WebSocket keys are of one hop (§5): made and checked
// by whoever speaks HTTP/1 on the other side.

import { type Head, headerName, type RequestHead, type ResponseHead } from "../../core/head.ts";
import { sha1 } from "../../core/sha1.ts";
import { upgradeField } from "../http1/framing.ts";

const KEY = headerName("sec-websocket-key");
const ACCEPT = headerName("sec-websocket-accept");
/** RFC 6455 §1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/**
 * Spoken between proxies only: the 2xx of an application that did not switch protocols, which as the
 * status of a stream would say that it did. The stream's own status is 501 then.
 */
const ORIG_STATUS = headerName("l5d-orig-status");

/** One protocol of the registry, perhaps with a version. What lists several leaves the choice to others. */
const PROTOCOL = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(\/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?$/;

/** Whether an upgrade says nothing that extended CONNECT cannot: GET, one protocol, no body. */
export function mayExtend(head: RequestHead): boolean {
  return head.upgrade && head.bodyLength === 0 && !head.expectsContinue && head.method === "GET" &&
    PROTOCOL.test(upgradeField(head));
}

/** Whether the key and its answer belong to this upgrade. */
function isWebSocket(head: Head): boolean {
  return upgradeField(head).toLowerCase() === "websocket";
}

// --- client: HTTP/1 becomes HTTP/2 ---------------------------------------------------------------

/** Leaves the key out while `write` writes the head; other attempts may need it. */
export function withoutKey(head: RequestHead, write: () => number): number {
  if (!isWebSocket(head)) return write();
  head.remove(KEY);
  const at = write();
  head.edits.pop();
  return at;
}

/** Makes the 101 complete that a 2xx was read as: the client is told that its key was understood. */
export function switched(request: RequestHead, head: ResponseHead): void {
  const key = isWebSocket(request) ? request.get(KEY) : null;
  if (key !== null) head.set(ACCEPT, acceptOf(key));
}

/** Gives a refusal its status back, from a proxy that said so. */
export function restoreRefusal(head: ResponseHead): void {
  const i = head.find(ORIG_STATUS);
  if (i < 0) return;
  const value = head.valueAt(i);
  if (!/^2[0-9][0-9]$/.test(value)) return;
  head.status = Number(value);
  head.reasonTo = head.reasonFrom; // the reason is that of the other status
}

// --- server: HTTP/2 becomes HTTP/1 ---------------------------------------------------------------

/** Gives a WebSocket the key that HTTP/1 wants; what `accept` must be, or null: it is not checked. */
export function giveKey(head: RequestHead): string | null {
  if (!isWebSocket(head) || head.find(KEY) >= 0) return null;
  const key = base64(crypto.getRandomValues(new Uint8Array(16)));
  head.set(KEY, key);
  return acceptOf(key);
}

/** Whether the application understood the key; its answer stays here. */
export function takeAccept(head: ResponseHead, accept: string): boolean {
  const said = head.get(ACCEPT);
  head.remove(ACCEPT);
  return said === accept;
}

/** An application that answers 2xx without switching: to the client that is a failure, and not of CONNECT. */
export function refuseUpgrade(head: ResponseHead, toProxy: boolean): void {
  if (toProxy) head.set(ORIG_STATUS, String(head.status));
  head.status = 501;
}

/** What answers a key (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return base64(sha1(key + GUID));
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
