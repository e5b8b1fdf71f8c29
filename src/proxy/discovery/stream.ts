// A server stream that is kept open: read, counted, opened again with back-off after every error and
// every end, until it is stopped or the server says something final. What the messages mean is the
// caller's (`target.ts`, `port.ts`, `endpoints.ts`), who keeps the last good state in between.

import { Code, ConnectError } from "@connectrpc/connect";
import type { Backoff, Clock } from "../../core/clock.ts";
import { delay } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";

/** Figures of all streams of one method, for `/metrics`. */
export interface StreamStats {
  /** Streams kept now. */
  kept: number;
  /** Times that a stream was opened. */
  opened: number;
  messages: number;
  failures: number;
}

/** One control-plane service, as its streams see it: so that its loss is one line, not one per stream. */
export class ControlHealth {
  #down = false;
  readonly #name: string;
  readonly #log: Logger;

  constructor(name: string, log: Logger) {
    this.#name = name;
    this.#log = log;
  }

  answered(): void {
    if (!this.#down) return;
    this.#down = false;
    this.#log.info(`The ${this.#name} service answers again`);
  }

  unreachable(error: string): void {
    if (this.#down) return;
    this.#down = true;
    this.#log.warn(`The ${this.#name} service cannot be reached: what is known stays in force`, {
      error,
    });
  }
}

/** Why a stream failed. */
export interface StreamFailure {
  readonly code: Code;
  /** One line. */
  readonly message: string;
  /** The server's word is final: the stream is not opened again. */
  readonly final: boolean;
}

export interface StreamOptions<T> {
  /** Method and subject, for the log: `GetProfile web.shop.svc.cluster.local:80`. */
  readonly name: string;
  open(signal: AbortSignal): AsyncIterable<T>;
  /** Statuses after which it is not opened again. */
  readonly finalCodes: readonly Code[];
  /** Before the first message of each connection. */
  connected?(): void;
  message(message: T): void;
  failed(failure: StreamFailure): void;
  readonly limits: {
    readonly initialTimeoutMs: number | null;
    readonly idleTimeoutMs: number | null;
    readonly lifetimeMs: number | null;
  };
  readonly backoff: Backoff;
  readonly clock: Clock;
  readonly log: Logger;
  readonly health: ControlHealth;
  readonly stats: StreamStats;
}

/** What a server says is not ours to trust, also not in length. */
const MAX_ERROR_TEXT = 300;

/** Opens the stream, at once, and keeps it. The returned function stops it; no call follows. */
export function keepStream<T>(o: StreamOptions<T>): () => void {
  const stopped = new AbortController();
  o.stats.kept++;
  void run(o, stopped.signal).finally(() => o.stats.kept--);
  return () => stopped.abort(new ConnectError("no longer needed", Code.Canceled));
}

async function run<T>(o: StreamOptions<T>, stopped: AbortSignal): Promise<void> {
  let quiet = false;
  while (!stopped.aborted) {
    const failure = await readOnce(o, stopped, () => quiet = false);
    if (stopped.aborted) return;
    if (failure !== null) {
      o.stats.failures++;
      report(o, failure, quiet);
      quiet = true;
      o.failed(failure);
      if (failure.final) return;
    }
    try {
      await delay(o.clock, o.backoff.next(), stopped);
    } catch {
      return;
    }
  }
}

/** Reads one connection to its end; null: it ended in order. */
async function readOnce<T>(
  o: StreamOptions<T>,
  stopped: AbortSignal,
  answered: () => void,
): Promise<StreamFailure | null> {
  const call = new AbortController();
  const stop = () => call.abort(stopped.reason);
  stopped.addEventListener("abort", stop, { once: true });
  const limits = new Limits(o, call);
  let first = true;
  o.stats.opened++;
  try {
    for await (const message of o.open(call.signal)) {
      if (stopped.aborted) return null;
      limits.heard();
      if (first) {
        first = false;
        o.backoff.reset();
        o.health.answered();
        answered();
        o.connected?.();
      }
      o.stats.messages++;
      o.message(message);
    }
    return null;
  } catch (e) {
    // Its time was up, which is as good as an end in order.
    if (limits.ended) return null;
    const error = limits.timedOut ?? ConnectError.from(e, Code.Unknown);
    const message = error.rawMessage.replace(/\s+/g, " ").slice(0, MAX_ERROR_TEXT);
    return { code: error.code, message, final: o.finalCodes.includes(error.code) };
  } finally {
    limits.stop();
    stopped.removeEventListener("abort", stop);
    call.abort();
  }
}

function report<T>(o: StreamOptions<T>, { code, message, final }: StreamFailure, quiet: boolean) {
  const fields = { stream: o.name, status: Code[code] ?? code, error: message, final };
  if (code === Code.Unavailable || code === Code.DeadlineExceeded || code === Code.Canceled) {
    o.health.unreachable(message);
    o.log.debug("A stream failed", fields);
  } else if (quiet) {
    o.log.debug("A stream failed again", fields);
  } else {
    o.log.warn("A stream failed", fields);
  }
}

/** The three time limits of one connection. */
class Limits {
  /** The first message did not come in time. */
  timedOut: ConnectError | null = null;
  /** Silent for too long, or open for too long: opened anew, which spreads streams over replicas. */
  ended = false;
  readonly #o: Pick<StreamOptions<unknown>, "clock" | "limits">;
  readonly #call: AbortController;
  #cancelSilence: () => void;
  readonly #cancelLifetime: () => void;

  constructor(o: Pick<StreamOptions<unknown>, "clock" | "limits">, call: AbortController) {
    this.#o = o;
    this.#call = call;
    const { initialTimeoutMs, lifetimeMs } = o.limits;
    this.#cancelSilence = this.#after(initialTimeoutMs, () => {
      const text = `no message within ${initialTimeoutMs} ms`;
      this.timedOut = new ConnectError(text, Code.DeadlineExceeded);
    });
    this.#cancelLifetime = this.#after(lifetimeMs, () => this.ended = true);
  }

  heard(): void {
    this.#cancelSilence();
    this.#cancelSilence = this.#after(this.#o.limits.idleTimeoutMs, () => this.ended = true);
  }

  stop(): void {
    this.#cancelSilence();
    this.#cancelLifetime();
  }

  #after(ms: number | null, expire: () => void): () => void {
    if (ms === null) return () => {};
    return this.#o.clock.after(ms, () => {
      expire();
      this.#call.abort();
    });
  }
}
