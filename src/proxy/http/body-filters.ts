// Bodies that filters look at: puts a request's and its response's way through the chain's body hooks.

import type { Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import { HOOK_REQUEST_BODY, HOOK_RESPONSE_BODY } from "../../core/filter.ts";
import { RequestBody } from "./request-body.ts";
import { ResponseBody } from "./response-body.ts";

/** Sends the request to `inner`, its body and the response's through the chain. */
export function filterBodies(x: Exchange, reply: Reply, inner: HttpService): Sink {
  const { hooks, requestBody, responseBody } = x.chain;
  let response: ResponseBody | null = null;
  if ((hooks & HOOK_RESPONSE_BODY) !== 0 && responseBody !== null) {
    response = new ResponseBody(x, reply, responseBody);
  }
  const outer = response ?? reply;
  const { bodyLength, upgrade } = x.request;
  if ((hooks & HOOK_REQUEST_BODY) === 0 || requestBody === null || bodyLength === 0 || upgrade) {
    const sink = inner(x, outer);
    if (response !== null) response.request = sink;
    return sink;
  }
  const request = new RequestBody(x, outer, requestBody, inner);
  if (response !== null) response.request = request;
  request.begin();
  return request;
}
