// Writes into the status of objects what became of them, so that `kubectl describe` says it. Writes
// only while the Lease is ours, and only what differs from what is there; what other controllers wrote
// stays.

import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import {
  type Condition,
  CONTROLLER_NAME,
  type ObjectStatus,
  type StatusEntry,
} from "../status/entry.ts";
import { deepEqual } from "../equal.ts";
import { type KubeApi, KubeError } from "./api.ts";
import { apiKind, objectPath } from "./kinds.ts";

/** Linkerd's: one writer of all status. */
export const STATUS_LEASE = "policy-controller-write";
/** Between a change and its status, so that many changes are one write. */
const QUIET_MS = 500;
/** What could not be written is tried again after this. */
const AGAIN_MS = 10_000;
/** What somebody else wrote over it is set right after this. */
const VERIFY_MS = 300_000;
const FIELD_MANAGER = CONTROLLER_NAME;

export class StatusWriter {
  readonly #api: KubeApi;
  readonly #held: () => boolean;
  readonly #entries: () => readonly StatusEntry[];
  readonly #clock: Clock;
  readonly #log: Logger;
  /** What each object was last seen to say. */
  #written = new Map<string, string>();
  #cancel: () => void = () => {};
  #working = false;
  #said = "";
  #verifiedMs: number;
  #closed = false;

  constructor(options: {
    readonly api: KubeApi;
    /** Whether we are the one writer now. */
    readonly held: () => boolean;
    /** What is to be said now, of all objects. */
    readonly entries: () => readonly StatusEntry[];
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#api = options.api;
    this.#held = options.held;
    this.#entries = options.entries;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#verifiedMs = options.clock.now();
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
    const nowMs = this.#clock.now();
    if (nowMs - this.#verifiedMs >= VERIFY_MS) {
      this.#written.clear();
      this.#verifiedMs = nowMs;
    }
    let failed = "";
    for (const entry of this.#entries()) {
      const key = `${entry.kind} ${entry.namespace}/${entry.name}`;
      present.add(key);
      const text = JSON.stringify(entry.status);
      if (this.#closed || !this.#held() || this.#written.get(key) === text) continue;
      try {
        await this.#set(entry);
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

  async #set({ kind: kindName, namespace, name, status }: StatusEntry): Promise<void> {
    const path = objectPath(apiKind(kindName), namespace, name);
    try {
      const object = await this.#api.request({ path }) as StoredObject | null;
      const before = object?.status ?? {};
      const after = this.#merged(before, status);
      if (after === null) return;
      await this.#api.request({
        method: "PATCH",
        path: `${path}/status?fieldManager=${encodeURIComponent(FIELD_MANAGER)}`,
        contentType: "application/merge-patch+json",
        // With the version that was read: what somebody wrote meanwhile is not lost, we try again.
        body: {
          metadata: { resourceVersion: object?.metadata?.resourceVersion },
          status: after,
        },
      });
    } catch (e) {
      // Deleted meanwhile.
      if (!(e instanceof KubeError && e.status === 404)) throw e;
    }
  }

  /** The part of a status that is ours to write, with what others wrote; null: it is there. */
  #merged(before: StoredStatus, wanted: ObjectStatus): StoredStatus | null {
    if ("conditions" in wanted) {
      const stored = listOf(before.conditions);
      const conditions = this.#conditions(stored, wanted.conditions);
      const target = wanted.targetRef === undefined ? {} : { targetRef: wanted.targetRef };
      const same = deepEqual(stored, conditions) &&
        (wanted.targetRef === undefined || deepEqual(before.targetRef, wanted.targetRef));
      return same ? null : { conditions, ...target };
    }
    const stored = listOf(before.parents);
    const own = stored.filter((p) => p["controllerName"] === CONTROLLER_NAME);
    const parents = [
      ...stored.filter((p) => p["controllerName"] !== CONTROLLER_NAME),
      ...wanted.parents.map(({ parentRef, conditions }) => {
        const known = own.find((p) => deepEqual(p["parentRef"], parentRef));
        return {
          parentRef,
          controllerName: CONTROLLER_NAME,
          conditions: this.#conditions([], conditions, listOf(known?.["conditions"])),
        };
      }),
    ];
    return deepEqual(stored, parents) ? null : { parents };
  }

  /** `wanted` in the place of those of its types among `stored`; the time is of the last turn. */
  #conditions(stored: Stored[], wanted: readonly Condition[], known: Stored[] = stored): Stored[] {
    const times = wanted.map((condition): Stored => {
      const now = known.find((c) => c["type"] === condition.type);
      const since = now?.["status"] === condition.status ? now["lastTransitionTime"] : undefined;
      const same = now?.["reason"] === condition.reason && now["message"] === condition.message;
      if (now !== undefined && typeof since === "string" && same) return now;
      const time = new Date(this.#clock.wall()).toISOString().replace(/\.\d+/, "");
      return { ...condition, lastTransitionTime: typeof since === "string" ? since : time };
    });
    const place = (c: Stored) => times.find((t) => t["type"] === c["type"]);
    return [
      ...stored.map((c) => place(c) ?? c),
      ...times.filter((t) => !stored.some((c) => c["type"] === t["type"])),
    ];
  }
}

/** An object of a status as it is stored. */
type Stored = Readonly<Record<string, unknown>>;

interface StoredStatus {
  readonly conditions?: unknown;
  readonly parents?: unknown;
  readonly targetRef?: unknown;
}

interface StoredObject {
  readonly metadata?: { readonly resourceVersion?: string };
  readonly status?: StoredStatus;
}

function listOf(value: unknown): Stored[] {
  return Array.isArray(value)
    ? value.filter((v): v is Stored => typeof v === "object" && v !== null)
    : [];
}
