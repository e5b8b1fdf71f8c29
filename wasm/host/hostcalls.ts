// The functions that a filter imports. Each checks what it was given against the manifest and the
// phase; a filter that does what it may not is stopped with a named reason. None of them calls back
// into the filter, and none throws anything but a `HostTrap` or a `ConfigRefusal`.

import type { Exchange } from "../../src/core/exchange.ts";
import type { BodyPiece, CalloutAnswer } from "../../src/core/filter.ts";
import type {
  Head,
  HeaderEdit,
  HeaderName,
  RequestHead,
  ResponseHead,
} from "../../src/core/head.ts";
import { latin1 } from "../../src/core/intern.ts";
import type { Logger } from "../../src/core/log.ts";
import { HOST_MODULE, LIMITS, OP_REMOVE } from "../abi.ts";
import type { HostCells } from "./cells.ts";
import { fromByteString } from "./config.ts";
import { isHeaderValue, whyNotWritten } from "./manifest.ts";
import type { FilterPlan } from "./plan.ts";
import { ConfigRefusal, HostTrap, printable } from "./trap.ts";

/** What a filter is doing right now. */
export const PHASE_START = 1;
export const PHASE_REQUEST = 2;
export const PHASE_OUTCOME = 4;
export const PHASE_RESPONSE = 8;
export const PHASE_END = 16;
export const PHASE_ATTEMPT = 32;
export const PHASE_TICK = 64;
export const PHASE_CONNECTION = 128;
export const PHASE_REQUEST_BODY = 256;
export const PHASE_RESPONSE_BODY = 512;
const PHASE_BODY = PHASE_REQUEST_BODY | PHASE_RESPONSE_BODY;
/** Where a filter may answer. */
const PHASE_ANSWER = PHASE_REQUEST | PHASE_RESPONSE | PHASE_BODY;

/** Most changes to one head; past them the filter is stopped. */
export const MAX_EDITS = 256;
const MAX_REPLY_BYTES = 64 * 1024;
const MAX_REPLY_HEADERS = 32;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;

/** What the host functions of an instance look at; set before each hook. */
export interface Situation {
  phase: number;
  x: Exchange | null;
  response: ResponseHead | null;
  /** The piece of a body that the hook is called for. */
  piece: BodyPiece | null;
  /** What the hook wrote in its place. */
  readonly written: Uint8Array[];
  writtenBytes: number;
  /** The answer to the call-out that the hook is called for. */
  answer: CalloutAnswer | null;
  /** `reply` was called in this hook. */
  replied: boolean;
  memory: WebAssembly.Memory | null;
  /** The instance's fuel, for what costs more than a call. */
  fuel: WebAssembly.Global | null;
}

/** What the world offers to filters. */
export interface World {
  now(): number;
  /** Milliseconds since the epoch. */
  wall(): number;
  random(): number;
  readonly log: Logger;
  /** State of the proxy; null in a try that must change nothing. */
  readonly cells: HostCells | null;
  /** Whether a filter may write one more line now. */
  mayLog(): boolean;
}

