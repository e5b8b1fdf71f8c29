// Host functions for the heads of requests and responses: read, changed, answered.

import type { Head, HeaderName } from "../../src/core/head.ts";
import { OP_REMOVE } from "../abi.ts";
import { fromByteString } from "./config.ts";
import type { Guard } from "./guard.ts";
import type { FilterPlan } from "./plan.ts";
import { PHASE_ANSWER, type Situation } from "./situation.ts";
import { HostTrap } from "./trap.ts";

const MAX_REPLY_BYTES = 64 * 1024;
const MAX_REPLY_HEADERS = 32;

/** `request_…`, `response_…`, `apply_…`, `reply…`. */
export function headFunctions(plan: FilterPlan, at: Situation, guard: Guard) {
  const { config } = plan;
  const { exchange, field, header, headerValue, pathOf, push, requestToRead } = guard;
  const { requestToWrite, room, textOf, theResponse, theTrailers } = guard;
  return {
    request_method: () => requestToRead().method,
    request_path: () => requestToRead().path,
    request_authority: () => requestToRead().authority,
    request_set_path: (path: unknown) => {
      const text = pathOf(path);
      requestToWrite().newPath = text;
    },
    request_set_authority: (authority: unknown) => {
      const text = textOf(authority, "an authority");
      if (!/^[A-Za-z0-9._~!$&'()*+,;=%:[\]-]{1,255}$/.test(text)) {
        throw new HostTrap("an authority is host[:port]");
      }
      requestToWrite().newAuthority = text;
    },
    request_header: (slot: number) => requestToRead().get(header(slot, plan.readsRequest, "read")),
    request_header_at: (slot: number, n: number) =>
      valueNumber(requestToRead(), header(slot, plan.readsRequest, "read"), n),
    request_set: (slot: number, value: unknown) =>
      room(requestToWrite()).set(header(slot, plan.writesRequest, "written"), headerValue(value)),
    request_add: (slot: number, value: unknown) =>
      room(requestToWrite()).add(header(slot, plan.writesRequest, "written"), headerValue(value)),
    request_remove: (slot: number) =>
      room(requestToWrite()).remove(header(slot, plan.writesRequest, "written")),
    response_header: (slot: number) => theResponse().get(header(slot, plan.readsResponse, "read")),
    response_header_at: (slot: number, n: number) =>
      valueNumber(theResponse(), header(slot, plan.readsResponse, "read"), n),
    response_set: (slot: number, value: unknown) =>
      room(theResponse()).set(header(slot, plan.writesResponse, "written"), headerValue(value)),
    response_add: (slot: number, value: unknown) =>
      room(theResponse()).add(header(slot, plan.writesResponse, "written"), headerValue(value)),
    response_set_status: (status: number) => {
      const response = theResponse();
      if (!hasBody(response.status) || !hasBody(status) || response.tunnel) {
        throw new HostTrap(`a status ${response.status} cannot become ${status}`);
      }
      response.status = status;
      response.reasonTo = response.reasonFrom;
    },
    response_remove: (slot: number) =>
      room(theResponse()).remove(header(slot, plan.writesResponse, "written")),
    trailer: (slot: number) => theTrailers().get(header(slot, plan.readsResponse, "read")),
    trailer_set: (slot: number, value: unknown) =>
      room(theTrailers()).set(header(slot, plan.writesResponse, "written"), headerValue(value)),
    trailer_remove: (slot: number) =>
      room(theTrailers()).remove(header(slot, plan.writesResponse, "written")),
    apply_edit: (edit: number) =>
      push(plan.editsResponse[edit] === 1 ? theResponse() : requestToWrite(), plan.edits[edit]),
    apply_config: (op: number, slot: number) => {
      if (op === OP_REMOVE) field(slot, "names");
      else field(slot, "headers");
      const edits = config.edits[slot]?.[op];
      if (edits === undefined) throw new HostTrap(`${op} is not an operation`);
      if (edits.length === 0) return;
      const of = plan.manifest.config[slot];
      const isResponse = of !== undefined && "head" in of && of.head === "response";
      const head = isResponse ? theResponse() : requestToWrite();
      for (const edit of edits) push(head, edit);
    },
    reply: (status: number, body: unknown) => {
      if ((at.phase & PHASE_ANSWER) === 0) {
        throw new HostTrap("reply() is only for onRequest and onResponse");
      }
      if (status < 200 || status > 599) {
        throw new HostTrap(`${status} is not a status to reply with`);
      }
      const text = body === null ? "" : textOf(body, "a body");
      if (text.length > MAX_REPLY_BYTES) throw new HostTrap("the body of a reply is too long");
      exchange().local = { status, headers: at.replyHeaders, body: fromByteString(text) };
      at.replyHeaders = [];
      at.replied = true;
    },
    reply_header: (slot: number, value: unknown) => {
      if ((at.phase & PHASE_ANSWER) === 0) {
        throw new HostTrap("replyHeader() is only for onRequest and onResponse");
      }
      if (at.replyHeaders.length >= MAX_REPLY_HEADERS) {
        throw new HostTrap(`more than ${MAX_REPLY_HEADERS} headers of one reply`);
      }
      const name = header(slot, plan.writesResponse, "written");
      at.replyHeaders.push([name.text, headerValue(value)]);
    },
  };
}

/** Statuses that end a message in the same way, so that one may stand for another. */
function hasBody(status: number): boolean {
  return status >= 200 && status <= 599 && status !== 204 && status !== 205 && status !== 304;
}

/** Value number `n` of a header, with edits applied. */
function valueNumber(head: Head, name: HeaderName, n: number): string | null {
  const values: string[] = [];
  for (let i = head.find(name); i >= 0; i = head.find(name, i + 1)) values.push(head.valueAt(i));
  for (const edit of head.edits) {
    if (edit.name !== name) continue;
    if (edit.op !== "add") values.length = 0;
    if (edit.op !== "remove") values.push(edit.value);
  }
  return values[n] ?? null;
}
