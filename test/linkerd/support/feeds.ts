// What a control plane that a test plays says on its server streams: for each subject the messages with
// which every stream begins, and a hand on the streams that are open. Knows no method.

import { Code, ConnectError } from "@connectrpc/connect";

/** One open stream. */
interface Live<T> {
  readonly queue: (T | ConnectError | null)[];
  wake: () => void;
}

/** The streams of one subject. */
export class Feed<T> {
  /** Streams that were opened, and those that are open now. */
  opened = 0;
  readonly #live = new Set<Live<T>>();
  #begin: T[];
  #refusal: ConnectError | null;

  constructor(begin: readonly T[], refusal: ConnectError | null) {
    this.#begin = [...begin];
    this.#refusal = refusal;
  }

  get open(): number {
    return this.#live.size;
  }

  /** A whole state: every stream begins with it from now on, and the open ones hear it. */
  set(...messages: readonly T[]): this {
    this.#begin = [...messages];
    this.#refusal = null;
    this.tell(...messages);
    return this;
  }

  /** A change: open streams hear it, later ones begin with all that was said. */
  add(...messages: readonly T[]): this {
    this.#begin.push(...messages);
    this.tell(...messages);
    return this;
  }

  /** To the streams that are open, and only to those. */
  tell(...messages: readonly T[]): void {
    for (const live of this.#live) this.#push(live, ...messages);
  }

  /** What later streams begin with; the open ones hear nothing. */
  next(...messages: readonly T[]): this {
    this.#begin = [...messages];
    return this;
  }

  /** Ends open streams in order. */
  end(): void {
    for (const live of this.#live) this.#push(live, null);
  }

  /** Fails open streams. */
  fail(code: Code, message = "as the test wants"): void {
    for (const live of this.#live) this.#push(live, new ConnectError(message, code));
  }

  /** Streams fail at once from now on, the open ones too. */
  refuse(code: Code, message = "as the test wants"): this {
    this.#refusal = new ConnectError(message, code);
    this.#begin = [];
    this.fail(code, message);
    return this;
  }

  #push(live: Live<T>, ...items: readonly (T | ConnectError | null)[]): void {
    live.queue.push(...items);
    live.wake();
  }

  /** The stream that a method gives. */
  async *stream(signal: AbortSignal): AsyncIterable<T> {
    this.opened++;
    if (this.#refusal !== null) throw this.#refusal;
    const live: Live<T> = { queue: [...this.#begin], wake: () => {} };
    const onAbort = () => live.wake();
    signal.addEventListener("abort", onAbort);
    this.#live.add(live);
    try {
      while (!signal.aborted) {
        if (live.queue.length === 0) {
          await new Promise<void>((resolve) => live.wake = resolve);
          live.wake = () => {};
          continue;
        }
        const item = live.queue.shift() as T | ConnectError | null;
        if (item === null) return;
        if (item instanceof ConnectError) throw item;
        yield item;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#live.delete(live);
    }
  }
}

/** All subjects of one method. What nobody has set is refused with `unknown`; null: it stays silent. */
export class Feeds<T> {
  readonly #unknown: Code | null;
  readonly #feeds = new Map<string, Feed<T>>();

  constructor(unknown: Code | null) {
    this.#unknown = unknown;
  }

  at(subject: string): Feed<T> {
    let feed = this.#feeds.get(subject);
    if (feed === undefined) {
      const refusal = this.#unknown === null
        ? null
        : new ConnectError(`nothing is known of ${subject}`, this.#unknown);
      feed = new Feed<T>([], refusal);
      this.#feeds.set(subject, feed);
    }
    return feed;
  }

  /** Everything that was asked for, with how often. */
  asked(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#feeds].map(([key, { opened }]) => [key, opened]));
  }
}
