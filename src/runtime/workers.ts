// Worker threads: starting one, talking to it, hearing of its end however it came, and the worker's own
// side of that. On Node and on Deno. Messages are structured clones; their meaning is the caller's.

import process from "node:process";
import os from "node:os";
import { parentPort, Worker, workerData } from "node:worker_threads";

/** Node's flags of a worker, as `bin/tulle.js` has them. Deno takes none there. */
const EXEC_ARGV = process.versions.deno === undefined
  ? ["--disable-warning=ExperimentalWarning"]
  : [];

/** A worker as the main thread holds it. */
export interface WorkerThread {
  /** Sends a clone. Lost when the worker is gone. */
  post(message: unknown): void;
  /** Ends it at once, in whatever it is doing; `ended` is called. */
  end(): void;
}

/** What the main thread hears of a worker. */
export interface WorkerEvents {
  message(message: unknown): void;
  /** Once, last: an uncaught error in one line, or the status it left with. */
  ended(why: string): void;
}

/** Starts a worker on `entry`, whose `workerSide` gets a clone of `data`. */
export function startWorker(
  entry: URL,
  name: string,
  data: unknown,
  on: WorkerEvents,
): WorkerThread {
  let isOver = false;
  let why = "";
  // Not the parent's own: what its `--import` watches is a matter of the process.
  const worker = new Worker(entry, { workerData: data, name, execArgv: EXEC_ARGV });
  worker.on("message", (message) => {
    if (!isOver) on.message(message);
  });
  worker.on("messageerror", (e: Error) => {
    why ||= `a message could not be read: ${e.message}`;
  });
  worker.on("error", (e: unknown) => {
    why ||= e instanceof Error ? e.message : String(e);
  });
  worker.on("exit", (code: number) => {
    if (isOver) return;
    isOver = true;
    on.ended(why || `left with status ${code}`);
  });
  return {
    post: (message) => {
      if (!isOver) worker.postMessage(message);
    },
    end: () => void worker.terminate(),
  };
}

/** The worker's side; throws outside of a worker. */
export interface WorkerSide {
  readonly data: unknown;
  post(message: unknown): void;
  /** One listener. Messages that came before it are given to it. */
  listen(listener: (message: unknown) => void): void;
  /** Ends the thread, after what was posted. */
  leave(): void;
}

/** What a worker's entry module has of its parent. */
export function workerSide(): WorkerSide {
  const port = parentPort;
  if (port === null) throw new Error("not in a worker thread");
  return {
    data: workerData,
    post: (message) => port.postMessage(message),
    listen: (listener) => void port.on("message", listener),
    // Deno's port has no `close`, with which the thread would end by itself.
    leave: () => process.exit(0),
  };
}

/** How many CPUs this process may use. */
export function availableCpus(): number {
  return os.availableParallelism();
}
