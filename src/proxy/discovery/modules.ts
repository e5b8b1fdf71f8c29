// Where the bytes of filter modules come from: the disk cache, else the control plane's registry. Every
// byte is counted against the declared size and the whole against its digest before anybody uses it.

import { createClient, type Transport } from "@connectrpc/connect";
import { Registry } from "../../api/gen/tulle/filter_pb.ts";
import { hexToBytes, sha256Hex } from "../../api/hex.ts";
import { errorText } from "../../core/errors.ts";
import type { FilterRef } from "../../core/filter.ts";
import type { Logger } from "../../core/log.ts";

/** Modules kept between runs, by digest; `runtime/module-cache.ts`. What it gives is checked again. */
export interface ModuleCache {
  get(sha256: string): Promise<Uint8Array | null>;
  put(sha256: string, module: Uint8Array): Promise<void>;
}

/** Gives the module that a reference names, or rejects with a sentence. */
export type ModuleSource = (ref: FilterRef, signal: AbortSignal) => Promise<Uint8Array>;

/** A source over the registry of `transport`, with an optional cache in front. */
export function createModuleSource(o: {
  transport: Transport;
  cache: ModuleCache | null;
  log: Logger;
}): ModuleSource {
  const { cache, log } = o;
  const client = createClient(Registry, o.transport);

  const fromCache = async (ref: FilterRef): Promise<Uint8Array | null> => {
    try {
      const module = await cache?.get(ref.sha256) ?? null;
      if (module !== null && await problemOf(module, ref) === null) return module;
      if (module !== null) log.warn("A cached filter module is damaged", { sha256: ref.sha256 });
    } catch (e) {
      log.warn("Cannot read the filter cache", { error: errorText(e) });
    }
    return null;
  };

  const fromRegistry = async (ref: FilterRef, signal: AbortSignal): Promise<Uint8Array> => {
    const module = new Uint8Array(ref.size);
    let at = 0;
    const request = { sha256: hexToBytes(ref.sha256) };
    for await (const { data } of client.getModule(request, { signal })) {
      if (data.length > ref.size - at) {
        throw new Error(`Module ${ref.sha256} is larger than the ${ref.size} bytes declared`);
      }
      module.set(data, at);
      at += data.length;
    }
    const problem = at === ref.size
      ? await problemOf(module, ref)
      : `has ${at} bytes, not the ${ref.size} declared`;
    if (problem !== null) throw new Error(`Module ${ref.sha256} ${problem}`);
    return module;
  };

  return async (ref, signal) => {
    const cached = await fromCache(ref);
    if (cached !== null) return cached;
    const module = await fromRegistry(ref, signal);
    cache?.put(ref.sha256, module).catch((e: unknown) => {
      log.warn("Cannot write the filter cache", { error: errorText(e) });
    });
    return module;
  };
}

async function problemOf(module: Uint8Array, ref: FilterRef): Promise<string | null> {
  if (module.length !== ref.size) return `has ${module.length} bytes, not the ${ref.size} declared`;
  const sha256 = await sha256Hex(module);
  return sha256 === ref.sha256 ? null : `has the digest ${sha256}`;
}
