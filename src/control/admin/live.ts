// The admin plane's heart: scrapes each second, builds the view, and tells what changed. One per
// control plane; `control/main.ts` starts it, `app.ts` reads it.

import type { Snapshot } from "../../api/admin.ts";
import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { changesBetween } from "./changes.ts";
import type { HubLimits } from "./event-hub.ts";
import { EventHub, eventText, HEARTBEAT } from "./event-hub.ts";
import { GoldenHistory } from "./history.ts";
import type { HttpGet, ScrapeLimits } from "./scrape.ts";
import { Scraper } from "./scrape.ts";
import type { AdminState } from "./state.ts";
import { bounded, buildView } from "./view.ts";

/** A scrape and a `snapshot` event this often. */
export const STEP_MS = 1000;

/** Changes of the state that come together are told together. */
const SETTLE_MS = 20;

/** A heartbeat when nothing was sent for this long: a scrape that hangs must not look like a dead server. */
const HEARTBEAT_MS = 15_000;

export interface LiveOptions {
  readonly state: AdminState;
  readonly http: HttpGet;
  readonly clock: Clock;
  readonly log: Logger;
  readonly scrape?: Partial<ScrapeLimits>;
  readonly events?: Partial<HubLimits>;
}

/** The live view of the mesh. */
export class Live {
  readonly #state: AdminState;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #scraper: Scraper;
  readonly #hub: EventHub;
  readonly #history = new GoldenHistory(STEP_MS);
  /** Null: something changed since it was built. */
  #view: Snapshot | null = null;
  #told: Snapshot | null = null;

  constructor({ state, http, clock, log, scrape, events }: LiveOptions) {
    this.#state = state;
    this.#clock = clock;
    this.#log = log;
    this.#scraper = new Scraper(http, clock, scrape);
    this.#hub = new EventHub({ firstId: Math.floor(clock.wall()), ...events });
  }

  /** The mesh now; built at most once per change. */
  view(): Snapshot {
    return this.#view ??= buildView(
      this.#state,
      this.#scraper.proxies,
      this.#clock.now(),
      this.#clock.wall(),
    );
  }

  /** A new event stream, or null when there are too many. */
  events(lastEventId: number): ReadableStream<Uint8Array> | null {
    const first = [
      eventText("history", this.#history.value),
      eventText("snapshot", bounded(this.view())),
    ];
    return this.#hub.open(first, lastEventId);
  }

  /** Figures of the admin plane itself. */
  get counts(): {
    readonly eventStreams: number;
    readonly eventStreamsDropped: number;
    readonly scrapesSucceeded: number;
    readonly scrapesFailed: number;
  } {
    const { succeeded, failed } = this.#scraper.counts;
    return {
      eventStreams: this.#hub.clients,
      eventStreamsDropped: this.#hub.dropped,
      scrapesSucceeded: succeeded,
      scrapesFailed: failed,
    };
  }

  /** Begins; the returned function ends all, streams included. Call once. */
  start(): () => void {
    const clock = this.#clock;
    this.#told = this.view();
    let stopped = false;
    let cancelSettle: (() => void) | null = null;
    const unsubscribe = this.#state.subscribe(() => {
      this.#view = null;
      cancelSettle ??= clock.after(SETTLE_MS, () => {
        cancelSettle = null;
        try {
          this.#tellChanges();
        } catch (e) {
          this.#failed(e);
        }
      });
    });
    let cancelBeat = () => {};
    const beat = () => {
      cancelBeat();
      cancelBeat = clock.after(HEARTBEAT_MS, () => {
        this.#hub.send(HEARTBEAT);
        beat();
      });
    };
    let cancelStep = () => {};
    const step = async () => {
      const startedMs = clock.now();
      try {
        await this.step();
      } catch (e) {
        this.#failed(e);
      }
      if (stopped) return;
      beat();
      // Steps keep their rhythm, and a long one is not followed by a burst.
      const leftMs = Math.max(STEP_MS - (clock.now() - startedMs), STEP_MS / 10);
      cancelStep = clock.after(leftMs, () => void step());
    };
    beat();
    void step();
    return () => {
      stopped = true;
      unsubscribe();
      cancelSettle?.();
      cancelBeat();
      cancelStep();
      this.#hub.close();
    };
  }

  /** One round: scrape, history, changes, snapshot. */
  async step(): Promise<void> {
    await this.#scraper.round(this.#state.pods());
    this.#view = null;
    this.#history.add(this.view());
    this.#tellChanges();
    if (this.#hub.clients > 0) this.#hub.send(eventText("snapshot", bounded(this.view())));
  }

  #failed(e: unknown): void {
    this.#log.error("The live view could not be built", { error: errorText(e) });
  }

  #tellChanges(): void {
    const now = this.view();
    const before = this.#told ?? now;
    this.#told = now;
    if (before === now) return;
    for (const { type, data } of changesBetween(before, now)) this.#hub.keep(type, data);
  }
}
