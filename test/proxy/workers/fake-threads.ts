// Worker threads without threads: what main posts is kept and may be answered, so that a test decides
// what a worker does and when.

import type { FromWorker, ToWorker, WorkerStart } from "../../../src/proxy/workers/protocol.ts";
import type { StartThread } from "../../../src/proxy/workers/link.ts";

/** One started thread, as the test plays it. */
export interface FakeThread {
  readonly name: string;
  readonly start: WorkerStart;
  /** Everything that main posted. */
  readonly got: ToWorker[];
  /** Says something to main. */
  say(message: FromWorker): void;
  /** The thread is gone. */
  die(why: string): void;
  /** Main ended it by force. */
  isEnded: boolean;
  /** What the worker does with a message; by default what a healthy one does. */
  on: (message: ToWorker) => void;
}

/** Starts fakes. Messages are clones, as between real threads, and answered at once. */
export function fakeThreads(): { readonly threads: FakeThread[]; readonly start: StartThread } {
  const threads: FakeThread[] = [];
  return {
    threads,
    start: (name, start, events) => {
      let isGone = false;
      const fake: FakeThread = {
        name,
        start: structuredClone(start),
        got: [],
        isEnded: false,
        say: (message) => {
          if (!isGone) events.message(structuredClone(message));
        },
        die: (why) => {
          if (isGone) return;
          isGone = true;
          events.ended(why);
        },
        on: (message) => healthy(fake, message),
      };
      threads.push(fake);
      queueMicrotask(() => fake.say({ type: "started" }));
      return {
        post: (message) => {
          if (isGone) return;
          const clone = structuredClone(message) as ToWorker;
          fake.got.push(clone);
          fake.on(clone);
        },
        end: () => {
          fake.isEnded = true;
          fake.die("left with status 1");
        },
      };
    },
  };
}

const NOTHING = {
  mtlsConnections: 0,
  plaintextConnections: 0,
  endpoints: [],
  filterStats: [],
  filterSeries: [],
  exemplars: [],
};

/** Acknowledges, listens, reports nothing, drains and leaves. */
export function healthy(fake: FakeThread, message: ToWorker): void {
  switch (message.type) {
    case "filter":
      return fake.say({ type: "took", id: message.id, refused: null });
    case "listen":
      return fake.say({ type: "listening", addrs: [{ ip: "127.0.0.1", port: 4140 }] });
    case "report":
      return fake.say({ type: "report", id: message.id, report: NOTHING });
    case "ping":
      return fake.say({ type: "pong" });
    case "drain":
      return fake.say({ type: "drained" });
    case "leave":
      return fake.die("left with status 0");
    default:
      return;
  }
}
