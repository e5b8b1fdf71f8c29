// The API server as a source of objects: a reflector for each kind that has a table, feeding the
// cluster. An object that cannot be read is said, and leaves its last good version in force; when the
// API server is away, everything stays as it was.

import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import type { Problem } from "../admin/state.ts";
import type { Cluster } from "../cluster.ts";
import type { Counters } from "../counters.ts";
import { type Feed, ProblemList, resourceTitle } from "../feed.ts";
import { FieldError } from "../field.ts";
import { readResource } from "../resource.ts";
import type { KubeApi } from "./api.ts";
import { type ApiKind, apiKind, apiVersion } from "./kinds.ts";
import { Reflector, type WatchChange } from "./reflector.ts";

/** How long `start` waits for the first lists. */
const SYNC_MS = 60_000;

export class KubernetesSource implements Feed {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #problems: ProblemList;
  readonly #kinds: readonly KindFeed[];
  readonly #reflectors: readonly Reflector[];
  #waiting: (() => void) | null = null;
  #closed = false;

  constructor(options: {
    readonly api: KubeApi;
    readonly cluster: Cluster;
    readonly clock: Clock;
    readonly random: () => number;
    readonly counters: Counters;
    readonly log: Logger;
    /** Called when the list of problems changed. */
    readonly onProblems: () => void;
  }) {
    const { api, cluster, clock, random, counters, log, onProblems } = options;
    this.#clock = clock;
    this.#log = log;
    this.#problems = new ProblemList(counters, log, onProblems);
    const changed = () => this.#changed();
    this.#kinds = cluster.kinds.map((name) => new KindFeed(apiKind(name), cluster, log, changed));
    this.#reflectors = this.#kinds.map((events) =>
      new Reflector({ api, kind: events.kind, clock, random, events })
    );
  }

  get problems(): readonly Problem[] {
    return this.#problems.now;
  }

  /** Resolves when each kind was listed once; rejects when that takes over a minute, with the reason. */
  async start(): Promise<void> {
    for (const reflector of this.#reflectors) void reflector.run();
    await new Promise<void>((resolve, reject) => {
      const cancel = this.#clock.after(SYNC_MS, () => {
        this.#waiting = null;
        const [why] = this.#kinds.flatMap((k) => k.problems());
        const said = why === undefined ? "it did not answer" : `${why.source}: ${why.message}`;
        reject(new Error(`The API server cannot be read: ${said}`));
      });
      this.#waiting = () => {
        if (!this.#closed && !this.#kinds.every((k) => k.synced)) return;
        this.#waiting = null;
        cancel();
        resolve();
      };
      this.#waiting();
    });
    const known = this.#kinds.reduce((sum, k) => sum + k.size, 0);
    if (!this.#closed) this.#log.info("the API server was read", { objects: known });
  }

  close(): void {
    this.#closed = true;
    for (const reflector of this.#reflectors) reflector.close();
    this.#waiting?.();
  }

  #changed(): void {
    if (this.#closed) return;
    this.#problems.replace(this.#kinds.flatMap((k) => k.problems()));
    this.#waiting?.();
  }
}

/** One kind: what the cluster was given of it, and what it refused. */
class KindFeed {
  readonly kind: ApiKind;
  readonly #cluster: Cluster;
  readonly #log: Logger;
  readonly #onChange: () => void;
  /** Names of objects that are there, `namespace/name`, whether they could be read or not. */
  readonly #known = new Set<string>();
  /** Of those, which have a row. */
  readonly #applied = new Set<string>();
  readonly #refused = new Map<string, Problem>();
  #trouble: string | null = null;
  #saidMissing = false;
  synced = false;

  constructor(kind: ApiKind, cluster: Cluster, log: Logger, onChange: () => void) {
    this.kind = kind;
    this.#cluster = cluster;
    this.#log = log;
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#known.size;
  }

  problems(): readonly Problem[] {
    const own = this.#trouble === null
      ? []
      : [{ source: `Kubernetes ${this.kind.plural}`, message: this.#trouble }];
    return [...own, ...this.#refused.values()];
  }

  listed(objects: readonly unknown[]): void {
    this.#saidMissing = false;
    this.#cluster.batch(() => {
      const gone = new Set(this.#known);
      for (const object of objects) {
        gone.delete(nameOf(object));
        this.#set(object);
      }
      for (const name of gone) this.#remove(name);
    });
    this.synced = true;
    this.#onChange();
  }

  changed(changes: readonly WatchChange[]): void {
    const before = this.#refused.size;
    this.#cluster.batch(() => {
      for (const { type, object } of changes) {
        if (type === "set") this.#set(object);
        else this.#remove(nameOf(object));
      }
    });
    // Most changes are of objects that are in order: nothing is compared for those.
    if (before > 0 || this.#refused.size > 0) this.#onChange();
  }

  trouble(why: string | null): void {
    if (this.#trouble === why) return;
    this.#trouble = why;
    this.#onChange();
  }

  missing(): void {
    if (!this.#saidMissing) {
      const { kind, group } = this.kind;
      this.#log.info("the API server does not have this kind, it is asked again", { kind, group });
      this.#saidMissing = true;
    }
    this.#cluster.batch(() => {
      for (const name of [...this.#known]) this.#remove(name);
    });
    this.synced = true;
    this.#onChange();
  }

  #set(object: unknown): void {
    const name = nameOf(object);
    const { kind } = this.kind;
    this.#known.add(name);
    try {
      // Lists leave out what each of their items is.
      const value = typeof object === "object" && object !== null
        ? { ...object, apiVersion: apiVersion(this.kind), kind }
        : object;
      this.#cluster.apply(readResource(value, ""));
      this.#applied.add(name);
      this.#refused.delete(name);
    } catch (e) {
      if (!(e instanceof FieldError)) throw e;
      const kept = this.#applied.has(name) ? "; the version before it stays in force" : "";
      this.#refused.set(name, {
        source: resourceTitle({ kind, ...split(name) }),
        message: `${e.message}${kept}`,
      });
    }
  }

  #remove(name: string): void {
    this.#known.delete(name);
    this.#applied.delete(name);
    this.#refused.delete(name);
    this.#cluster.remove({ group: this.kind.group, kind: this.kind.kind, ...split(name) });
  }
}

/** `namespace/name`; the namespace is empty for kinds that have none. */
function nameOf(object: unknown): string {
  const metadata = (object as { metadata?: { namespace?: unknown; name?: unknown } } | null)
    ?.metadata;
  const text = (value: unknown) => typeof value === "string" ? value : "";
  return `${text(metadata?.namespace)}/${text(metadata?.name)}`;
}

function split(name: string): { namespace: string; name: string } {
  const cut = name.indexOf("/");
  return { namespace: name.slice(0, cut), name: name.slice(cut + 1) };
}
