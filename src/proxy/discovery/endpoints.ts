// Endpoint sets by `Destination/Get` path, each one stream however many targets lead there. Additions and
// removals become whole sets here (`api/endpoint.ts` folds them); the last set stays while the control
// plane is away.

import { Code } from "@connectrpc/connect";
import { EndpointFold } from "../../api/endpoint.ts";
import type { Update } from "../../api/gen/destination_pb.ts";
import type { EndpointSet } from "../../model/endpoint.ts";
import type { Streams } from "./streams.ts";

/** One use of a path's set. */
export interface EndpointUse {
  readonly path: string;
  /** Null: not known yet. */
  readonly set: EndpointSet | null;
  /** Why there is no set, or none that exists; empty: just not answered. */
  readonly why: string;
  release(): void;
}

interface Entry {
  readonly path: string;
  set: EndpointSet | null;
  why: string;
  readonly listeners: Set<() => void>;
  stop: () => void;
}

const NO_SERVICE: EndpointSet = { exists: false, endpoints: [] };

/** All paths in use. One per proxy. */
export class EndpointSets {
  readonly #streams: Streams;
  readonly #entries = new Map<string, Entry>();

  constructor(streams: Streams) {
    this.#streams = streams;
  }

  /** `changed` hears of every new set and of every failure before the first. */
  use(path: string, changed: () => void): EndpointUse {
    const entry = this.#entries.get(path) ?? this.#begin(path);
    const listener = () => changed();
    entry.listeners.add(listener);
    return {
      path,
      get set() {
        return entry.set;
      },
      get why() {
        return entry.why;
      },
      release: () => {
        if (!entry.listeners.delete(listener) || entry.listeners.size > 0) return;
        this.#entries.delete(path);
        entry.stop();
      },
    };
  }

  #begin(path: string): Entry {
    const entry: Entry = { path, set: null, why: "", listeners: new Set(), stop: () => {} };
    this.#entries.set(path, entry);
    const publish = (set: EndpointSet | null, why: string) => {
      entry.set = set;
      entry.why = why;
      for (const listener of [...entry.listeners]) listener();
    };
    const fold = new EndpointFold((why) => {
      this.#streams.log.warn("An endpoint is left out", { destination: path, why: why.message });
    });
    entry.stop = this.#streams.destinationGet(path, {
      connected: () => fold.reconnected(),
      message: (update: Update) => {
        const set = fold.apply(update);
        if (set === null) return;
        publish(set, set.exists ? "" : `No such service: ${path}`);
      },
      failed: ({ code, message, final }) => {
        if (code === Code.NotFound) {
          // What the server says with it is the same in its own words.
          publish(NO_SERVICE, `No such service: ${path}`);
        } else if (final && entry.set === null) {
          publish(NO_SERVICE, `The control plane refuses ${path}: ${message}`);
        } else if (entry.set === null) {
          publish(null, `Endpoints of ${path} are not known: ${message}`);
        }
      },
    });
    return entry;
  }
}
