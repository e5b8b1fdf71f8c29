// HTTP/1 between two meshed proxies travels over HTTP/2, wire-compatible with Linkerd's: the request
// says in `l5d-orig-proto` what it was, and the accepting proxy makes that of it again. The client side
// is `endpoint-client.ts`, the server side the first layer of `inbound/stack.ts`.

import { headerName, type RequestHead } from "../../core/head.ts";

/** Spoken between proxies only; no application ever sees it. */
export const ORIG_PROTO = headerName("l5d-orig-proto");

const ABSOLUTE = "; absolute-form";

/** The header's value for a request of HTTP/1. */
export function origProtoOf(head: RequestHead): string {
  const version = head.minor === 0 ? "HTTP/1.0" : "HTTP/1.1";
  return head.absoluteForm ? version + ABSOLUTE : version;
}

/**
 * Makes a request of HTTP/1 of one that was upgraded, so that everything after it treats it as that.
 * Returns the version, which the response repeats; null: it is an ordinary request of HTTP/2, or says
 * something that is no version. Only for a request from another proxy.
 */
export function downgrade(head: RequestHead): string | null {
  const i = head.major === 2 ? head.find(ORIG_PROTO) : -1;
  if (i < 0) return null;
  const value = head.valueAt(i);
  const isAbsolute = value.endsWith(ABSOLUTE);
  const version = isAbsolute ? value.slice(0, -ABSOLUTE.length) : value;
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") return null;
  head.major = 1;
  head.minor = version === "HTTP/1.0" ? 0 : 1;
  head.absoluteForm = isAbsolute;
  return version;
}
