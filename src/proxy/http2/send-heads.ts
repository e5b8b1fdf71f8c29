// Header blocks of an endpoint's client, sent: a request's head, with what is said only to another
// proxy, and its trailers. Between `client-stream.ts` and the session; encoding is write-heads.ts.

import type { Head, RequestHead } from "../../core/head.ts";
import { upgradeField } from "../http1/framing.ts";
import { withoutKey } from "./extended-connect.ts";
import { INDEX } from "./field-rules.ts";
import { ORIG_PROTO, origProtoOf } from "./orig-proto.ts";
import type { Http2Session } from "./session.ts";
import type { Http2Stream } from "./stream.ts";
import {
  blockRoom,
  requestBlockRoom,
  writeField,
  writeRequestBlock,
  writeTrailerBlock,
} from "./write-heads.ts";

/** What the endpoint changes of a request's head. */
export interface Towards {
  /** Stands for the authority of a request of HTTP/1.0 that names none. */
  readonly authority: string;
  /** It is a proxy that makes HTTP/1 again of what says that it was. */
  readonly origProto: boolean;
}

/** Sends a request's head; `end`: there is no body. `extended`: as extended CONNECT, not to its end. */
export function sendRequestHead(
  session: Http2Session,
  stream: Http2Stream,
  head: RequestHead,
  to: Towards,
  end: boolean,
  extended: boolean,
): void {
  const { encoder } = session;
  const { authority } = head;
  const carries = to.origProto && head.major === 1;
  const out = session.openBlock(
    requestBlockRoom(head) + authority.length + to.authority.length + 128,
  );
  if (authority === "") head.newAuthority = to.authority;
  let at = extended
    ? withoutKey(
      head,
      () => writeRequestBlock(encoder, head, upgradeField(head), out.buf, out.at),
    )
    : writeRequestBlock(encoder, head, "", out.buf, out.at);
  if (authority === "") head.newAuthority = null;
  if (carries) {
    // Linkerd's proxy does not make Host of the authority
    if (authority !== "") at = writeField(encoder, "host", authority, INDEX, out.buf, at);
    at = writeField(encoder, ORIG_PROTO.text, origProtoOf(head), INDEX, out.buf, at);
  }
  session.closeBlock(stream, out, at, end && !extended);
}

/** Ends the request with trailers; nothing of its body may be pending. */
export function sendTrailers(session: Http2Session, stream: Http2Stream, trailers: Head): void {
  const out = session.openBlock(blockRoom(trailers));
  const at = writeTrailerBlock(session.encoder, trailers, out.buf, out.at);
  session.closeBlock(stream, out, at, true);
}
