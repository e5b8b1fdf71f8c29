// Writes into the status of WasmFilters what became of them, so that `kubectl describe` says it. Writes
// only while the Lease is ours, and only what differs from what is there.

import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { FilterState } from "../admin/state.ts";
import { type KubeApi, KubeError } from "./api.ts";
import { apiKind, apiVersion, objectPath } from "./kinds.ts";

/** Linkerd's: one writer of all status. */
export const STATUS_LEASE = "policy-controller-write";
/** Between a change and its status, so that many changes are one write. */
const QUIET_MS = 500;
/** What could not be written, and what somebody else wrote, is set right after this. */
const AGAIN_MS = 10_000;
const FIELD_MANAGER = "linkerd.io/policy-controller";
const MAX_MESSAGE = 1024;

interface Condition {
  readonly type: "Accepted";
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

export class StatusWriter {
  readonly #api: KubeApi;
  readonly #held: () => boolean;
  readonly #states: () => readonly FilterState[];
  readonly #clock: Clock;
  readonly #log: Logger;
  /** What each object was last seen to say. */
  #written = new Map<string, string>();
  #cancel: () => void = () => {};
  #working = false;
  #said = "";
  #closed = false;

  constructor(options: {
    readonly api: KubeApi;
    /** Whether we are the one writer now. */
    readonly held: () => boolean;
    readonly states: () => readonly FilterState[];
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#api = options.api;
    this.#held = options.held;
    this.#states = options.states;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Something changed. */
  readonly changed = (): void => this.#soon(QUIET_MS);

  /** We became the writer: nothing is known of what is there. */
  readonly begin = (): void => {
    this.#written.clear();
    this.#soon(0);
  };

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #soon(ms: number): void {
    if (this.#closed || this.#working) return;
    this.#cancel();
    this.#cancel = this.#clock.after(ms, () => void this.#write());
  }

  /** Never rejects. */
  async #write(): Promise<void> {
    this.#working = true;
    const present = new Set<string>();
    let failed = "";
    for (const state of this.#states()) {
      const key = `${state.namespace}/${state.name}`;
      present.add(key);
      const wanted = conditionOf(state);
      const text = JSON.stringify(wanted);
      if (this.#closed || !this.#held() || this.#written.get(key) === text) continue;
      try {
        await this.#set(state, wanted);
        this.#written.set(key, text);
      } catch (e) {
        failed = errorText(e);
      }
    }
    for (const key of [...this.#written.keys()]) if (!present.has(key)) this.#written.delete(key);
    if (failed !== "" && failed !== this.#said) {
      this.#log.warn("a status cannot be written", { why: failed });
    }
    this.#said = failed;
    this.#working = false;
    this.#soon(AGAIN_MS);
  }

  async #set({ namespace, name }: FilterState, wanted: Condition): Promise<void> {
    const kind = apiKind("tulle.dev/WasmFilter");
    const path = objectPath(kind, namespace, name);
    try {
      const now = conditionsOf(await this.#api.request({ path }))
        .find((c) => c["type"] === wanted.type);
      const same = now?.["status"] === wanted.status;
      if (same && now["reason"] === wanted.reason && now["message"] === wanted.message) return;
      const since = same ? now["lastTransitionTime"] : undefined;
      const time = typeof since === "string"
        ? since
        : new Date(this.#clock.wall()).toISOString().replace(/\.\d+/, "");
      await this.#api.request({
        method: "PATCH",
        path: `${path}/status?fieldManager=${encodeURIComponent(FIELD_MANAGER)}&force=true`,
        contentType: "application/apply-patch+yaml",
        body: {
          apiVersion: apiVersion(kind),
          kind: kind.kind,
          metadata: { namespace, name },
          status: { conditions: [{ ...wanted, lastTransitionTime: time }] },
        },
      });
    } catch (e) {
      // Deleted meanwhile.
      if (!(e instanceof KubeError && e.status === 404)) throw e;
    }
  }
}

function conditionOf({ state, reason, served }: FilterState): Condition {
  const message = reason.slice(0, MAX_MESSAGE);
  switch (state) {
    case "serving":
      return {
        type: "Accepted",
        status: "True",
        reason: "Accepted",
        message: message === "" ? `proxies run ${served?.sha256 ?? "it"}` : message,
      };
    case "pending":
      return { type: "Accepted", status: "Unknown", reason: "Pending", message };
    case "refused":
      return { type: "Accepted", status: "False", reason: "Refused", message };
  }
}

function conditionsOf(object: unknown): readonly Readonly<Record<string, unknown>>[] {
  const conditions = (object as { status?: { conditions?: unknown } } | null)?.status?.conditions;
  return Array.isArray(conditions) ? conditions as Record<string, unknown>[] : [];
}