/** The import object of one instance. */
export function createImports(plan: FilterPlan, at: Situation, world: World): WebAssembly.Imports {
  const { headers, config } = plan;
  let replyHeaders: (readonly [string, string])[] = [];
  let calloutHeaders: (readonly [string, string])[] = [];

  const exchange = (): Exchange => {
    if (at.x === null) throw new HostTrap("there is no request while the filter starts or ticks");
    return at.x;
  };
  /** The request, where its bytes are still there. */
  const requestToRead = (): RequestHead => {
    const x = exchange();
    if (at.phase !== PHASE_REQUEST && !plan.keepsRequest) {
      throw new HostTrap("reads the request after onRequest, which the manifest does not declare");
    }
    return x.request;
  };
  const requestToWrite = (): RequestHead => {
    const isHeld = at.phase === PHASE_REQUEST_BODY &&
      (plan.manifest.bodies?.request?.wholeBytes ?? 0) > 0;
    if (at.phase !== PHASE_REQUEST && !isHeld) {
      throw new HostTrap("the request is changed only in onRequest");
    }
    return exchange().request;
  };
  const theResponse = (): ResponseHead => {
    if (at.response === null) throw new HostTrap("there is a response only in onResponse");
    return at.response;
  };
  /** Keys are the filter's own: two filters do not share. */
  const keyOf = (key: unknown): string => {
    if (at.phase === PHASE_START) throw new HostTrap("shared state is not for the start");
    const text = textOf(key, "a key");
    if (text.length > LIMITS.keyBytes) {
      throw new HostTrap(`a key is longer than ${LIMITS.keyBytes} bytes`);
    }
    return `${plan.ref.name}\0${text}`;
  };
  const theAnswer = (): CalloutAnswer => {
    if (at.answer === null) throw new HostTrap("there is an answer only in onCallout");
    return at.answer;
  };
  const pathOf = (path: unknown): string => {
    const text = textOf(path, "a path");
    // deno-lint-ignore no-control-regex -- that is the point
    if (!/^\/[^\x00-\x20\x7f#]*$/.test(text)) {
      throw new HostTrap("a path starts with / and has no space or control character");
    }
    return text;
  };
  const thePiece = (): BodyPiece => {
    if (at.piece === null) throw new HostTrap("there is a body only in the hooks for bodies");
    return at.piece;
  };
  /** Bytes of the filter's memory, which it paid for. */
  const memoryAt = (address: number, count: number): Uint8Array => {
    const from = address >>> 0;
    const size = at.memory?.buffer.byteLength ?? 0;
    if (at.memory === null || count > size || from > size - count) {
      throw new HostTrap(`${count} bytes at ${from} are not in the memory`);
    }
    if (at.fuel !== null) charge(at.fuel, count >>> 4);
    return new Uint8Array(at.memory.buffer, from, count);
  };
  const write = (bytes: Uint8Array): void => {
    thePiece();
    at.writtenBytes += bytes.length;
    if (at.writtenBytes > LIMITS.bodyBytes || at.written.length >= MAX_EDITS) {
      throw new HostTrap(`more than ${LIMITS.bodyBytes} bytes in the place of one piece`);
    }
    at.written.push(bytes);
  };
  const during = (phases: number, why: string): void => {
    if ((at.phase & phases) === 0) throw new HostTrap(why);
  };
  const timeout = (ms: number): number => {
    if (ms >= 1 && ms <= LIMITS.maxTimeoutMs) return ms;
    throw new HostTrap(`${ms} is not a time-out from 1 to ${LIMITS.maxTimeoutMs} ms`);
  };
  const header = (slot: number, mask: Uint8Array, what: string): HeaderName => {
    if (mask[slot] !== 1) {
      throw new HostTrap(`header slot ${slot} is not declared as ${what} in the manifest`);
    }
    return headers[slot] as HeaderName;
  };
  const textOf = (value: unknown, what: string): string => {
    if (typeof value !== "string") throw new HostTrap(`${what} is absent`);
    if (value.length > LIMITS.textBytes) {
      throw new HostTrap(`${what} is longer than ${LIMITS.textBytes} bytes`);
    }
    if (value.length >= LONG_TEXT && at.fuel !== null) charge(at.fuel, value.length);
    return value;
  };
  const headerValue = (value: unknown): string => {
    const text = textOf(value, "a header's value");
    if (!isHeaderValue(text)) throw new HostTrap("a header's value has NUL, CR or LF in it");
    return text;
  };
  const room = (head: Head): Head => {
    if (head.edits.length >= MAX_EDITS) {
      throw new HostTrap(`more than ${MAX_EDITS} changes to one head`);
    }
    return head;
  };
  const push = (head: Head, edit: HeaderEdit | undefined): void => {
    if (edit === undefined) throw new HostTrap("an edit that the manifest does not have");
    room(head).edits.push(edit);
  };
  const field = (slot: number, ...types: readonly string[]): void => {
    const type = plan.manifest.config[slot]?.type;
    if (type === undefined || !types.includes(type)) {
      throw new HostTrap(`configuration slot ${slot} is not a ${types.join(" or ")}`);
    }
  };
  const log = (level: number, message: unknown, value: number | null): void => {
    const text = textOf(message, "a log message");
    if (!world.mayLog()) return;
    const fields = { filter: plan.ref.name, ...(value === null ? {} : { value }) };
    const say = [world.log.debug, world.log.info, world.log.warn, world.log.error][level];
    if (say === undefined) throw new HostTrap(`${level} is not a log level`);
    say(fromByteString(text).slice(0, 1000), fields);
  };

  const host = {
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
      exchange().local = { status, headers: replyHeaders, body: fromByteString(text) };
      replyHeaders = [];
      at.replied = true;
    },
    reply_header: (slot: number, value: unknown) => {
      if ((at.phase & PHASE_ANSWER) === 0) {
        throw new HostTrap("replyHeader() is only for onRequest and onResponse");
      }
      if (replyHeaders.length >= MAX_REPLY_HEADERS) {
        throw new HostTrap(`more than ${MAX_REPLY_HEADERS} headers of one reply`);
      }
      const name = header(slot, plan.writesResponse, "written");
      replyHeaders.push([name.text, headerValue(value)]);
    },
    peer_id: () => exchange().conn.tls?.identity ?? null,
    route: () => exchange().routeName,
    remote_ip: () => exchange().conn.remote.ip,
    remote_port: () => exchange().conn.remote.port,
    target_ip: () => exchange().conn.target.ip,
    target_port: () => exchange().conn.target.port,
    elapsed_ms: () => Math.max(0, world.now() - exchange().startedMs),
    wall_ms: () => world.wall(),
    set_request_timeout: (ms: number) => {
      during(PHASE_REQUEST, "the request's time-out is set only in onRequest");
      exchange().timeoutMs = timeout(ms);
    },
    set_attempt_timeout: (ms: number) => {
      during(PHASE_REQUEST | PHASE_ATTEMPT, "the attempt's time-out is set before it begins");
      exchange().attemptTimeoutMs = timeout(ms);
    },
    choose_endpoint: (label: unknown, value: unknown, strict: number) => {
      during(PHASE_REQUEST | PHASE_ATTEMPT, "an endpoint is chosen before an attempt begins");
      exchange().choice = {
        label: fromByteString(textOf(label, "a label's name")),
        value: fromByteString(textOf(value, "a label's value")),
        strict: strict !== 0,
      };
    },
    is_inbound: () => exchange().conn.direction === "inbound" ? 1 : 0,
    attempt: () => exchange().attempt,
    endpoint_label: (name: unknown) => {
      const labels = exchange().endpointLabels;
      const text = textOf(name, "a label's name");
      return Object.hasOwn(labels, text) ? labels[text] ?? null : null;
    },
    body_read: (to: number, from: number, count: number) => {
      const piece = thePiece();
      const first = piece.from + (from >>> 0);
      const bytes = Math.max(0, Math.min(count >>> 0, piece.to - first));
      if (bytes > 0) memoryAt(to, bytes).set(piece.buf.subarray(first, first + bytes));
      return bytes;
    },
    body_write: (from: number, count: number) => {
      const bytes = count >>> 0;
      if (bytes > 0) write(memoryAt(from, bytes).slice());
    },
    body_write_text: (value: unknown) => {
      const text = textOf(value, "a text to write");
      write(Uint8Array.from(text, (c) => c.charCodeAt(0)));
    },
    callout_add_header: (name: unknown, value: unknown) => {
      if (calloutHeaders.length >= LIMITS.calloutHeaders) {
        throw new HostTrap(`more than ${LIMITS.calloutHeaders} headers of one call-out`);
      }
      const known = textOf(name, "a header's name");
      if (!TOKEN.test(known)) throw new HostTrap("a call-out's header has no valid name");
      const why = whyNotWritten(known.toLowerCase());
      if (why !== null) throw new HostTrap(why);
      calloutHeaders.push([known.toLowerCase(), headerValue(value)]);
    },
    callout_start: (
      target: number,
      method: unknown,
      path: unknown,
      body: unknown,
      timeoutMs: number,
      context: number,
    ) => {
      during(PHASE_REQUEST, "a call-out is started in onRequest and onCallout");
      const x = exchange();
      const authority = plan.callouts[target];
      if (authority === undefined) throw new HostTrap(`call-out target ${target} is not declared`);
      if (x.callout !== null) throw new HostTrap("one call-out at a time");
      if (x.callouts >= LIMITS.calloutsPerRequest) {
        throw new HostTrap(`more than ${LIMITS.calloutsPerRequest} call-outs for one request`);
      }
      if (!(timeoutMs >= 1 && timeoutMs <= LIMITS.calloutTimeoutMs)) {
        throw new HostTrap(
          `${timeoutMs} is not a time-out from 1 to ${LIMITS.calloutTimeoutMs} ms`,
        );
      }
      const verb = textOf(method, "a method");
      if (!TOKEN.test(verb) || verb.toUpperCase() === "CONNECT") {
        throw new HostTrap("a call-out has no valid method");
      }
      const content = body === null ? "" : textOf(body, "a body");
      x.callouts++;
      x.callout = {
        filter: plan.ref.name,
        authority,
        method: verb,
        path: pathOf(path),
        headers: calloutHeaders,
        body: content,
        timeoutMs,
        context,
      };
      calloutHeaders = [];
    },
    callout_header: (name: unknown) => theAnswer().header(textOf(name, "a header's name")),
    callout_text: () => {
      const { body } = theAnswer();
      if (at.fuel !== null) charge(at.fuel, body.length >>> 2);
      return latin1(body, 0, body.length);
    },
    shared_take: (key: unknown, rate: number, burst: number, cost: number) => {
      if (!(rate > 0 && rate <= 1e6 && burst > 0 && burst <= 1e6 && cost > 0 && cost <= 1e6)) {
        throw new HostTrap("rate, burst and cost of take() are above 0 and at most 1000000");
      }
      const text = keyOf(key);
      return world.cells === null || world.cells.take(text, rate, burst, cost) ? 1 : 0;
    },
    shared_add: (key: unknown, by: number) => {
      if (!Number.isInteger(by) || Math.abs(by) > 2 ** 31) {
        throw new HostTrap(`${by} is not a whole number to add`);
      }
      const text = keyOf(key);
      return world.cells === null ? by : world.cells.add(text, by);
    },
    config_i32: (slot: number) => {
      field(slot, "i32", "bool");
      return config.numbers[slot];
    },
    config_f64: (slot: number) => {
      field(slot, "f64");
      return config.numbers[slot];
    },
    config_text: (slot: number) => {
      field(slot, "text", "statuses");
      return config.texts[slot];
    },
    config_length: (slot: number) => {
      field(slot, "list");
      return config.lists[slot]?.length;
    },
    config_item: (slot: number, n: number) => {
      field(slot, "list");
      return config.lists[slot]?.[n] ?? null;
    },
    config_refuse: (slot: number, why: unknown) => {
      const key = plan.manifest.config[slot]?.key;
      if (key === undefined) throw new HostTrap(`configuration slot ${slot} does not exist`);
      if (at.phase !== PHASE_START) {
        throw new HostTrap("the configuration is refused only while the filter starts");
      }
      throw new ConfigRefusal(`configuration: "${key}" ${printable(textOf(why, "a reason"))}`);
    },
    now_ms: () => world.now(),
    random: () => world.random(),
    log: (level: number, message: unknown) => log(level, message, null),
    log_number: (level: number, message: unknown, value: number) => log(level, message, value),
  };
  return {
    [HOST_MODULE]: host,
    env: {
      abort: (message: number, file: number, line: number, column: number) => {
        const text = guestText(at.memory, message) || "abort";
        const place = guestText(at.memory, file);
        throw new HostTrap(place === "" ? text : `${text} at ${place}:${line}:${column}`);
      },
    },
  };
}

/** Statuses that end a message in the same way, so that one may stand for another. */
function hasBody(status: number): boolean {
  return status >= 200 && status <= 599 && status !== 204 && status !== 205 && status !== 304;
}

/** Texts from here on cost an instruction for each byte. */
const LONG_TEXT = 64;

function charge(fuel: WebAssembly.Global, cost: number): void {
  const left = Number(fuel.value) - cost;
  fuel.value = left;
  if (left < 0) throw new HostTrap("out of fuel");
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

/** A string of AssemblyScript: UTF-16 at `pointer`, its length in bytes before it. */
function guestText(memory: WebAssembly.Memory | null, pointer: number): string {
  const at = pointer >>> 0;
  if (memory === null || at < 4 || at > memory.buffer.byteLength) return "";
  const view = new DataView(memory.buffer);
  const bytes = Math.min(view.getUint32(at - 4, true), 400, memory.buffer.byteLength - at) & ~1;
  let text = "";
  for (let i = 0; i < bytes; i += 2) text += String.fromCharCode(view.getUint16(at + i, true));
  return text;
}
