// What the control plane counts since its start; shown by the admin plane.

import type { ControlCounters } from "./admin/state.ts";

export class Counters implements ControlCounters {
  readonly streamsOpen: Record<string, number> = {};
  readonly updatesSent: Record<string, number> = {};
  readonly refusals: Record<string, number> = {};
  certificatesIssued = 0;

  /** Something was refused: a `certificate`, a `module`, a `resource`. */
  refused(what: string): void {
    this.refusals[what] = (this.refusals[what] ?? 0) + 1;
  }

  /** Counts a stream while it is open, and each message that it sends. */
  async *counted<T>(method: string, messages: AsyncIterable<T>): AsyncGenerator<T> {
    this.streamsOpen[method] = (this.streamsOpen[method] ?? 0) + 1;
    try {
      for await (const message of messages) {
        this.updatesSent[method] = (this.updatesSent[method] ?? 0) + 1;
        yield message;
      }
    } finally {
      this.streamsOpen[method] = (this.streamsOpen[method] ?? 1) - 1;
    }
  }
}
