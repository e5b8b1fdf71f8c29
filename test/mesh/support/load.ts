// Requests that go on while something else is done to the mesh, and an account of each of them.

import type { Answer } from "./http.ts";
import { pause } from "./waiting.ts";

export interface Load {
  /** Requests that ended so far. */
  readonly done: number;
  /** Requests that are under way now. */
  readonly open: number;
  /** What went wrong, one line each. */
  readonly failures: readonly string[];
  /** Runs `during`, and resolves with how many requests were under way at any time of it. */
  crossing(during: () => Promise<void>): Promise<number>;
  /** Waits for the last answers. */
  stop(): Promise<void>;
}

/** Starts `workers` that ask one request after the other. A failure is a status from 400 on, or none. */
export function startLoad(workers: number, ask: () => Promise<Answer>): Load {
  let stopped = false;
  let done = 0;
  let open = 0;
  const failures: string[] = [];
  const work = async () => {
    while (!stopped) {
      open++;
      try {
        const { status, headers } = await ask();
        if (status >= 400) failures.push(`${status} ${headers["l5d-proxy-error"] ?? ""}`);
      } catch (e) {
        failures.push((e as Error).message);
      }
      open--;
      done++;
      await pause(4); // leave the machine some room
    }
  };
  const all = Promise.all(Array.from({ length: workers }, work));
  return {
    get done() {
      return done;
    },
    get open() {
      return open;
    },
    failures,
    async crossing(during) {
      const before = done;
      const under = open;
      await during();
      // those that had begun before, and those that ended meanwhile or have begun since
      return Math.max(under, done - before + open);
    },
    async stop() {
      stopped = true;
      await all;
    },
  };
}
