// Repairs pods that started before the plugin was on their node: their validator ends with 95, and their
// network namespace never gets its rules. They are deleted, so that whoever controls them makes new
// ones. Knows neither a watch nor HTTP: objects come in, and two calls go out.

import { Field } from "../control/field.ts";
import type { Clock } from "../core/clock.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { EXIT_NOT_REDIRECTED } from "../init/validator.ts";
import type { RepairMetrics } from "./repair-metrics.ts";

/** Who says so in events. */
export const REPORTER = "linkerd-cni-repair-controller";
/** Linkerd's variables of its controller begin with this. */
export const REPAIR_PREFIX = "LINKERD_CNI_REPAIR_CONTROLLER_";
/** By which pods of a mesh are found. */
export const MESHED_LABEL = "linkerd.io/control-plane-ns";

const VALIDATOR = "linkerd-network-validator";
const MIRROR = "kubernetes.io/config.mirror";
/** Pods that wait; more are seen to when they fail again. */
const MAX_QUEUE = 32;
/** Bare pods that were told of. */
const MAX_TOLD = 1024;
const CALL_MS = 5_000;

/** A pod that needs repair. */
export interface BrokenPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Somebody makes a new one when it is gone. */
  readonly controlled: boolean;
}

/** The API server as the repair uses it. Each call rejects with one line. */
export interface RepairApi {
  /** False: it is gone already, or another has its name. */
  deletePod(pod: BrokenPod, signal: AbortSignal): Promise<boolean>;
  publish(pod: BrokenPod, event: object, signal: AbortSignal): Promise<void>;
}

/** The pod, when its validator found no rules and it is not on its way out; else null. */
export function brokenPod(object: unknown): BrokenPod | null {
  const pod = new Field(object, []);
  const metadata = pod.at("metadata");
  if (!metadata.at("deletionTimestamp").isAbsent) return null;
  if ((metadata.at("labels").strings()[MESHED_LABEL] ?? "") === "") return null;
  // Run by the kubelet from a file: what is deleted is only its mirror.
  if (metadata.at("annotations").strings()[MIRROR] !== undefined) return null;
  const failed = pod.at("status").at("initContainerStatuses").list(256).some((status) =>
    status.at("name").stringOr("") === VALIDATOR &&
    ["lastState", "state"].some((state) =>
      status.at(state).at("terminated").at("exitCode").value === EXIT_NOT_REDIRECTED
    )
  );
  if (!failed) return null;
  return {
    namespace: metadata.at("namespace").string(),
    name: metadata.at("name").string(),
    uid: metadata.at("uid").string(),
    controlled: metadata.at("ownerReferences").list(64)
      .some((owner) => owner.at("controller").boolOr(false)),
  };
}

/** Takes pods as a watch tells them, and deletes those that are broken, one at a time. */
export class Repair {
  readonly #api: RepairApi;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: RepairMetrics;
  /** The pod that this runs in, for events. */
  readonly #instance: string;
  readonly #queue = new Map<string, BrokenPod>();
  /** Uids of pods that nobody controls and that were told of. */
  readonly #told = new Set<string>();
  #running = false;

  constructor(options: {
    readonly api: RepairApi;
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: RepairMetrics;
    readonly instance: string;
  }) {
    this.#api = options.api;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#instance = options.instance;
  }

  /** A pod as it is now. Never throws: one that is none is said and left. */
  seen(object: unknown): void {
    let pod: BrokenPod | null;
    try {
      pod = brokenPod(object);
    } catch (e) {
      this.#log.warn("A pod cannot be read", { why: errorText(e) });
      return;
    }
    if (pod === null || this.#queue.has(pod.uid) || this.#told.has(pod.uid)) return;
    if (this.#queue.size >= MAX_QUEUE) {
      this.#metrics.count("queue_overflow_total");
      return;
    }
    this.#queue.set(pod.uid, pod);
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (;;) {
      const [pod] = this.#queue.values();
      if (pod === undefined) break;
      await (pod.controlled ? this.#delete(pod) : this.#tell(pod));
      this.#queue.delete(pod.uid);
    }
    this.#running = false;
  }

  async #delete(pod: BrokenPod): Promise<void> {
    const which = { pod: `${pod.namespace}/${pod.name}` };
    const deleted = await this.#call(
      (signal) => this.#api.deletePod(pod, signal),
      "pods_delete_latency_seconds",
      (e, late) => {
        this.#metrics.count(late ? "pods_delete_timeout_total" : "pods_delete_errors_total");
        this.#log.warn("A pod without rules was not deleted", { ...which, why: errorText(e) });
      },
    );
    if (deleted !== true) return;
    this.#metrics.count("pods_deleted_total");
    this.#log.info("A pod that started before the plugin was deleted", which);
    await this.#publish(
      pod,
      "Deleting",
      "Deleting pod to create a new one with proxy iptables rules",
    );
  }

  /** It would be gone for good. */
  async #tell(pod: BrokenPod): Promise<void> {
    if (this.#told.size >= MAX_TOLD) this.#told.clear();
    this.#told.add(pod.uid);
    this.#metrics.count("pods_left_total");
    this.#log.warn("A pod without rules is left: nothing would make a new one", {
      pod: `${pod.namespace}/${pod.name}`,
    });
    await this.#publish(
      pod,
      "Leaving",
      "The pod started before the CNI plugin and has no controller: delete it and make it again",
    );
  }

  async #publish(pod: BrokenPod, action: string, note: string): Promise<void> {
    const { namespace, name, uid } = pod;
    const event = {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { generateName: `${name.slice(0, 200).replace(/[.-]+$/, "")}-`, namespace },
      eventTime: new Date(this.#clock.wall()).toISOString().replace("Z", "000Z"),
      reportingController: REPORTER,
      reportingInstance: this.#instance,
      action,
      reason: "LinkerdCNINotConfigured",
      regarding: { apiVersion: "v1", kind: "Pod", namespace, name, uid },
      note,
      type: pod.controlled ? "Normal" : "Warning",
    };
    await this.#call(
      (signal) => this.#api.publish(pod, event, signal),
      "events_publish_latency_seconds",
      (e, late) => {
        this.#metrics.count(late ? "events_publish_timeouts_total" : "events_publish_errors_total");
        this.#log.warn("An event was not written", { why: errorText(e) });
      },
    );
  }

  /** What the call gave, or undefined after `failed` was told. */
  async #call<T>(
    call: (signal: AbortSignal) => Promise<T>,
    latency: "pods_delete_latency_seconds" | "events_publish_latency_seconds",
    failed: (e: unknown, late: boolean) => void,
  ): Promise<T | undefined> {
    const late = new AbortController();
    const cancel = this.#clock.after(
      CALL_MS,
      () => late.abort(new Error(`no answer within ${CALL_MS} ms`)),
    );
    const from = this.#clock.now();
    try {
      const given = await call(late.signal);
      this.#metrics.observe(latency, (this.#clock.now() - from) / 1000);
      return given;
    } catch (e) {
      failed(e, late.signal.aborted);
      return undefined;
    } finally {
      cancel();
    }
  }
}
