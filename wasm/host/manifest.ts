// The manifest of a module: JSON from a stranger, read field by field into the ABI's shape. What is
// unknown is refused, so that a module made for a later ABI is not half understood.

import { FilterRefused } from "../../src/core/filter.ts";
import { headerName } from "../../src/core/head.ts";
import {
  ABI,
  type ConfigField,
  type HeaderUse,
  LIMITS,
  type Manifest,
  MANIFEST_SECTION,
  type ManifestEdit,
  type ManifestLabel,
  type ManifestMetric,
  MAX_HEADER_PARAMS,
} from "../abi.ts";

/** Why a filter may not write a header, or null. */
export function whyNotWritten(name: string): string | null {
  if (name === "host") return `"host" is changed by request.setAuthority`;
  if (!headerName(name).codec && !name.startsWith("l5d-")) return null;
  return `"${name}" belongs to the proxy, a filter may not write it`;
}

/** Whether `value` can be a header's value: one code unit per byte, none of them NUL, CR or LF. */
export function isHeaderValue(value: string): boolean {
  // deno-lint-ignore no-control-regex -- that is the point
  return !/[\x00\r\n]|[^\x00-\xff]/.test(value);
}

type Json = Readonly<Record<string, unknown>>;

function refuse(what: string): never {
  throw new FilterRefused(`section "${MANIFEST_SECTION}": ${what}`);
}

