// Bodies that are held: looked at once, before anything goes on.

import { Action, body, CONTINUE, reply, request, requestBody, responseBody } from "@tulle/filter";

requestBody.whole(16);
responseBody.wholeOrPass(16);

export function onRequestBody(length: i32, last: bool): Action {
  if (!last) unreachable();
  const bytes = body.bytes(0, length);
  if (length == 0) return CONTINUE;
  if (bytes[0] == 0x7b) { // {
    request.set("x-kind", "json");
    return CONTINUE;
  }
  if (bytes[0] == 0x2a) return body.replaceText("{}"); // *
  return reply(422, "not an object\n");
}

export function onResponseBody(length: i32, last: bool): Action {
  return last && length > 0 ? body.replaceText("hidden") : CONTINUE;
}
