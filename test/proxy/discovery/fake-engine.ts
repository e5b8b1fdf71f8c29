// A filter engine that runs nothing: it remembers what it prepared and of what each chain consists.

import {
  type FilterChain,
  type FilterEngine,
  type FilterRef,
  FilterRefused,
  NO_FILTERS,
  type PreparedFilter,
  type UnloadedFilter,
} from "../../../src/core/filter.ts";
import { sha256Hex } from "../../../src/api/hex.ts";

/** A chain that says what it is made of: `name@text`, or `!name` for one that is not loaded. */
export interface NamedChain extends FilterChain {
  readonly parts: readonly string[];
}

export class FakeEngine implements FilterEngine {
  readonly prepared: string[] = [];
  /** Modules whose text contains this are refused. */
  refuse = "refuse me";
  /** Settles before a preparation ends; replaced by tests that need a slow one. */
  gate: Promise<void> = Promise.resolve();
  chains = 0;
  /** Hooks in the manifests of modules, by the filter's name; none unless set. */
  hooks: Readonly<Record<string, readonly string[]>> = {};
  /** Preparations that compute a digest now, outside the event loop. */
  busy = 0;
  readonly #texts = new Map<string, string>();

  async prepare(module: Uint8Array, ref: FilterRef): Promise<PreparedFilter> {
    const text = new TextDecoder().decode(module);
    await this.gate;
    this.busy++;
    const sha256 = await sha256Hex(module).finally(() => this.busy--);
    if (sha256 !== ref.sha256) throw new FilterRefused("wrong digest");
    if (text.includes(this.refuse)) throw new FilterRefused(`refused: ${text}`);
    this.prepared.push(text);
    this.#texts.set(ref.sha256, text);
    return {
      ref,
      info: {
        abi: "tulle_abi_1",
        sha256: ref.sha256,
        size: ref.size,
        hooks: this.hooks[ref.name] ?? [],
        headersRead: [],
        headersWritten: [],
        metrics: [],
      },
    };
  }

  chain(filters: readonly (PreparedFilter | UnloadedFilter)[]): NamedChain {
    this.chains++;
    const parts = filters.map((f) =>
      f.info === null ? `!${f.ref.name}` : `${f.ref.name}@${this.#texts.get(f.ref.sha256)}`
    );
    return { ...NO_FILTERS, parts };
  }

  stats = () => [];
  series = () => [];
}