/** Reads the section. Throws `FilterRefused` that names the field. */
export function readManifest(section: Uint8Array | null): Manifest {
  if (section === null) {
    refuse(`is missing; a filter for ${ABI} has one, which the SDK's compiler writes`);
  }
  if (section.length > LIMITS.manifestBytes) refuse(`is longer than ${LIMITS.manifestBytes} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(section));
  } catch {
    refuse("is not JSON in UTF-8");
  }
  const m = object("manifest", json, [
    "abi",
    "build",
    "headers",
    "reads",
    "writes",
    "params",
    "keepsRequest",
    "edits",
    "config",
    "metrics",
    "tickMs",
    "callouts",
    "bodies",
  ]);
  if (m.abi !== ABI) refuse(`abi is ${show(m.abi)}; ${ABI} is spoken here`);
  const headers = array("headers", m.headers, LIMITS.headers).map((h, i) => {
    const name = string(`headers[${i}]`, h, 256);
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
      refuse(`headers[${i}]: ${show(name)} is not a header name`);
    }
    return name;
  });
  const use = (field: string, value: unknown): HeaderUse => {
    const heads = object(field, value, ["request", "response"]);
    const slots = (head: "request" | "response") =>
      array(`${field}.${head}`, heads[head], LIMITS.headers).map((slot, i) =>
        index(`${field}.${head}[${i}]`, slot, headers.length)
      );
    return { request: slots("request"), response: slots("response") };
  };
  const writes = use("writes", m.writes);
  for (const slot of [...writes.request, ...writes.response]) {
    const why = whyNotWritten(headers[slot] as string);
    if (why !== null) refuse(`writes: ${why}`);
  }
  const params = use("params", m.params);
  if (Math.max(params.request.length, params.response.length) > MAX_HEADER_PARAMS) {
    refuse(`params: a hook takes at most ${MAX_HEADER_PARAMS} headers`);
  }
  const config = array("config", m.config, LIMITS.config).map((f, i) => field(`config[${i}]`, f));
  const metrics = array("metrics", m.metrics, LIMITS.metrics).map((x, i) =>
    metric(`metrics[${i}]`, x, config)
  );
  const tickMs = m.tickMs === undefined ? null : number("tickMs", m.tickMs);
  if (tickMs !== null && !(tickMs >= LIMITS.minTickMs && tickMs <= LIMITS.maxTickMs)) {
    refuse(`tickMs: ${tickMs} is not from ${LIMITS.minTickMs} to ${LIMITS.maxTickMs}`);
  }
  return {
    abi: ABI,
    ...(m.build === undefined ? {} : { build: string("build", m.build, 256) }),
    headers,
    reads: use("reads", m.reads),
    writes,
    params,
    keepsRequest: boolean("keepsRequest", m.keepsRequest),
    edits: array("edits", m.edits, LIMITS.edits).map((e, i) => edit(`edits[${i}]`, e, writes)),
    config,
    metrics,
    ...(m.bodies === undefined ? {} : { bodies: bodies(m.bodies) }),
    ...(m.callouts === undefined ? {} : { callouts: callouts(m.callouts) }),
    ...(tickMs === null ? {} : { tickMs }),
  };
}

function callouts(value: unknown): readonly string[] {
  return array("callouts", value, LIMITS.callouts).map((name, i) => {
    const text = string(`callouts[${i}]`, name, 64);
    if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(text)) refuse(`callouts[${i}]: ${show(text)} is no name`);
    return text;
  });
}

function bodies(value: unknown): NonNullable<Manifest["bodies"]> {
  const b = object("bodies", value, ["request", "response"]);
  const one = (head: "request" | "response") => {
    if (b[head] === undefined) return {};
    const at = `bodies.${head}`;
    const { wholeBytes, over, replaces } = object(at, b[head], ["wholeBytes", "over", "replaces"]);
    return {
      [head]: {
        wholeBytes: index(`${at}.wholeBytes`, wholeBytes, LIMITS.bodyBytes + 1),
        over: oneOf(`${at}.over`, over, ["refuse", "pass"] as const),
        replaces: boolean(`${at}.replaces`, replaces),
      },
    };
  };
  return { ...one("request"), ...one("response") };
}

function edit(at: string, value: unknown, writes: HeaderUse): ManifestEdit {
  const e = object(at, value, ["head", "op", "header", "value"]);
  const head = oneOf(`${at}.head`, e.head, ["request", "response"] as const);
  const op = oneOf(`${at}.op`, e.op, ["set", "add", "remove"] as const);
  const header = index(`${at}.header`, e.header, LIMITS.headers);
  if (!writes[head].includes(header)) refuse(`${at}.header is not among writes.${head}`);
  const text = string(`${at}.value`, e.value, LIMITS.textBytes);
  if (!isHeaderValue(text)) refuse(`${at}.value is not a header value`);
  return { head, op, header, value: text };
}

function field(at: string, value: unknown): ConfigField {
  const f = object(at, value, ["key", "type", "default", "min", "max", "head"]);
  const key = string(`${at}.key`, f.key, 64);
  if (!/^[A-Za-z][A-Za-z0-9_.-]*$/.test(key)) refuse(`${at}.key: ${show(key)} is not a key`);
  const types = ["i32", "f64", "bool", "text", "statuses", "list", "headers", "names"] as const;
  const type = oneOf(`${at}.type`, f.type, types);
  switch (type) {
    case "i32":
    case "f64": {
      const bound = (name: string, v: unknown) => v === null ? null : number(`${at}.${name}`, v);
      return {
        key,
        type,
        default: number(`${at}.default`, f.default),
        min: bound("min", f.min),
        max: bound("max", f.max),
      };
    }
    case "bool":
      return { key, type, default: boolean(`${at}.default`, f.default) };
    case "text":
    case "statuses":
      return { key, type, default: string(`${at}.default`, f.default, LIMITS.textBytes) };
    case "list":
      return { key, type, max: index(`${at}.max`, f.max, 257) };
    case "headers":
    case "names":
      return { key, type, head: oneOf(`${at}.head`, f.head, ["request", "response"] as const) };
  }
}

function metric(at: string, value: unknown, config: readonly ConfigField[]): ManifestMetric {
  const m = object(at, value, ["kind", "name", "help", "labels", "bounds"]);
  const name = string(`${at}.name`, m.name, 128);
  if (!/^[a-z][a-z0-9_]*$/.test(name)) refuse(`${at}.name: ${show(name)} is not a metric name`);
  if (name.startsWith("host_")) refuse(`${at}.name: host_… is what the host counts itself`);
  const kind = oneOf(`${at}.kind`, m.kind, ["counter", "gauge", "histogram"] as const);
  const labels = array(`${at}.labels`, m.labels, LIMITS.labels).map((l, i) =>
    label(`${at}.labels[${i}]`, l, config)
  );
  const bounds = array(`${at}.bounds`, m.bounds, LIMITS.bounds).map((b, i) =>
    number(`${at}.bounds[${i}]`, b)
  );
  if ((kind === "histogram") !== bounds.length > 0) {
    refuse(`${at}.bounds: a histogram has some, nothing else has`);
  }
  const size = labels.reduce((n, l) => n * labelRoom(l, config), 1);
  if (size > LIMITS.seriesPerMetric) {
    refuse(`${at}: ${size} series; ${LIMITS.seriesPerMetric} are allowed`);
  }
  return { kind, name, help: string(`${at}.help`, m.help, 1024), labels, bounds };
}

function label(at: string, value: unknown, config: readonly ConfigField[]): ManifestLabel {
  const l = object(at, value, ["name", "values", "config", "or"]);
  const name = string(`${at}.name`, l.name, 64);
  if (!/^[a-z][a-z0-9_]*$/.test(name)) refuse(`${at}.name: ${show(name)} is not a label name`);
  if (l.values !== undefined) {
    const values = array(`${at}.values`, l.values, LIMITS.seriesPerMetric);
    if (values.length === 0) refuse(`${at}.values is empty`);
    return { name, values: values.map((v, i) => string(`${at}.values[${i}]`, v, 256)) };
  }
  const slot = index(`${at}.config`, l.config, config.length);
  const type = config[slot]?.type;
  if (type !== "list" && type !== "text") refuse(`${at}.config is neither a list nor a text`);
  return { name, config: slot, or: l.or === null ? null : string(`${at}.or`, l.or, 256) };
}

/** How many values of a label the module has room for. */
export function labelRoom(label: ManifestLabel, config: readonly ConfigField[]): number {
  if ("values" in label) return label.values.length;
  const field = config[label.config];
  return (field?.type === "list" ? field.max : 1) + (label.or === null ? 0 : 1);
}

function show(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 80) ?? "missing";
}

function object(at: string, value: unknown, keys: readonly string[]): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse(`${at} is not an object`);
  }
  for (const key of Object.keys(value)) {
    if (!keys.includes(key)) refuse(`${at}: ${show(key)} is not known to ${ABI}`);
  }
  return value as Json;
}

function array(at: string, value: unknown, max: number): readonly unknown[] {
  if (!Array.isArray(value)) refuse(`${at} is not a list`);
  if (value.length > max) refuse(`${at} has ${value.length} entries; ${max} are allowed`);
  return value;
}

function string(at: string, value: unknown, max: number): string {
  if (typeof value !== "string" || value.length > max) {
    refuse(`${at} is not a text of at most ${max} characters`);
  }
  return value;
}

function number(at: string, value: unknown): number {
  if (typeof value !== "number") refuse(`${at} is not a number`);
  return value;
}

function boolean(at: string, value: unknown): boolean {
  if (typeof value !== "boolean") refuse(`${at} is neither true nor false`);
  return value;
}

function index(at: string, value: unknown, below: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value >= below) {
    refuse(`${at}: ${show(value)} is not a whole number below ${below}`);
  }
  return value;
}

function oneOf<T extends string>(at: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((a) => a === value);
  if (found === undefined) refuse(`${at}: ${show(value)} is none of ${allowed.join(", ")}`);
  return found;
}
