// Sinks for requests that nobody reads any more.

import type { Sink } from "../../core/exchange.ts";

/** Takes and forgets; what a service returns when it has already answered. */
export const NOTHING_MORE: Sink = { data: () => true, end: () => {}, abort: () => {}, wake: null };
