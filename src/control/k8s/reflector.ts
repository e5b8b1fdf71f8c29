// Keeps up with one kind at the API server: lists it in chunks, then watches from where the list ended,
// and lists again only when it must. Hands on what it is told; keeps no object. Never gives up.

import { Backoff, type Clock, delay } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import { type KubeApi, KubeError, WatchCut } from "./api.ts";
import { type ApiKind, kindPath } from "./kinds.ts";

/** One change. The object is as the API server wrote it, not yet read. */
export interface WatchChange {
  readonly type: "set" | "gone";
  readonly object: unknown;
}

/** Who is told. Calls come in order; none comes after `close`. */
export interface ReflectorEvents {
  /** Everything that there is. What was there before and is not in it is gone. */
  listed(objects: readonly unknown[]): void;
  /** What changed since, those that arrived together as one. */
  changed(changes: readonly WatchChange[]): void;
  /** Why the API server cannot be followed now; null: it can. What was known stays. */
  trouble(why: string | null): void;
  /** The API server does not have this kind. It is asked again later. */
  missing(): void;
}

const PAGE = 500;
/** Of one watch, at the API server: between these, so that not all end at once. */
const WATCH_MIN_S = 240;
const WATCH_MAX_S = 360;
/** The API server sends a bookmark every minute: nothing for longer, and nobody is there. */
const IDLE_MS = 150_000;
/** Between two looks for a kind that is not there. */
const MISSING_MS = 30_000;
/** A watch that ends sooner than this without a word counts as a failure. */
const SHORT_MS = 1_000;
const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 30_000;

export class Reflector {
  readonly #api: KubeApi;
  readonly #kind: ApiKind;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #events: ReflectorEvents;
  readonly #select: Readonly<Record<string, string>>;
  readonly #end = new AbortController();
  readonly #backoff: Backoff;
  /** Where to watch from; null: list first. */
  #version: string | null = null;
  #missing = 0;

  constructor(options: {
    readonly api: KubeApi;
    readonly kind: ApiKind;
    readonly clock: Clock;
    /** In [0, 1). */
    readonly random: () => number;
    readonly events: ReflectorEvents;
    /** Which objects: `fieldSelector`, `labelSelector`; missing: all. */
    readonly select?: Readonly<Record<string, string>>;
  }) {
    this.#api = options.api;
    this.#kind = options.kind;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#events = options.events;
    this.#select = options.select ?? {};
    this.#backoff = new Backoff(BACKOFF_MIN_MS, BACKOFF_MAX_MS, 0.3, options.random);
  }

  /** Runs until it is closed. Never rejects. */
  async run(): Promise<void> {
    while (!this.#closed) {
      let waitMs = 0;
      try {
        if (this.#version === null) await this.#list();
        const from = this.#clock.now();
        if (!await this.#watch() && this.#clock.now() - from < SHORT_MS) {
          waitMs = this.#backoff.next();
        } else this.#backoff.reset();
      } catch (e) {
        if (this.#closed) return;
        waitMs = this.#failed(e);
      }
      if (waitMs > 0 && !this.#closed) {
        await delay(this.#clock, waitMs, this.#end.signal).catch(() => {});
      }
    }
  }

  close(): void {
    this.#end.abort(new Error("the reflector is closed"));
  }

  get #closed(): boolean {
    return this.#end.signal.aborted;
  }

  /** What an error means, and how long to wait. */
  #failed(e: unknown): number {
    const status = e instanceof KubeError ? e.status : 0;
    if (status === 410) {
      // What we know of is too old to go on from: list at once, unless that is what keeps failing.
      const again = this.#version !== null;
      this.#version = null;
      return again ? 0 : this.#backoff.next();
    }
    if (status === 404) {
      // Once may be an API server that starts, or a proxy before it; what we have stays till the second.
      this.#version = null;
      this.#missing++;
      if (this.#missing < 2) return BACKOFF_MIN_MS;
      this.#events.missing();
      this.#events.trouble(null);
      return MISSING_MS * (1 + 0.2 * this.#random());
    }
    // Connections break, as when an API server is replaced. That is trouble when the next fails too.
    if (!(e instanceof WatchCut)) this.#events.trouble(errorText(e));
    return this.#backoff.next();
  }

  /** All pages of one state. A page that expired is a 410 as any other. */
  async #list(): Promise<void> {
    const objects: unknown[] = [];
    let next = "";
    let version = "";
    do {
      const query = new URLSearchParams({ ...this.#select, limit: String(PAGE) });
      if (next !== "") query.set("continue", next);
      const path = `${kindPath(this.#kind)}?${query}`;
      const page = record(await this.#api.request({ path, signal: this.#end.signal }));
      const metadata = record(page["metadata"]);
      if (!Array.isArray(page["items"]) || typeof metadata["resourceVersion"] !== "string") {
        throw new Error(`GET ${kindPath(this.#kind)}: the API server's answer is not a list`);
      }
      objects.push(...page["items"]);
      version = metadata["resourceVersion"];
      next = typeof metadata["continue"] === "string" ? metadata["continue"] : "";
    } while (next !== "");
    if (this.#closed) return;
    this.#version = version;
    this.#missing = 0;
    this.#events.listed(objects);
    this.#events.trouble(null);
  }

  /** True when the watch told anything before it ended in order. */
  async #watch(): Promise<boolean> {
    const seconds = WATCH_MIN_S + Math.floor(this.#random() * (WATCH_MAX_S - WATCH_MIN_S));
    const query = new URLSearchParams({
      ...this.#select,
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: this.#version ?? "",
      timeoutSeconds: String(seconds),
    });
    const path = `${kindPath(this.#kind)}?${query}`;
    let told = false;
    for await (const events of this.#api.watch(path, IDLE_MS, this.#end.signal)) {
      if (this.#closed) return true;
      const changes: WatchChange[] = [];
      try {
        for (const event of events) this.#read(event, changes);
      } finally {
        // What came before an error counts.
        if (changes.length > 0) this.#events.changed(changes);
      }
      this.#events.trouble(null);
      if (events.length === 0) continue;
      told = true;
      this.#backoff.reset();
    }
    return told;
  }

  #read(event: unknown, changes: WatchChange[]): void {
    const { type, object } = record(event);
    if (type === "ERROR") {
      const { code, message, reason } = record(object);
      const expired = code === 410 || reason === "Expired" || reason === "Gone";
      throw new KubeError(
        expired ? 410 : typeof code === "number" ? code : 500,
        `The watch of ${kindPath(this.#kind)} ended: ${String(message ?? "no reason is given")}`,
      );
    }
    if (type === "ADDED" || type === "MODIFIED") changes.push({ type: "set", object });
    else if (type === "DELETED") changes.push({ type: "gone", object });
    else if (type !== "BOOKMARK") return;
    const version = record(record(object)["metadata"])["resourceVersion"];
    if (typeof version === "string" && version !== "") this.#version = version;
  }
}

/** The members of an object; none when it is none. */
function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}
