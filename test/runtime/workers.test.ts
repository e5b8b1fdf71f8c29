// Worker threads on both runtimes: messages, compiled modules, and every way in which one ends.

import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  availableCpus,
  startWorker,
  workerSide,
  type WorkerThread,
} from "../../src/runtime/workers.ts";

/** The smallest module with an export: a function `f` without parameters or result. */
const MODULE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0],
  ...[7, 5, 1, 1, 102, 0, 0, 10, 4, 1, 2, 0, 11],
);

interface Started {
  readonly worker: WorkerThread;
  readonly ended: Promise<string>;
  /** The next message that was not asked for yet. */
  next(): Promise<unknown>;
}

function start(data: unknown = null): Started {
  const got: unknown[] = [];
  const waiting: ((message: unknown) => void)[] = [];
  const ended = Promise.withResolvers<string>();
  const worker = startWorker(new URL("./echo-worker.ts", import.meta.url), "echo", data, {
    message: (message) => {
      const resolve = waiting.shift();
      if (resolve === undefined) got.push(message);
      else resolve(message);
    },
    ended: ended.resolve,
  });
  return {
    worker,
    ended: ended.promise,
    next: () => got.length > 0 ? Promise.resolve(got.shift()) : new Promise((r) => waiting.push(r)),
  };
}

test("a worker gets its data, shared memory, and a compiled module", async () => {
  const memory = new SharedArrayBuffer(8);
  const { worker, next, ended } = start({ memory, n: 7 });
  const { data } = await next() as { data: { memory: SharedArrayBuffer; n: number } };
  assert.is(data.n, 7);
  new Uint8Array(data.memory)[3] = 9;
  assert.is(new Uint8Array(memory)[3], 9);
  worker.post(await WebAssembly.compile(MODULE));
  assert.equal(await next(), ["f"]);
  worker.end();
  await ended;
});

test("what a worker posts before it leaves arrives, and then its end", async () => {
  const { worker, next, ended } = start();
  await next();
  worker.post("leave");
  assert.is(await next(), "last");
  assert.is(await ended, "left with status 0");
  worker.post("lost"); // and not thrown
});

test("an uncaught error ends the worker alone, with its message", async () => {
  const { worker, next, ended } = start();
  await next();
  worker.post("throw");
  assert.match(await ended, /boom/);
});

test("a worker that spins can be ended", async () => {
  const { worker, next, ended } = start();
  await next();
  worker.post("spin");
  assert.is(await next(), "spinning");
  worker.end();
  assert.match(await ended, /^left with status/);
});

test("the main thread is no worker, and has at least one CPU", () => {
  assert.throws(workerSide, /not in a worker thread/);
  assert.ok(availableCpus() >= 1);
});

test.run();
