// Modules by digest: what the registry can hand to proxies. Kept in memory, and those that were rolled
// out also in the state folder, since no file of the mesh may hold them.

import { MAX_MODULE_BYTES } from "../../api/filter-ref.ts";
import { sha256Hex } from "../../api/hex.ts";
import { SIGNATURE_BYTES } from "../../core/signature.ts";
import type { ModuleState } from "../admin/state.ts";
import type { StateDir } from "../state-dir.ts";

/** Modules that are kept; the oldest that no filter uses goes first. */
const MAX_MODULES = 256;
const MAX_TOTAL_BYTES = 256 * 1024 * 1024;

export interface StoredModule {
  readonly bytes: Uint8Array;
  readonly state: ModuleState;
}

export class ModuleStore {
  readonly #dir: StateDir;
  readonly #inUse: () => ReadonlySet<string>;
  readonly #modules = new Map<string, StoredModule>();
  readonly #signatures = new Map<string, Uint8Array>();

  /** `inUse` names the digests that must stay. */
  constructor(dir: StateDir, inUse: () => ReadonlySet<string>) {
    this.#dir = dir;
    this.#inUse = inUse;
  }

  /** Who signed a module, as far as it is known; null: nobody. */
  signature(sha256: string): Uint8Array | null {
    return this.#signatures.get(sha256) ?? null;
  }

  /** Remembers a module's signature; whether it is good is asked by whoever reads it. */
  sign(sha256: string, signature: Uint8Array): void {
    this.#signatures.set(sha256, signature);
  }

  get(sha256: string): StoredModule | null {
    return this.#modules.get(sha256) ?? null;
  }

  /** Keeps a module under its own digest, which it computes. Rejects for what is no module. */
  async add(bytes: Uint8Array, label: string): Promise<StoredModule> {
    checkModule(bytes);
    const sha256 = await sha256Hex(bytes);
    const known = this.#modules.get(sha256);
    if (known !== undefined) return known;
    const module = { bytes, state: { sha256, size: bytes.length, label } };
    this.#modules.set(sha256, module);
    this.#forget();
    return module;
  }

  /** From memory, or from the state folder, whose content is verified. */
  async find(sha256: string): Promise<StoredModule | null> {
    const known = this.#modules.get(sha256);
    if (known !== undefined) return known;
    const bytes = await this.#dir.read(pathOf(sha256));
    if (bytes === null || await sha256Hex(bytes) !== sha256) return null;
    const signature = await this.#dir.read(signaturePathOf(sha256));
    if (signature?.length === SIGNATURE_BYTES) this.sign(sha256, signature);
    return await this.add(bytes, "rolled out");
  }

  /** Makes a module survive a restart. */
  async persist({ bytes, state }: StoredModule): Promise<void> {
    await this.#dir.write(pathOf(state.sha256), bytes);
    const signature = this.signature(state.sha256);
    if (signature !== null) await this.#dir.write(signaturePathOf(state.sha256), signature);
  }

  #forget(): void {
    const used = this.#inUse();
    let total = [...this.#modules.values()].reduce((sum, m) => sum + m.bytes.length, 0);
    for (const [sha256, module] of this.#modules) {
      if (this.#modules.size <= MAX_MODULES && total <= MAX_TOTAL_BYTES) return;
      if (used.has(sha256)) continue;
      this.#modules.delete(sha256);
      this.#signatures.delete(sha256);
      total -= module.bytes.length;
      void this.#dir.remove(pathOf(sha256)).catch(() => {});
      void this.#dir.remove(signaturePathOf(sha256)).catch(() => {});
    }
  }
}

function pathOf(sha256: string): string {
  return `modules/${sha256}.wasm`;
}

function signaturePathOf(sha256: string): string {
  return `modules/${sha256}.sig`;
}

/** Throws for what cannot be a WebAssembly module; says nothing of what it does. */
export function checkModule(bytes: Uint8Array): void {
  if (bytes.length > MAX_MODULE_BYTES) {
    throw new Error(`the module is over ${MAX_MODULE_BYTES} bytes`);
  }
  // "\0asm" and version 1.
  const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  if (magic.some((byte, i) => bytes[i] !== byte)) {
    throw new Error("it is not a WebAssembly module (version 1)");
  }
}
