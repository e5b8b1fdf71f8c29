// Bodies piece by piece: what is there, what goes on instead.

import { Action, body, CONTINUE, reply } from "@tulle/filter";

export function onRequestBody(length: i32, last: bool): Action {
  if (length == 0) return last ? body.replaceText("end") : CONTINUE;
  const bytes = body.bytes(0, length);
  if (bytes[0] == 0x3d) return CONTINUE; // =
  if (bytes[0] == 0x2d) return body.replaceText(""); // -
  if (bytes[0] == 0x21) unreachable(); // !
  if (bytes[0] == 0x3f) return reply(400, "not of pieces"); // ?
  for (let i = 0; i < length; i++) bytes[i] ^= 0x20;
  return body.replace(bytes);
}

export function onResponseBody(length: i32, last: bool): Action {
  const some = body.bytes(1, 2);
  return length >= 3 ? body.replace(some) : CONTINUE;
}
