// Asks each meshed pod's proxy for its figures, once a second, and keeps the last ten seconds of them.
// A proxy that is away, slow, or says nonsense is shown as such, and never holds up the others.

import type { ProxyStats } from "../../api/admin.ts";
import { proxyStats, readJson } from "../../api/admin.ts";
import { formatSocketAddr } from "../../core/addr.ts";
import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { MeshedPod } from "./state.ts";
import { ProxyWindow } from "./window.ts";

/** What a scrape needs of an HTTP client; rejects with one line when there is no answer. */
export interface HttpGet {
  request(what: {
    readonly url: string;
    readonly timeoutMs: number;
    readonly maxBytes: number;
  }): Promise<{ readonly status: number; readonly body: Uint8Array }>;
}

export interface ScrapeLimits {
  readonly timeoutMs: number;
  readonly maxMetricsBytes: number;
  readonly maxStatsBytes: number;
  /** Proxies that are asked at the same time. */
  readonly parallel: number;
}

const DEFAULT_LIMITS: ScrapeLimits = {
  timeoutMs: 500,
  maxMetricsBytes: 4 * 1024 * 1024,
  maxStatsBytes: 1024 * 1024,
  parallel: 16,
};

/** One proxy as it was seen last. */
export interface ScrapedProxy {
  readonly pod: MeshedPod;
  readonly window: ProxyWindow;
  /** `starting`: never seen. `away`: seen, and the newest scrape failed. */
  readonly state: "starting" | "up" | "away";
  /** Why the newest scrape failed, in one line, or empty. */
  readonly why: string;
  /** The clock's `now` when it last answered. */
  readonly seenMs: number | null;
  readonly stats: ProxyStats | null;
}

/** The key of a pod: `namespace/name`. */
export function podKey(pod: { readonly namespace: string; readonly name: string }): string {
  return `${pod.namespace}/${pod.name}`;
}

/** Keeps what proxies said. */
export class Scraper {
  readonly #http: HttpGet;
  readonly #clock: Clock;
  readonly #limits: ScrapeLimits;
  readonly #proxies = new Map<string, ScrapedProxy>();
  #running = false;
  #succeeded = 0;
  #failed = 0;

  constructor(http: HttpGet, clock: Clock, limits: Partial<ScrapeLimits> = {}) {
    this.#http = http;
    this.#clock = clock;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
  }

  /** By `podKey`. Pods that are gone are forgotten at the next round. */
  get proxies(): ReadonlyMap<string, ScrapedProxy> {
    return this.#proxies;
  }

  /** Scrapes since start, by how they ended. */
  get counts(): { readonly succeeded: number; readonly failed: number } {
    return { succeeded: this.#succeeded, failed: this.#failed };
  }

  /** Asks all of `pods` once. While a round is under way another one does nothing. Never rejects. */
  async round(pods: readonly MeshedPod[]): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      this.#forget(pods);
      const waiting = [...pods];
      const worker = async () => {
        for (let pod = waiting.pop(); pod !== undefined; pod = waiting.pop()) await this.#ask(pod);
      };
      await Promise.all(Array.from({ length: this.#limits.parallel }, worker));
    } finally {
      this.#running = false;
    }
  }

  #forget(pods: readonly MeshedPod[]): void {
    const keys = new Set(pods.map(podKey));
    for (const key of this.#proxies.keys()) if (!keys.has(key)) this.#proxies.delete(key);
  }

  async #ask(pod: MeshedPod): Promise<void> {
    const key = podKey(pod);
    const before = this.#proxies.get(key);
    const window = before?.window ?? new ProxyWindow();
    try {
      const [metrics, stats] = await Promise.all([
        this.#get(pod, "/metrics", this.#limits.maxMetricsBytes),
        this.#get(pod, "/tulle/stats.json", this.#limits.maxStatsBytes),
      ]);
      const seenMs = this.#clock.now();
      const read = readJson(proxyStats, stats);
      if ("error" in read) throw new Error(`stats.json: ${read.error}`);
      try {
        window.scraped(metrics, seenMs);
      } catch (e) {
        throw new Error(`metrics: ${errorText(e)}`, { cause: e });
      }
      this.#succeeded++;
      this.#proxies.set(key, { pod, window, state: "up", why: "", seenMs, stats: read.value });
    } catch (e) {
      this.#failed++;
      window.lost();
      this.#proxies.set(key, {
        pod,
        window,
        state: before?.seenMs === undefined || before.seenMs === null ? "starting" : "away",
        why: errorText(e).slice(0, 300),
        seenMs: before?.seenMs ?? null,
        stats: before?.stats ?? null,
      });
    }
  }

  async #get(pod: MeshedPod, path: string, maxBytes: number): Promise<string> {
    const url = `http://${formatSocketAddr(pod.admin)}${path}`;
    const answer = await this.#http.request({ url, timeoutMs: this.#limits.timeoutMs, maxBytes });
    if (answer.status !== 200) throw new Error(`GET ${url} answered ${answer.status}`);
    return new TextDecoder().decode(answer.body);
  }
}
