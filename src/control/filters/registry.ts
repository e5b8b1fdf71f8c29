// Which filters run where, with which modules. Follows the WasmFilter objects and their module files,
// verifies and inspects each module before a proxy hears of it, and keeps the last good one.

import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { FilterRef, ModuleInspector } from "../../core/filter.ts";
import type { Logger } from "../../core/log.ts";
import type { SignatureCheck } from "../../core/signature.ts";
import type { FilterState, ModuleState, RolloutModule, RolloutResult } from "../admin/state.ts";
import type { Cluster } from "../cluster.ts";
import type { Counters } from "../counters.ts";
import { deepEqual } from "../equal.ts";
import type { FileSystem } from "../files/file-system.ts";
import { byOrder, type WasmFilterRow } from "../kinds/wasm-filter.ts";
import type { FilterSource, FilterTarget } from "../mesh.ts";
import { keyOf } from "../resource.ts";
import type { StateDir } from "../state-dir.ts";
import { MAX_MODULE_BYTES } from "../../api/filter-ref.ts";
import { checkModule, ModuleStore, type StoredModule } from "./module-store.ts";
import { refOf, type Served } from "./ref.ts";
import { Rollouts } from "./rollouts.ts";
import { type MapReader, SourceMaps } from "./source-maps.ts";
import { readSignatureBeside } from "./signature-file.ts";

/** Builds of one filter that are shown and can be rolled out again. */
const MAX_BUILDS = 16;
/** Compilers write in steps: a module file is read when nothing was written for this long. */
const QUIET_MS = 50;

/** A filter as it stands. */
interface Entry {
  /** As configuration has it. */
  row: WasmFilterRow;
  /** What proxies are told: an object and a module that were good together; null: nothing yet. */
  active: Served | null;
  state: FilterState["state"];
  reason: string;
  /** Newest first. */
  builds: readonly ModuleState[];
  /** Digest of the module's file when it was last read; empty: it could not be. */
  fileSha256: string;
  endWatch: (() => void) | null;
}

export interface FilterRegistryDeps {
  readonly cluster: Cluster;
  readonly files: FileSystem;
  readonly stateDir: StateDir;
  /** Null: modules are taken by digest only. */
  readonly inspector: ModuleInspector | null;
  /** Null: modules need no signature. */
  readonly signatures?: SignatureCheck | null;
  /** For the lines of traps; absent: they stay byte offsets. */
  readonly readMap?: MapReader;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Logger;
  readonly onChange: () => void;
}

