// WasmFilters (tulle.dev/v1alpha1): which module runs for which Service, EgressNetwork or Server, with
// what settings.

import { MAX_CONFIG_BYTES } from "../../api/filter-ref.ts";
import type { FailurePolicy } from "../../core/filter.ts";
import { parseSignature } from "../../core/signature.ts";
import type { Field } from "../field.ts";
import type { Resource } from "../resource.ts";

/** What filters may be for: what clients go to, inside of the mesh and outside, and what serves them. */
export const FILTER_TARGETS = ["Service", "EgressNetwork", "Server"] as const;
export type FilterTargetKind = (typeof FILTER_TARGETS)[number];

export interface WasmFilterRow {
  readonly namespace: string;
  readonly name: string;
  readonly createdMs: number;
  readonly target: { readonly kind: FilterTargetKind; readonly name: string };
  /** Names of routes: of its ServiceProfile, or HTTPRoutes and GRPCRoutes; empty: all requests. */
  readonly routes: readonly string[];
  /** What configuration pins. */
  readonly sha256: string;
  /** Of the pinned module; null: it is looked for beside the module's file. */
  readonly signature: Uint8Array | null;
  /** Path of the module's file, or empty: the registry must have it. */
  readonly file: string;
  /** The folder that a relative path means. */
  readonly folder: string;
  /** JSON text as UTF-8; empty: none. */
  readonly config: Uint8Array;
  /** Filters of one target run in this order, then by name. */
  readonly order: number;
  readonly failurePolicy: FailurePolicy;
  /** 0: the proxy's default. */
  readonly fuelPerHook: number;
  readonly memoryPages: number;
  readonly cpuPercent: number;
  /** Services that it may ask: its own name for each, and host:port. */
  readonly callouts: Readonly<Record<string, string>>;
}

export function wasmFilterRow(r: Resource): WasmFilterRow {
  const spec = r.body.at("spec");
  const target = spec.at("targetRef");
  const kind = target.at("kind").oneOf(FILTER_TARGETS);
  const routes = spec.at("routes");
  if (kind === "Server" && !routes.isAbsent) routes.fail("is for what clients go to only");
  const module = spec.at("module");
  const sha256 = module.at("sha256").string().toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(sha256)) module.at("sha256").fail("is not 64 hex digits");
  const config = spec.at("config");
  if (!config.isAbsent && (typeof config.value !== "object" || Array.isArray(config.value))) {
    config.fail("is not an object");
  }
  const bytes = config.isAbsent
    ? new Uint8Array()
    : new TextEncoder().encode(JSON.stringify(config.value));
  if (bytes.length > MAX_CONFIG_BYTES) config.fail(`is over ${MAX_CONFIG_BYTES} bytes`);
  const limits = spec.at("limits");
  const failure = spec.at("failurePolicy");
  return {
    namespace: r.namespace,
    name: r.name,
    createdMs: r.createdMs,
    target: { kind, name: target.at("name").string() },
    routes: routes.list(256).map((name) => name.string()),
    sha256,
    signature: signatureAt(module.at("signature")),
    file: fileAt(module.at("file"), r.folder),
    folder: r.folder,
    config: bytes,
    order: spec.at("order").intOr(0, -1_000_000, 1_000_000),
    failurePolicy: !failure.isAbsent && failure.oneOf(["Open", "Closed"] as const) === "Open"
      ? "open"
      : "closed",
    fuelPerHook: limits.at("fuelPerHook").intOr(0, 1, Number.MAX_SAFE_INTEGER),
    memoryPages: limits.at("memoryPages").intOr(0, 1, 65_536),
    callouts: calloutsAt(spec.at("callouts")),
    cpuPercent: limits.at("cpuPercent").intOr(0, 1, 100),
  };
}

/** Only an object that is itself a file may name files: anybody else would choose what is read here. */
function fileAt(field: Field, folder: string): string {
  const file = field.stringOr("");
  if (file !== "" && folder === "") {
    field.fail("names a file, which only an object in a folder may: roll the module out instead");
  }
  return file;
}

function signatureAt(field: Field): Uint8Array | null {
  if (field.isAbsent) return null;
  try {
    return parseSignature(field.string());
  } catch {
    return field.fail("is not an Ed25519 signature: 64 bytes as base64");
  }
}

function calloutsAt(field: Field): Readonly<Record<string, string>> {
  const callouts = field.strings();
  for (const [name, authority] of Object.entries(callouts)) {
    if (/^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$/.test(authority)) continue;
    field.at(name).fail("is not a service as host:port");
  }
  return { ...callouts };
}

/** The order in which filters of one target run. */
export function byOrder(a: WasmFilterRow, b: WasmFilterRow): number {
  return a.order - b.order || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}
