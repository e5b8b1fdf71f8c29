// The functions that the reference host of reference-host.ts hands to a module. Written from docs/ABI.md.

import {
  type Head,
  type Pair,
  PROXYS,
  readable,
  type ReferenceState,
  Refusal,
  type Side,
  stop,
} from "./reference-state.ts";

/** Applies an edit of the manifest; `side` null: whatever head it is for. */
export function applyEdit(state: ReferenceState, i: number, side: Side | null): void {
  const { edits, headers } = state.manifest;
  const edit = edits[i] ?? stop("no such edit");
  if (side !== null && edit.head !== side) stop("an edit of another head");
  headOf(state, edit.head).change(edit.op, headers[edit.header] ?? "", edit.value);
}

/** A head to be changed now. */
function headOf({ now: { hook, head, response } }: ReferenceState, side: Side): Head {
  const request = ["request", "callout", "request_body"].includes(hook) ? head : null;
  return (side === "request" ? request : hook === "response" ? response : null) ??
    stop(`the ${side} is not changed in ${hook}`);
}

function nameOf({ manifest }: ReferenceState, slot: number, of: readonly number[]): string {
  return of.includes(slot) ? manifest.headers[slot] as string : stop("an undeclared slot");
}

/** The imports of the module `tulle`. */
export function createFunctions(
  state: ReferenceState,
): Record<string, (...args: never[]) => unknown> {
  const { reads, writes } = state.manifest;
  const at = () => state.now;
  const some = (value: string | null): string => value ?? stop("it is absent");
  const short = (value: string | null): string =>
    some(value).length <= 8192 ? some(value) : stop("it is too long");
  const request = () => at().request ?? stop("there is no request");
  const head = () => at().head ?? stop("there is no request");
  const response = () =>
    (at().hook === "response" ? at().response : null) ?? stop("there is no response");
  const trailers = () =>
    (at().hook === "trailers" ? at().trailers : null) ?? stop("there are no trailers");
  const piece = () => at().piece ?? stop("there is no body");
  const only = (...hooks: readonly string[]) =>
    hooks.includes(at().hook) ? undefined : stop(`not in ${at().hook}`);
  const ms = (value: number, most = 3_600_000) =>
    value >= 1 && value <= most ? value : stop("no time-out");
  const field = (slot: number, ...types: readonly string[]) => {
    const found = state.manifest.config[slot];
    return found !== undefined && types.includes(found.type)
      ? state.config[slot]
      : stop("no such field");
  };
  const memory = (from: number, count: number) => {
    const { buffer } = state.memory ?? stop("no memory");
    const [at, size] = [from >>> 0, count >>> 0];
    if (at + size > buffer.byteLength) stop("outside of the memory");
    return new Uint8Array(buffer, at, size);
  };
  const key = (of: string | null) => short(of).length <= 256 ? some(of) : stop("a long key");
  const change = (side: Side, op: string) => (slot: number, value: string | null = "") =>
    headOf(state, side).change(op, nameOf(state, slot, writes[side]), short(value));
  const say = (level: number, text: string) => {
    const name = ["debug", "info", "warn", "error"][level] ?? stop("no level");
    state.lines.push([name, readable(text)]);
  };
  const path = (text: string | null) =>
    /^\/[!"$-~\x80-\xff]*$/.test(short(text)) ? some(text) : stop("no path");
  return {
    request_method: () => request().method,
    request_path: () => (head(), at().path),
    request_authority: () => (head(), at().authority),
    request_header: (slot: number) => head().values(nameOf(state, slot, reads.request))[0] ?? null,
    request_header_at: (slot: number, n: number) =>
      head().values(nameOf(state, slot, reads.request))[n] ?? null,
    request_set: change("request", "set"),
    request_add: change("request", "add"),
    request_remove: (slot: number) => change("request", "remove")(slot),
    request_set_path: (text: string | null) => {
      only("request", "callout", "request_body");
      at().path = path(text);
    },
    request_set_authority: (text: string | null) => {
      only("request", "callout", "request_body");
      at().authority = /^[!$%&'()*+,\-.0-9:;=A-Z[\]_a-z~]+$/.test(short(text))
        ? some(text)
        : stop("no authority");
    },
    response_header: (slot: number) =>
      response().values(nameOf(state, slot, reads.response))[0] ?? null,
    response_header_at: (slot: number, n: number) =>
      response().values(nameOf(state, slot, reads.response))[n] ?? null,
    response_set: change("response", "set"),
    response_add: change("response", "add"),
    response_remove: (slot: number) => change("response", "remove")(slot),
    response_set_status: (status: number) => {
      response();
      const hasBody = status >= 200 && status <= 599 && ![204, 205, 304].includes(status);
      at().status = hasBody ? status : stop("no status with a body");
    },
    apply_edit: (i: number) => applyEdit(state, i, null),
    apply_config: (op: number, slot: number) => {
      const { type, head = "request" } = state.manifest.config[slot] ?? stop("no such field");
      if (type !== (op === 2 ? "names" : "headers")) stop("no such operation");
      for (const [name, value] of state.config[slot] as readonly Pair[]) {
        headOf(state, head).change(["set", "add", "remove"][op] ?? "", name, value);
      }
    },
    reply: (status: number, body: string | null) => {
      only("request", "callout", "response", "request_body", "response_body");
      if (status < 200 || status > 599) stop("no status");
      at().reply = { status, headers: at().replyHeaders, body: readable(body ?? "") };
      at().replyHeaders = [];
    },
    reply_header: (slot: number, value: string | null) => {
      only("request", "callout", "response", "request_body", "response_body");
      at().replyHeaders.push([nameOf(state, slot, writes.response), short(value)]);
    },
    peer_id: () => request().peer ?? null,
    is_inbound: () => request().inbound === true ? 1 : 0,
    attempt: () => at().attempt,
    grpc_status: () => -1, // the cases are of HTTP/1
    route: () => request().route ?? "",
    remote_ip: () => request().remote?.[0] ?? "127.0.0.1",
    remote_port: () => request().remote?.[1] ?? 1,
    target_ip: () => request().target?.[0] ?? "127.0.0.1",
    target_port: () => request().target?.[1] ?? 2,
    elapsed_ms: () => 0,
    wall_ms: () => Date.now(),
    now_ms: () => performance.now(),
    random: () => Math.random(),
    set_request_timeout: (value: number) => {
      only("request", "callout");
      at().requestTimeoutMs = ms(value);
    },
    set_attempt_timeout: (value: number) => {
      only("request", "callout", "attempt");
      at().attemptTimeoutMs = ms(value);
    },
    set_time_limit: (kind: number, value: number) => {
      only("request", "callout");
      if (value < 1) stop(`${value} is no time limit`);
      const name = [
        "requestTimeoutMs",
        "exchangeLimitMs",
        "responseLimitMs",
        "idleLimitMs",
      ] as const;
      at()[name[kind] ?? stop(`${kind} is no kind of limit`)] = value;
    },
    choose_endpoint: (label: string | null, value: string | null, strict: number) => {
      only("request", "callout", "attempt");
      at().endpoint = {
        label: readable(short(label)),
        value: readable(short(value)),
        strict: strict !== 0,
      };
    },
    endpoint_label: (name: string | null) => at().labels[short(name)] ?? null,
    config_i32: (slot: number) => Number(field(slot, "i32", "bool")),
    config_f64: (slot: number) => field(slot, "f64"),
    config_text: (slot: number) => field(slot, "text", "statuses"),
    config_length: (slot: number) => (field(slot, "list") as readonly string[]).length,
    config_item: (slot: number, n: number) => (field(slot, "list") as readonly string[])[n] ?? null,
    config_refuse: (slot: number, why: string | null) => {
      only("start");
      throw new Refusal(`${state.manifest.config[slot]?.key ?? ""} ${some(why)}`);
    },
    body_read: (to: number, from: number, count: number) => {
      const bytes = piece().subarray(from >>> 0, (from >>> 0) + (count >>> 0));
      memory(to, bytes.length).set(bytes);
      return bytes.length;
    },
    body_write: (from: number, count: number) => {
      piece();
      at().written += String.fromCharCode(...memory(from, count));
    },
    body_write_text: (text: string | null) => {
      piece();
      at().written += short(text);
    },
    trailer: (slot: number) => trailers().values(nameOf(state, slot, reads.response))[0] ?? null,
    trailer_set: (slot: number, value: string | null) =>
      trailers().change("set", nameOf(state, slot, writes.response), short(value)),
    trailer_remove: (slot: number) =>
      trailers().change("remove", nameOf(state, slot, writes.response), ""),
    callout_add_header: (name: string | null, value: string | null) => {
      const lower = short(name).toLowerCase();
      if (PROXYS.test(lower)) stop("a header of the proxy");
      at().askedHeaders.push([lower, short(value)]);
    },
    callout_start: (
      target: number,
      method: string | null,
      to: string | null,
      body: string | null,
      timeoutMs: number,
      context: number,
    ) => {
      only("request", "callout");
      if (at().asked !== null) stop("one at a time");
      at().asked = {
        authority: state.targets[target] ?? stop("no such target"),
        method: short(method),
        path: path(to),
        headers: at().askedHeaders,
        body: short(body ?? ""),
        timeoutMs: ms(timeoutMs, 30_000),
        context,
      };
      at().askedHeaders = [];
    },
    callout_header: (name: string | null) => {
      const lower = short(name).toLowerCase();
      const { headers } = at().answer ?? stop("there is no answer");
      return headers.find(([n]) => n.toLowerCase() === lower)?.[1] ?? null;
    },
    callout_text: () => (at().answer ?? stop("there is no answer")).body,
    shared_take: (of: string | null, rate: number, burst: number, cost: number) => {
      if (![rate, burst, cost].every((n) => n > 0 && n <= 1_000_000)) stop("out of range");
      const left = state.buckets.get(key(of)) ?? burst; // it never fills again: rates are tiny
      if (left < cost) return 0;
      state.buckets.set(key(of), left - cost);
      return 1;
    },
    shared_add: (of: string | null, by: number) => {
      if (!Number.isInteger(by)) stop("no whole number");
      const sum = (state.counters.get(key(of)) ?? 0) + by;
      state.counters.set(key(of), sum);
      return sum;
    },
    text: (from: number, count: number) => {
      if (count >>> 0 > 8192) stop("too long");
      const bytes = memory(from, (count >>> 0) * 2);
      let text = "";
      for (let i = 0; i < bytes.length; i += 2) {
        if (bytes[i + 1] !== 0) stop("no byte");
        text += String.fromCharCode(bytes[i] as number);
      }
      return text;
    },
    log: (level: number, text: string | null) => say(level, short(text)),
    log_number: (level: number, text: string | null, n: number) =>
      say(level, `${short(text)} ${n}`),
  };
}
