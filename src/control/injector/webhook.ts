// The mutating webhook: `review.ts` behind HTTP, and the counters. What the API server does when it gets
// no answer is written in the MutatingWebhookConfiguration (`Ignore`, `Fail` in HA): a refusal here is
// for requests that are none.

import type { Hono } from "hono";
import type { Logger } from "../../core/log.ts";
import { createReviewApp } from "../admission/webhook-app.ts";
import type { InjectorCounters } from "./counters.ts";
import { type ClusterReader, type InjectorConfig, type InjectorEvents, review } from "./review.ts";

export interface WebhookDeps {
  /** Read for each request, so that a change of the installation counts at once. */
  readonly config: () => Promise<InjectorConfig>;
  readonly cluster: ClusterReader;
  readonly events: InjectorEvents;
  readonly counters: InjectorCounters;
  readonly log: Logger;
}

/** The handler that the API server calls, at `/`. */
export function createWebhook({ config, cluster, events, counters, log }: WebhookDeps): Hono {
  return createReviewApp({
    async answer(body) {
      const { answer, outcome, notes } = await review(body, config, cluster, events);
      counters.reviewed(outcome);
      for (const note of notes) {
        log.warn("An annotation was ignored or an object refused", { note });
      }
      return answer;
    },
    refused: (status) => counters.refused(status),
    log,
  });
}
