// One writer among several control planes: a Lease (coordination.k8s.io/v1) that is renewed while it is
// held, and taken over when its holder stopped renewing it. Clocks of different machines are never
// compared: a holder is gone when its Lease did not change for as long as we watched.

import { Backoff, type Clock, delay } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { type KubeApi, KubeError } from "./api.ts";

/** How long a Lease counts after it was renewed. */
const DURATION_S = 30;
/** Between two renewals, or two looks at another's. */
const RENEW_MS = 10_000;
/** A holder that could not renew for this long writes no more, well before another may. */
const GIVE_UP_MS = 20_000;
/** Ending waits no longer than this for giving it up. */
const RELEASE_MS = 300;

interface LeaseObject {
  readonly metadata?: { readonly resourceVersion?: string };
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export class Lease {
  readonly #api: KubeApi;
  readonly #namespace: string;
  readonly #name: string;
  readonly #holder: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onHeld: () => void;
  readonly #end = new AbortController();
  /** Of the requests that run; another one when we give up. */
  #signal: AbortSignal = this.#end.signal;
  readonly #backoff: Backoff;
  /** When we last renewed it; null: it is not ours. */
  #renewedMs: number | null = null;
  /** Another's version, and since when it is that. */
  #seen = { version: "", sinceMs: 0 };
  #running: Promise<void> | null = null;

  constructor(options: {
    readonly api: KubeApi;
    readonly namespace: string;
    readonly name: string;
    /** Unique among all who want it. */
    readonly holder: string;
    readonly clock: Clock;
    readonly random: () => number;
    readonly log: Logger;
    /** Called each time it becomes ours. */
    readonly onHeld: () => void;
  }) {
    this.#api = options.api;
    this.#namespace = options.namespace;
    this.#name = options.name;
    this.#holder = options.holder;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onHeld = options.onHeld;
    this.#backoff = new Backoff(1_000, RENEW_MS, 0.3, options.random);
  }

  /** Whether we may write now. */
  get held(): boolean {
    return this.#renewedMs !== null && this.#clock.now() - this.#renewedMs < GIVE_UP_MS;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Gives it up, so that another need not wait, unless that takes long. */
  async close(): Promise<void> {
    this.#end.abort(new Error("the lease is closed"));
    await this.#running;
    if (!this.held) return;
    this.#renewedMs = null;
    const patience = new AbortController();
    const cancel = this.#clock.after(RELEASE_MS, () => patience.abort());
    this.#signal = patience.signal;
    try {
      const lease = await this.#get();
      if (lease?.spec?.holderIdentity !== this.#holder) return;
      await this.#put(lease, { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 });
    } catch (e) {
      this.#log.debug("the lease was not given up", { why: errorText(e) });
    } finally {
      cancel();
    }
  }

  async #run(): Promise<void> {
    while (!this.#end.signal.aborted) {
      let waitMs = RENEW_MS;
      try {
        await this.#step();
        this.#backoff.reset();
      } catch (e) {
        if (this.#end.signal.aborted) return;
        waitMs = this.#backoff.next();
        this.#log.warn("the lease cannot be renewed", { lease: this.#name, why: errorText(e) });
      }
      await delay(this.#clock, waitMs, this.#end.signal).catch(() => {});
    }
  }

  async #step(): Promise<void> {
    const before = this.held;
    const lease = await this.#get();
    const nowMs = this.#clock.now();
    const got = lease === null
      ? await this.#create()
      : this.#mayTake(lease, nowMs) && await this.#take(lease);
    this.#renewedMs = got ? nowMs : null;
    if (got && !before) {
      this.#log.info("this control plane writes status", { lease: this.#name });
      this.#onHeld();
    }
  }

  #mayTake(lease: LeaseObject, nowMs: number): boolean {
    const { holderIdentity = "", leaseDurationSeconds = DURATION_S } = lease.spec ?? {};
    if (holderIdentity === "" || holderIdentity === this.#holder) return true;
    const version = lease.metadata?.resourceVersion ?? "";
    if (version !== this.#seen.version) this.#seen = { version, sinceMs: nowMs };
    return nowMs - this.#seen.sinceMs > leaseDurationSeconds * 1000;
  }

  async #take(lease: LeaseObject): Promise<boolean> {
    const time = this.#time();
    const ours = lease.spec?.holderIdentity === this.#holder;
    return await this.#put(lease, {
      ...lease.spec,
      holderIdentity: this.#holder,
      leaseDurationSeconds: DURATION_S,
      renewTime: time,
      ...(ours
        ? {}
        : { acquireTime: time, leaseTransitions: (lease.spec?.leaseTransitions ?? 0) + 1 }),
    });
  }

  async #get(): Promise<LeaseObject | null> {
    try {
      const path = this.#path(this.#name);
      return await this.#api.request({ path, signal: this.#signal }) as LeaseObject;
    } catch (e) {
      if (e instanceof KubeError && e.status === 404) return null;
      throw e;
    }
  }

  async #create(): Promise<boolean> {
    const time = this.#time();
    return await this.#write("POST", this.#path(""), {
      metadata: { name: this.#name, namespace: this.#namespace },
      spec: {
        holderIdentity: this.#holder,
        leaseDurationSeconds: DURATION_S,
        acquireTime: time,
        renewTime: time,
        leaseTransitions: 0,
      },
    });
  }

  /** With the version that was read: of two who write at once, one is refused. */
  #put(lease: LeaseObject, spec: LeaseObject["spec"]): Promise<boolean> {
    return this.#write("PUT", this.#path(this.#name), { metadata: lease.metadata, spec });
  }

  async #write(method: "POST" | "PUT", path: string, lease: object): Promise<boolean> {
    try {
      const body = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", ...lease };
      await this.#api.request({ method, path, body, signal: this.#signal });
      return true;
    } catch (e) {
      // Another was faster.
      if (e instanceof KubeError && e.status === 409) return false;
      throw e;
    }
  }

  #path(name: string): string {
    const all = `/apis/coordination.k8s.io/v1/namespaces/${this.#namespace}/leases`;
    return name === "" ? all : `${all}/${name}`;
  }

  /** Microseconds, as a Lease has them. */
  #time(): string {
    return new Date(this.#clock.wall()).toISOString().replace("Z", "000Z");
  }
}
