// What a source of Kubernetes objects is to the control plane, whether a folder or an API server, and
// how it says what is wrong: once when it begins, once when it is over.

import type { Logger } from "../core/log.ts";
import type { Problem } from "./admin/state.ts";
import type { Counters } from "./counters.ts";
import type { Resource } from "./resource.ts";

/** Feeds a cluster, object by object, until it is closed. */
export interface Feed {
  /** What is wrong now. */
  readonly problems: readonly Problem[];
  /** Resolves when everything that is there was read once. Rejects when there is nothing to read. */
  start(): Promise<void>;
  close(): void;
}

/** The list of problems: logs and counts what is new, and tells when the list changed. */
export class ProblemList {
  readonly #counters: Counters;
  readonly #log: Logger;
  readonly #onChange: () => void;
  #now: readonly Problem[] = [];

  constructor(counters: Counters, log: Logger, onChange: () => void) {
    this.#counters = counters;
    this.#log = log;
    this.#onChange = onChange;
  }

  get now(): readonly Problem[] {
    return this.#now;
  }

  replace(problems: readonly Problem[]): void {
    const text = (p: Problem) => `${p.source}: ${p.message}`;
    const before = new Set(this.#now.map(text));
    const now = new Set(problems.map(text));
    for (const line of now) {
      if (before.has(line)) continue;
      this.#counters.refused("resource");
      this.#log.warn(line);
    }
    for (const line of before) {
      if (!now.has(line)) this.#log.info(`no longer: ${line}`);
    }
    this.#now = problems;
    if (before.size !== now.size || [...now].some((line) => !before.has(line))) this.#onChange();
  }
}

/** `Service shop/web`, for messages. */
export function resourceTitle(of: Pick<Resource, "kind" | "namespace" | "name">): string {
  return of.namespace === "" ? `${of.kind} ${of.name}` : `${of.kind} ${of.namespace}/${of.name}`;
}
