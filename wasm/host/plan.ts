// A module ready to be instantiated, and a filter's configuration applied to it: everything that is
// looked up by slot while requests run, prepared once.

import {
  type FilterRef,
  HOOK_ATTEMPT,
  HOOK_CONNECTION,
  HOOK_CONNECTION_END,
  HOOK_END,
  HOOK_OUTCOME,
  HOOK_REQUEST,
  HOOK_REQUEST_BODY,
  HOOK_RESPONSE,
  HOOK_RESPONSE_BODY,
  HOOK_TRAILERS,
  type ModuleInfo,
  type PreparedFilter,
} from "../../src/core/filter.ts";
import { type HeaderEdit, type HeaderName, headerName } from "../../src/core/head.ts";
import { ABI, HOOK_EXPORTS, type HookName, type Manifest } from "../abi.ts";
import type { ConfigValues } from "./config.ts";
import { NOWHERE, type Places } from "./trap.ts";

/** Compile options of every filter module. */
export const COMPILE_OPTIONS: { builtins: ["js-string"]; importedStringConstants: string } = {
  builtins: ["js-string"],
  importedStringConstants: "'",
};

/** A prepared filter as this engine knows it. */
export class FilterPlan implements PreparedFilter {
  readonly ref: FilterRef;
  readonly info: ModuleInfo;
  readonly module: WebAssembly.Module;
  readonly manifest: Manifest;
  readonly config: ConfigValues;
  readonly fuelPerHook: number;
  /** For the reason of a trap. */
  readonly places: Places;
  /** Equal for filters that may share an instance. */
  readonly key: string;
  readonly headers: readonly HeaderName[];
  /** The authority that each call-out target means. */
  readonly callouts: readonly string[];
  /** 1 for each slot that may be read or written. */
  readonly readsRequest: Uint8Array;
  readonly readsResponse: Uint8Array;
  readonly writesRequest: Uint8Array;
  readonly writesResponse: Uint8Array;
  readonly requestParams: readonly HeaderName[];
  readonly responseParams: readonly HeaderName[];
  readonly edits: readonly HeaderEdit[];
  /** 1 for each edit of the response. */
  readonly editsResponse: Uint8Array;
  /** The request is read after the request hook. */
  readonly keepsRequest: boolean;
  /** Bits of `HOOK_*`. */
  readonly hookBits: number;

  constructor(
    ref: FilterRef,
    info: ModuleInfo,
    module: WebAssembly.Module,
    manifest: Manifest,
    config: ConfigValues,
    fuelPerHook: number,
    places: Places = NOWHERE,
  ) {
    this.ref = ref;
    this.info = info;
    this.module = module;
    this.manifest = manifest;
    this.config = config;
    this.fuelPerHook = fuelPerHook;
    this.places = places;
    const { name, sha256, failurePolicy, memoryPages } = ref;
    const text = Array.from(ref.config, (b) => String.fromCharCode(b)).join("");
    const allowed = ref.callouts ?? {};
    this.callouts = (manifest.callouts ?? []).map((target) => allowed[target] ?? "");
    const limits = [fuelPerHook, memoryPages, ref.cpuPercent ?? 0];
    this.key = JSON.stringify([name, sha256, failurePolicy, limits, allowed, text]);
    this.headers = manifest.headers.map(headerName);
    const mask = (slots: readonly number[]) => {
      const bits = new Uint8Array(manifest.headers.length);
      for (const slot of slots) bits[slot] = 1;
      return bits;
    };
    this.readsRequest = mask(manifest.reads.request);
    this.readsResponse = mask(manifest.reads.response);
    this.writesRequest = mask(manifest.writes.request);
    this.writesResponse = mask(manifest.writes.response);
    const named = (slots: readonly number[]) =>
      slots.map((slot) => this.headers[slot] as HeaderName);
    this.requestParams = named(manifest.params.request);
    this.responseParams = named(manifest.params.response);
    this.edits = manifest.edits.map(({ op, header, value }) =>
      Object.freeze({ op, name: this.headers[header] as HeaderName, value })
    );
    this.editsResponse = Uint8Array.from(manifest.edits, (e) => e.head === "response" ? 1 : 0);
    const isLate = info.hooks.some((h) =>
      h === "outcome" || h === "response" || h === "end" || h === "attempt" || h.endsWith("Body") ||
      h === "trailers"
    );
    this.keepsRequest = manifest.keepsRequest && isLate;
    const { hooks } = info;
    this.hookBits = (hooks.includes("request") || this.keepsRequest ? HOOK_REQUEST : 0) |
      (hooks.includes("outcome") ? HOOK_OUTCOME : 0) |
      (hooks.includes("response") ? HOOK_RESPONSE : 0) |
      (hooks.includes("end") ? HOOK_END : 0) |
      (hooks.includes("attempt") ? HOOK_ATTEMPT : 0) |
      (hooks.includes("requestBody") ? HOOK_REQUEST_BODY : 0) |
      (hooks.includes("responseBody") ? HOOK_RESPONSE_BODY : 0) |
      (hooks.includes("trailers") ? HOOK_TRAILERS : 0) |
      (hooks.includes("connection") ? HOOK_CONNECTION : 0) |
      (hooks.includes("connectionEnd") ? HOOK_CONNECTION_END : 0);
  }
}

/** What a module says of itself; `written` are headers that the configuration adds. */
export function describe(
  manifest: Manifest,
  exports: readonly { readonly name: string }[],
  sha256: string,
  size: number,
  written: readonly string[] | null,
): ModuleInfo {
  const names = (slots: readonly number[]) => slots.map((slot) => manifest.headers[slot] as string);
  const { reads, writes, config } = manifest;
  const configured = config.flatMap((f) =>
    f.type === "headers" || f.type === "names" ? [`(configured by ${f.key})`] : []
  );
  const hooks = (Object.keys(HOOK_EXPORTS) as HookName[]).filter((hook) =>
    hook !== "start" && exports.some((e) => e.name === HOOK_EXPORTS[hook])
  );
  const unique = (list: readonly string[]) => [...new Set(list)];
  return {
    abi: ABI,
    sha256,
    size,
    hooks,
    headersRead: unique([...names(reads.request), ...names(reads.response)]),
    headersWritten: unique([
      ...names(writes.request),
      ...names(writes.response),
      ...(written ?? configured),
    ]),
    metrics: manifest.metrics.map(({ name, help, kind, labels, bounds }) => ({
      name,
      help,
      kind,
      labels: labels.map((l) => l.name),
      bounds,
    })),
  };
}