export class FilterRegistry implements FilterSource {
  readonly #deps: FilterRegistryDeps;
  readonly #store: ModuleStore;
  /** For the reasons of traps that proxies tell. */
  readonly maps: SourceMaps;
  readonly #rollouts: Rollouts;
  readonly #entries = new Map<string, Entry>();
  readonly #inspected = new Set<string>();
  readonly #endCluster: () => void;
  /** Work goes one after another, so that what is seen in between is always whole. */
  #work: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(deps: FilterRegistryDeps, rollouts: Rollouts) {
    this.#deps = deps;
    this.#rollouts = rollouts;
    this.#store = new ModuleStore(deps.stateDir, () => this.#digestsInUse());
    this.maps = new SourceMaps(deps.files, deps.readMap ?? null, deps.log);
    this.#endCluster = deps.cluster.subscribe(() => this.#sync());
    this.#sync();
  }

  /** Reads what was rolled out before, then follows the cluster. */
  static async open(deps: FilterRegistryDeps): Promise<FilterRegistry> {
    return new FilterRegistry(deps, await Rollouts.open(deps.stateDir));
  }

  /** Resolves when every change so far was worked off. */
  async settled(): Promise<void> {
    let seen: unknown;
    do {
      seen = this.#work;
      await seen;
    } while (seen !== this.#work);
  }

  /** Verifies everything anew: the keys changed. What is refused now leaves the build before. */
  recheck(): void {
    for (const e of this.#entries.values()) void this.#enqueue(() => this.#configured(e));
  }

  close(): void {
    this.#closed = true;
    this.#endCluster();
    for (const entry of this.#entries.values()) entry.endWatch?.();
  }

  /** The bytes of a module, or null. */
  module(sha256: string): Promise<StoredModule | null> {
    return this.#store.find(sha256);
  }

  refs(target: FilterTarget, route: string | null): readonly FilterRef[] {
    const found: { row: WasmFilterRow; ref: FilterRef }[] = [];
    for (const entry of this.#entries.values()) {
      const shown = this.#shown(entry);
      if (shown === null) continue;
      const { row } = shown;
      if (
        row.namespace !== target.namespace || row.target.kind !== target.kind ||
        row.target.name !== target.name
      ) continue;
      if (row.routes.length > 0 && (route === null || !row.routes.includes(route))) continue;
      found.push({ row, ref: refOf(shown) });
    }
    return found.sort((a, b) => byOrder(a.row, b.row)).map((f) => f.ref);
  }

  /** What is told of an entry. A closed filter without any good module refuses requests: size 0. */
  #shown(entry: Entry): Served | null {
    if (entry.active !== null) return entry.active;
    if (entry.state === "pending" || entry.row.failurePolicy === "open") return null;
    const module = { sha256: entry.row.sha256, size: 0, label: "" };
    return { row: entry.row, module, signature: null };
  }

  /** For the admin plane. */
  states(): readonly FilterState[] {
    return [...this.#entries.values()].map((entry): FilterState => {
      const { row } = entry;
      const known = this.#store.get(row.sha256)?.state;
      return {
        name: row.name,
        namespace: row.namespace,
        targets: [
          `${row.target.kind} ${row.namespace}/${row.target.name}` +
          (row.routes.length === 0 ? "" : ` (${row.routes.join(", ")})`),
        ],
        wanted: known ?? { sha256: row.sha256, size: 0, label: row.file },
        served: entry.active?.module ?? null,
        state: entry.state,
        reason: entry.reason,
        builds: entry.builds,
      };
    });
  }

  /** Makes a module the one that a filter runs, until configuration pins another. Never rejects. */
  rollout(name: string, module: RolloutModule): Promise<RolloutResult> {
    return this.#enqueue(() => this.#rollout(name, module));
  }

  async #rollout(name: string, wanted: RolloutModule): Promise<RolloutResult> {
    const entry = [...this.#entries.values()].find((e) => e.row.name === name);
    if (entry === undefined) {
      return { ok: false, kind: "unknown-filter", reason: `There is no WasmFilter ${name}` };
    }
    const previous = entry.active?.module.sha256 ?? null;
    try {
      const module = "bytes" in wanted
        ? await this.#received(wanted.bytes.slice(), wanted.signature ?? null)
        : await this.#store.find(wanted.sha256);
      if (module === null) {
        throw new Error("the registry does not have this module: send its bytes");
      }
      await this.#activate(entry, module);
      return { ok: true, sha256: module.state.sha256, previous };
    } catch (e) {
      const reason = `Rollout of ${name} refused: ${errorText(e)}`;
      this.#deps.counters.refused("module");
      this.#deps.log.warn(reason);
      return { ok: false, kind: "refused", reason };
    }
  }

  async #received(bytes: Uint8Array, signature: Uint8Array | null): Promise<StoredModule> {
    const module = await this.#store.add(bytes, "rolled out");
    if (signature !== null) {
      // a wrong one must not take the place of a good one
      await this.#deps.signatures?.(module.state.sha256, signature);
      this.#store.sign(module.state.sha256, signature);
    }
    return module;
  }

  /** Inspects a module, remembers it, then tells the proxies. Rejects before anything changed. */
  async #activate(entry: Entry, module: StoredModule): Promise<void> {
    await this.#inspect(module);
    const { row } = entry;
    const { sha256 } = module.state;
    if (sha256 !== row.sha256) await this.#store.persist(module);
    await this.#rollouts.set(row.name, { sha256, instead: row.sha256 });
    this.#serve(entry, module);
  }

  #serve(entry: Entry, module: StoredModule): void {
    const { row } = entry;
    const { state } = module;
    const before = entry.active;
    entry.active = { row, module: state, signature: this.#store.signature(state.sha256) };
    entry.builds = [state, ...entry.builds.filter((b) => b.sha256 !== state.sha256)]
      .slice(0, MAX_BUILDS);
    if (before?.module.sha256 !== state.sha256) {
      this.#deps.log.info("filter module", {
        filter: row.name,
        sha256: state.sha256,
        label: state.label,
      });
    }
    this.#report(entry, "serving", "");
    if (!deepEqual(before, entry.active)) this.#deps.cluster.touch(row.namespace);
  }

  async #inspect(module: StoredModule): Promise<void> {
    const { sha256 } = module.state;
    await this.#deps.signatures?.(sha256, this.#store.signature(sha256));
    if (this.#inspected.has(sha256)) return;
    checkModule(module.bytes);
    await this.#deps.inspector?.inspect(module.bytes);
    this.#inspected.add(sha256);
  }

  /** Compares the entries with the cluster's rows. Called for every change of anything. */
  #sync(): void {
    const rows = this.#deps.cluster.filters.rows;
    for (const [key, entry] of this.#entries) {
      if (rows.has(key)) continue;
      entry.endWatch?.();
      this.#entries.delete(key);
      for (const other of this.#entries.values()) {
        // One of the same name may have been refused for this one's sake.
        if (other.row.name === entry.row.name) void this.#enqueue(() => this.#configured(other));
      }
      this.#deps.onChange();
    }
    for (const row of rows.values()) {
      const key = keyOf(row);
      const entry = this.#entries.get(key);
      if (entry?.row === row) continue;
      if (entry !== undefined) {
        entry.row = row;
        entry.endWatch?.();
        entry.endWatch = this.#watchFile(entry);
        void this.#enqueue(() => this.#configured(entry));
        continue;
      }
      const fresh: Entry = {
        row,
        active: null,
        state: "pending",
        reason: "its module is being read",
        builds: [],
        fileSha256: "",
        endWatch: null,
      };
      this.#entries.set(key, fresh);
      fresh.endWatch = this.#watchFile(fresh);
      void this.#enqueue(() => this.#configured(fresh));
    }
  }

  /** The object is new or changed: what it pins must be had, or the last good pair stays. */
  async #configured(entry: Entry): Promise<void> {
    const { row } = entry;
    if (!this.#isCurrent(entry)) return;
    const [first] = [...this.#deps.cluster.filters.group(`name ${row.name}`)].sort((a, b) =>
      a.namespace < b.namespace ? -1 : 1
    );
    if (first !== undefined && first.namespace !== row.namespace) {
      this.#refuse(entry, `a WasmFilter of this name is in namespace ${first.namespace} already`);
      return;
    }
    const digest = this.#rollouts.digestFor(row.name, row.sha256);
    if (row.signature !== null) this.#store.sign(row.sha256, row.signature);
    try {
      // A file that cannot be read does no harm while the module is here from before.
      const file = row.file === ""
        ? "no module with this digest is here: name its file"
        : await this.#readFile(entry).catch(errorText);
      const module = await this.#store.find(digest) ??
        (digest === row.sha256 ? null : await this.#store.find(row.sha256));
      if (module !== null) {
        await this.#inspect(module);
        this.#serve(entry, module);
      } else if (typeof file === "string") {
        this.#refuse(entry, file);
      } else {
        this.#refuse(entry, mismatch(row, file.state.sha256));
      }
    } catch (e) {
      this.#refuse(entry, errorText(e));
    }
  }

  /** The module's file changed under the same configuration: it is rolled out if it is good. */
  async #fileChanged(entry: Entry): Promise<void> {
    if (!this.#isCurrent(entry)) return;
    const { row } = entry;
    const before = entry.fileSha256;
    const signedBefore = this.#store.signature(before);
    try {
      const file = await this.#readFile(entry);
      const signed = this.#store.signature(file.state.sha256);
      if (file.state.sha256 === before && deepEqual(signed, signedBefore)) return;
      if (entry.active === null && file.state.sha256 !== row.sha256) {
        // Nothing good yet: what configuration pins must come first.
        this.#refuse(entry, mismatch(row, file.state.sha256));
        return;
      }
      await this.#activate(entry, file);
    } catch (e) {
      this.#refuse(entry, errorText(e));
    }
  }

  async #readFile(entry: Entry): Promise<StoredModule> {
    const { row } = entry;
    entry.fileSha256 = "";
    const path = this.#deps.files.resolve(row.folder, row.file);
    const bytes = await this.#deps.files.read(path, MAX_MODULE_BYTES);
    const module = await this.#store.add(bytes, row.file.slice(row.file.lastIndexOf("/") + 1));
    entry.fileSha256 = module.state.sha256;
    await this.#readSignature(entry, path, module);
    await this.maps.note(module.state.sha256, path, row.file);
    return module;
  }

  /** What the object says of its pinned module counts more than the file beside the module. */
  async #readSignature({ row }: Entry, path: string, module: StoredModule): Promise<void> {
    const { sha256 } = module.state;
    if (row.signature !== null && row.sha256 === sha256) return;
    const read = await readSignatureBeside(this.#deps.files, path);
    if (read instanceof Uint8Array) this.#store.sign(sha256, read);
    else if (read !== null) {
      this.#deps.log.warn(`WasmFilter ${keyOf(row)}: ${row.file}.sig is not read: ${read.error}`);
    }
  }

  #watchFile(entry: Entry): (() => void) | null {
    const { row } = entry;
    if (row.file === "") return null;
    const { files, clock } = this.#deps;
    const folder = files.folderOf(files.resolve(row.folder, row.file));
    let cancel: (() => void) | null = null;
    const end = files.watch(folder, () => {
      cancel?.();
      cancel = clock.after(QUIET_MS, () => void this.#enqueue(() => this.#fileChanged(entry)));
    });
    return () => {
      cancel?.();
      end();
    };
  }

  #isCurrent(entry: Entry): boolean {
    return !this.#closed && this.#entries.get(keyOf(entry.row)) === entry;
  }

  #refuse(entry: Entry, why: string): void {
    const stays = entry.active === null
      ? entry.row.failurePolicy === "closed" ? "; its requests are refused" : "; it is skipped"
      : `; ${entry.active.module.sha256.slice(0, 12)} stays in force`;
    this.#deps.counters.refused("module");
    this.#deps.log.warn(`WasmFilter ${keyOf(entry.row)}: ${why}${stays}`);
    const pending = entry.state === "pending";
    this.#report(entry, "refused", why);
    if (pending && entry.active === null) this.#deps.cluster.touch(entry.row.namespace);
  }

  #report(entry: Entry, state: FilterState["state"], reason: string): void {
    entry.state = state;
    entry.reason = reason;
    this.#deps.onChange();
  }

  #digestsInUse(): ReadonlySet<string> {
    const of = ({ row, builds }: Entry) => [row.sha256, ...builds.map((b) => b.sha256)];
    return new Set([...this.#entries.values()].flatMap(of));
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch((e) => this.#deps.log.error(errorText(e)));
    return done;
  }
}

function mismatch(row: WasmFilterRow, found: string): string {
  return `${row.file} has the digest ${found}, not ${row.sha256} as configured`;
}
