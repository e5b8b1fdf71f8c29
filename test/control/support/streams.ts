// Reading of server streams message by message, and of the status that ends them.

import { Code, ConnectError } from "@connectrpc/connect";
import * as assert from "uvu/assert";

/** A stream under test. `end` aborts it; a test must call it. */
export interface Reading<T> {
  next(): Promise<T>;
  /** True when nothing came although everything that could run did. */
  quiet(): Promise<boolean>;
  /** The stream's end: a status, or null when it ended in order. */
  status(): Promise<Code | null>;
  end(): Promise<void>;
}

/** Opens a stream with a signal of its own. */
export function reading<T>(open: (signal: AbortSignal) => AsyncIterable<T>): Reading<T> {
  const controller = new AbortController();
  const iterator = open(controller.signal)[Symbol.asyncIterator]();
  let pending: Promise<IteratorResult<T>> | null = null;
  const pull = () => pending ??= iterator.next();
  return {
    async next() {
      const result = await pull();
      pending = null;
      assert.not(result.done, "the stream ended");
      return result.value;
    },
    async quiet() {
      let settled = false;
      const done = () => settled = true;
      pull().then(done, done);
      for (let i = 0; i < 200; i++) await Promise.resolve();
      await new Promise((again) => setTimeout(again, 0));
      return !settled;
    },
    async status() {
      try {
        const result = await pull();
        pending = null;
        assert.ok(result.done, "the stream went on");
        return null;
      } catch (e) {
        return ConnectError.from(e).code;
      }
    },
    async end() {
      controller.abort();
      await Promise.resolve(pending).catch(() => {});
      await iterator.return?.().catch(() => {});
    },
  };
}
