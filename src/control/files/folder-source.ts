// The folder as a source of objects: reads its YAML, feeds the cluster, follows changes. What cannot be
// read is said with file, line and field, and leaves the last good version in force.

import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { Problem } from "../admin/state.ts";
import type { Cluster } from "../cluster.ts";
import type { Counters } from "../counters.ts";
import { type Feed, ProblemList, resourceTitle } from "../feed.ts";
import { FieldError } from "../field.ts";
import { readResource, type Resource } from "../resource.ts";
import type { FileEntry, FileSystem, Tree } from "./file-system.ts";
import { parseYaml, type YamlObject } from "./yaml.ts";

/** A file of Kubernetes objects larger than this is a mistake. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** Editors write in steps: wait until nothing was written for this long, */
const QUIET_MS = 40;
/** but not longer than this after the first change. */
const PATIENCE_MS = 120;
/** Looks at the folder also without being told, for file systems that tell nothing. */
const POLL_MS = 2000;
/** An empty file is often the first half of a rewrite, whose writer may be kept waiting. */
const EMPTY_MS = 1000;

/** A file as it was last read. */
interface ReadFile {
  readonly stamp: string;
  readonly objects: readonly ReadObject[];
  /** Why it, or a document of it, cannot be read. */
  readonly problems: readonly Problem[];
  /** Since when it is empty and not believed to be; on the clock. */
  readonly emptyMs?: number;
}

interface ReadObject {
  readonly id: string;
  readonly resource: Resource;
  /** `shop.yaml:12`. */
  readonly at: (path: FieldError["path"]) => string;
}

export class FolderSource implements Feed {
  readonly #folder: string;
  readonly #files: FileSystem;
  readonly #cluster: Cluster;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #problems: ProblemList;

  #read = new Map<string, ReadFile>();
  /** What the cluster was given, by id. */
  #applied = new Map<string, ReadObject>();
  /** Objects whose newest version was refused, with what is wrong. */
  #refused = new Map<string, { readonly object: ReadObject; readonly problem: Problem }>();
  readonly #unknownKinds = new Set<string>();

  readonly #watches = new Map<string, () => void>();
  #cancelTimer: (() => void) | null = null;
  #cancelPoll: (() => void) | null = null;
  #firstChangeMs: number | null = null;
  #scanning: Promise<void> | null = null;
  #again = false;
  #closed = false;

  constructor(options: {
    readonly folder: string;
    readonly files: FileSystem;
    readonly cluster: Cluster;
    readonly clock: Clock;
    readonly counters: Counters;
    readonly log: Logger;
    /** Called when the list of problems changed. */
    readonly onProblems: () => void;
  }) {
    this.#folder = options.folder;
    this.#files = options.files;
    this.#cluster = options.cluster;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#problems = new ProblemList(options.counters, options.log, options.onProblems);
  }

  /** What is wrong with the folder now. */
  get problems(): readonly Problem[] {
    return this.#problems.now;
  }

