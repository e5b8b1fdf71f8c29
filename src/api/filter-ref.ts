// Filters of a route ↔ tulle.filter.v1.Chain (field 2048). A chain that cannot be read is an error of
// the whole message: a filter that decides must not silently be left out.

import { create } from "@bufbuild/protobuf";
import type { FilterRef } from "../core/filter.ts";
import { SIGNATURE_BYTES } from "../core/signature.ts";
import { type Chain, ChainSchema, FailurePolicy } from "./gen/tulle/filter_pb.ts";
import { bytesToHex, hexToBytes } from "./hex.ts";
import { shown, WireError } from "./wire-error.ts";

/** Modules larger than this are refused before they are fetched. */
export const MAX_MODULE_BYTES = 16 * 1024 * 1024;
/** Configuration larger than this is refused. */
export const MAX_CONFIG_BYTES = 64 * 1024;
/** Filters of one route. */
export const MAX_CHAIN = 32;

const MAX_CALLOUTS = 8;
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Undefined for no filters, so that the message stays what a stock peer sends. */
export function filtersToWire(filters: readonly FilterRef[]): Chain | undefined {
  if (filters.length === 0) return undefined;
  return create(ChainSchema, {
    filters: filters.map((f) => ({
      name: f.name,
      module: { sha256: hexToBytes(f.sha256), size: BigInt(f.size) },
      signature: f.signature ?? new Uint8Array(),
      callouts: { ...f.callouts },
      config: f.config,
      failurePolicy: f.failurePolicy === "open" ? FailurePolicy.OPEN : FailurePolicy.CLOSED,
      limits: f.fuelPerHook === 0 && f.memoryPages === 0 && !f.cpuPercent ? undefined : {
        fuelPerHook: BigInt(f.fuelPerHook),
        memoryPages: f.memoryPages,
        cpuPercent: f.cpuPercent ?? 0,
      },
    })),
  });
}

/** In order of execution. */
export function filtersFromWire(wire: Chain | undefined, field: string): readonly FilterRef[] {
  if (wire === undefined) return [];
  if (wire.filters.length > MAX_CHAIN) {
    throw new WireError(
      `${field}.filters`,
      `has ${wire.filters.length} entries, over ${MAX_CHAIN}`,
    );
  }
  return wire.filters.map((f, i): FilterRef => {
    const at = `${field}.filters[${i}]`;
    if (!NAME.test(f.name)) throw new WireError(`${at}.name`, `${shown(f.name)} is not a name`);
    const sha256 = f.module?.sha256 ?? new Uint8Array();
    if (sha256.length !== 32) {
      throw new WireError(`${at}.module.sha256`, `has ${sha256.length} bytes, not 32`);
    }
    const size = f.module?.size ?? 0n;
    // 0: the control plane itself does not have the module; no download can fit.
    if ((size !== 0n && size < 8n) || size > BigInt(MAX_MODULE_BYTES)) {
      throw new WireError(`${at}.module.size`, `is ${size}, not in 8–${MAX_MODULE_BYTES}`);
    }
    const signature = f.signature;
    if (signature.length !== 0 && signature.length !== SIGNATURE_BYTES) {
      throw new WireError(
        `${at}.signature`,
        `has ${signature.length} bytes, not ${SIGNATURE_BYTES}`,
      );
    }
    if (f.config.length > MAX_CONFIG_BYTES) {
      throw new WireError(`${at}.config`, `has ${f.config.length} bytes, over ${MAX_CONFIG_BYTES}`);
    }
    const fuel = f.limits?.fuelPerHook ?? 0n;
    if (fuel > 2n ** 53n - 1n) throw new WireError(`${at}.limits.fuel_per_hook`, "is over 2^53-1");
    const memoryPages = f.limits?.memoryPages ?? 0;
    if (memoryPages > 65_536) throw new WireError(`${at}.limits.memory_pages`, "is over 65536");
    const cpuPercent = f.limits?.cpuPercent ?? 0;
    if (cpuPercent > 100) throw new WireError(`${at}.limits.cpu_percent`, "is over 100");
    const callouts = Object.entries(f.callouts);
    if (callouts.length > MAX_CALLOUTS) {
      throw new WireError(`${at}.callouts`, `has ${callouts.length} entries, over ${MAX_CALLOUTS}`);
    }
    return {
      name: f.name,
      sha256: bytesToHex(sha256),
      ...(signature.length === 0 ? {} : { signature }),
      size: Number(size),
      config: f.config,
      failurePolicy: f.failurePolicy === FailurePolicy.OPEN ? "open" : "closed",
      fuelPerHook: Number(fuel),
      memoryPages,
      ...(callouts.length === 0 ? {} : { callouts: Object.fromEntries(callouts) }),
      ...(cpuPercent === 0 ? {} : { cpuPercent }),
    };
  });
}
