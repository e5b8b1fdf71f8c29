// What a request head that cannot be used is answered with. `server.ts` sends it.

import { MeshError } from "../../core/errors.ts";
import { TOO_LARGE, UNKNOWN_CODING, WRONG_VERSION } from "./codes.ts";

/** The error of a parser's code; `status` undefined: the error's own. */
export function headError(
  code: number,
  maxHeadBytes: number,
): { readonly why: MeshError; readonly status?: number } {
  switch (code) {
    case TOO_LARGE: {
      const what = `The request head is larger than ${maxHeadBytes} bytes`;
      return { why: new MeshError("head-too-large", what) };
    }
    case UNKNOWN_CODING: {
      const what = "The request has a transfer coding other than chunked";
      return { why: new MeshError("unsupported", what) };
    }
    case WRONG_VERSION: {
      const what = "The request is not HTTP/1.0 or HTTP/1.1";
      return { why: new MeshError("bad-request", what), status: 505 };
    }
    default: // MALFORMED
      return { why: new MeshError("bad-request", "The request head is malformed") };
  }
}