  /** Reads the folder, then follows it. Rejects when the folder itself cannot be read. */
  async start(): Promise<void> {
    const tree = await this.#files.tree(this.#folder);
    await this.#take(tree);
    this.#poll();
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#cancelPoll?.();
    for (const end of this.#watches.values()) end();
    this.#watches.clear();
  }

  #poll(): void {
    if (this.#closed) return;
    this.#cancelPoll = this.#clock.after(POLL_MS, () => {
      void this.#scan().then(() => this.#poll());
    });
  }

  #changed(): void {
    if (this.#closed) return;
    const now = this.#clock.now();
    this.#firstChangeMs ??= now;
    this.#cancelTimer?.();
    const wait = Math.min(QUIET_MS, this.#firstChangeMs + PATIENCE_MS - now);
    this.#cancelTimer = this.#clock.after(Math.max(0, wait), () => {
      this.#cancelTimer = null;
      this.#firstChangeMs = null;
      void this.#scan();
    });
  }

  /** One scan at a time; a change meanwhile gives one more. Never rejects. */
  #scan(): Promise<void> {
    if (this.#scanning !== null) {
      this.#again = true;
      return this.#scanning;
    }
    const run = async () => {
      do {
        this.#again = false;
        if (this.#closed) return;
        try {
          await this.#take(await this.#files.tree(this.#folder));
        } catch (e) {
          this.#problems.replace([{ source: this.#folder, message: errorText(e) }]);
        }
      } while (this.#again);
    };
    this.#scanning = run().finally(() => this.#scanning = null);
    return this.#scanning;
  }

  async #take(tree: Tree): Promise<void> {
    this.#watch(tree.folders);
    const yaml = tree.files.filter(({ path }) => /\.ya?ml$/.test(path));
    const read = new Map<string, ReadFile>();
    for (const entry of yaml) read.set(entry.path, await this.#readFile(entry));
    if (this.#closed) return;
    this.#read = read;
    this.#cluster.batch(() => this.#apply());
  }

  async #readFile(entry: FileEntry): Promise<ReadFile> {
    const { path, stamp, bytes } = entry;
    const before = this.#read.get(path);
    if (before?.stamp === stamp) return before;
    if (bytes === 0 && before !== undefined) {
      const now = this.#clock.now();
      const { emptyMs = now } = before;
      // Believed at the first look after that time.
      if (now - emptyMs < EMPTY_MS) return { ...before, stamp: "empty", emptyMs };
    }
    try {
      const raw = await this.#files.read(this.#files.resolve(this.#folder, path), MAX_FILE_BYTES);
      return this.#parse(
        path,
        stamp,
        new TextDecoder("utf-8", { fatal: true }).decode(raw),
        before,
      );
    } catch (e) {
      const message = e instanceof TypeError ? "is not UTF-8" : errorText(e);
      return { stamp, objects: before?.objects ?? [], problems: [{ source: path, message }] };
    }
  }

  #parse(path: string, stamp: string, text: string, before: ReadFile | undefined): ReadFile {
    const objects: ReadObject[] = [];
    const problems: Problem[] = [];
    const folder = this.#files.folderOf(this.#files.resolve(this.#folder, path));
    for (const yaml of parseYaml(text)) {
      try {
        const object = readObject(yaml, path, folder);
        if (object !== null) objects.push(object);
      } catch (e) {
        if (!(e instanceof DocumentError)) throw e;
        problems.push(e.problem);
      }
    }
    if (problems.length > 0) {
      // A document that cannot be read may be one that was there before: nothing is taken away.
      const found = new Set(objects.map((o) => o.id));
      objects.push(...(before?.objects ?? []).filter((o) => !found.has(o.id)));
    }
    return { stamp, objects, problems };
  }

  #apply(): void {
    const problems = [...this.#read.values()].flatMap((f) => f.problems);
    const wanted = new Map<string, ReadObject>();
    for (const object of [...this.#read.values()].flatMap((f) => f.objects)) {
      const first = wanted.get(object.id);
      if (first === undefined) wanted.set(object.id, object);
      else {
        problems.push({
          source: object.at([]),
          message: `${resourceTitle(object.resource)} is already in ${first.at([])}, which counts`,
        });
      }
    }
    for (const [id, object] of this.#applied) {
      if (wanted.has(id)) continue;
      this.#applied.delete(id);
      this.#cluster.remove(object.resource);
    }
    for (const id of [...this.#refused.keys()]) {
      if (!wanted.has(id)) this.#refused.delete(id);
    }
    for (const [id, object] of wanted) this.#applyOne(id, object);
    problems.push(...[...this.#refused.values()].map((r) => r.problem));
    this.#problems.replace(problems);
  }

  #applyOne(id: string, object: ReadObject): void {
    if (this.#applied.get(id) === object || this.#refused.get(id)?.object === object) return;
    const { resource } = object;
    try {
      if (this.#cluster.apply(resource)) {
        this.#applied.set(id, object);
        this.#refused.delete(id);
      } else this.#unknown(resource, object);
    } catch (e) {
      if (!(e instanceof FieldError)) throw e;
      const kept = this.#applied.has(id) ? "; the version before it stays in force" : "";
      const message = `${resourceTitle(resource)}: ${e.message}${kept}`;
      this.#refused.set(id, { object, problem: { source: object.at(e.path), message } });
    }
  }

  #unknown({ group, kind }: Resource, object: ReadObject): void {
    const name = `${kind}${group === "" ? "" : `.${group}`}`;
    if (this.#unknownKinds.has(name) || this.#unknownKinds.size >= 1000) return;
    this.#unknownKinds.add(name);
    this.#log.warn("objects of this kind are ignored", { kind: name, first: object.at([]) });
  }

  #watch(folders: readonly string[]): void {
    for (const [folder, end] of this.#watches) {
      if (folders.includes(folder)) continue;
      end();
      this.#watches.delete(folder);
    }
    for (const folder of folders) {
      if (this.#watches.has(folder) || this.#closed) continue;
      this.#watches.set(folder, this.#files.watch(folder, () => this.#changed()));
    }
  }
}

/** A document that is no object. */
class DocumentError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

function readObject(yaml: YamlObject, file: string, folder: string): ReadObject | null {
  if ("error" in yaml) {
    throw new DocumentError({ source: `${file}:${yaml.line}`, message: yaml.error });
  }
  const at = (path: FieldError["path"]) => `${file}:${yaml.lineOf(path)}`;
  try {
    const resource = readResource(yaml.value, folder);
    const { group, kind, namespace, name } = resource;
    return { id: `${group}/${kind}/${namespace}/${name}`, resource, at };
  } catch (e) {
    if (!(e instanceof FieldError)) throw e;
    throw new DocumentError({ source: at(e.path), message: e.message });
  }
}
