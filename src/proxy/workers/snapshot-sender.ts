// What one worker watches, on the main thread's side: opens it in the real discovery and sends each
// change – what is new against what was sent before, a large set of endpoints in several messages, so
// that a worker is never held up for long by one.

import { errorText } from "../../core/errors.ts";
import type { FilterChain } from "../../core/filter.ts";
import type { Logger } from "../../core/log.ts";
import { type Endpoint, endpointKey, type EndpointSet } from "../../model/endpoint.ts";
import type {
  Discovery,
  InboundSnapshot,
  OutboundSnapshot,
  RouteSnapshot,
  Watched,
} from "../discovery/discovery.ts";
import type {
  ChainMember,
  EndpointDelta,
  FromWorker,
  SnapshotChange,
  ToWorker,
} from "./protocol.ts";

/** Endpoints of one message: reading them takes a worker about a quarter of a millisecond. */
const MAX_PUT = 100;

type Snapshot = OutboundSnapshot | InboundSnapshot;
type Open = Extract<FromWorker, { type: "outbound" | "inbound" }>;

export interface SenderOptions {
  readonly discovery: Discovery;
  post(message: ToWorker): void;
  /** Takes a chain of main's engine apart. */
  membersOf(chain: FilterChain): readonly ChainMember[];
  readonly log: Logger;
}

/** All that one worker watches. */
export class SnapshotSender {
  readonly #o: SenderOptions;
  readonly #open = new Map<number, { end(): void }>();

  constructor(o: SenderOptions) {
    this.#o = o;
  }

  open(message: Open): void {
    const { discovery } = this.#o;
    try {
      if (message.type === "outbound") this.#send(message.id, discovery.outbound(message.key));
      else this.#send(message.id, discovery.inbound(message.port));
    } catch (e) {
      this.#o.post({ type: "why", id: message.id, why: errorText(e) });
    }
  }

  release(id: number): void {
    this.#open.get(id)?.end();
    this.#open.delete(id);
  }

  /** Lets everything go; for a worker that is gone. */
  close(): void {
    for (const id of [...this.#open.keys()]) this.release(id);
  }

  #send<T extends Snapshot>(id: number, watched: Watched<T>): void {
    const { post, log } = this.#o;
    const sent = new Sent(id, this.#o.membersOf);
    const send = (snapshot: T) => {
      try {
        for (const change of sent.changes(snapshot, watched.why)) {
          post({ type: "snapshot", change });
        }
      } catch (e) {
        sent.reset();
        log.error("A snapshot could not be sent to a worker: the old one goes on", {
          error: errorText(e),
        });
      }
    };
    const unsubscribe = watched.subscribe(send, (why) => post({ type: "why", id, why }));
    this.#open.set(id, {
      end() {
        unsubscribe();
        watched.release();
      },
    });
    if (watched.value !== null) send(watched.value);
    else if (watched.why !== "") post({ type: "why", id, why: watched.why });
  }
}

/** What a worker has of one target or port. */
class Sent {
  readonly #id: number;
  readonly #membersOf: SenderOptions["membersOf"];
  readonly #numbers = new EndpointNumbers();
  #last: Readonly<Record<string, unknown>> = {};
  /** What the worker has is not what was sent. */
  #isAfresh = false;

  constructor(id: number, membersOf: SenderOptions["membersOf"]) {
    this.#id = id;
    this.#membersOf = membersOf;
  }

  /** Something did not arrive: the next change has everything. */
  reset(): void {
    this.#last = {};
    this.#numbers.clear();
    this.#isAfresh = true;
  }

  changes(snapshot: Snapshot, why: string): readonly SnapshotChange[] {
    const before = this.#last;
    const now: Readonly<Record<string, unknown>> = { ...snapshot };
    this.#last = now;
    const fields: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(now)) {
      if (key !== "routes" && key !== "endpoints" && value !== before[key]) fields[key] = value;
    }
    const change: SnapshotChange = {
      id: this.#id,
      why,
      fields,
      more: false,
      ...(snapshot.routes === before["routes"] ? {} : { routes: snapshot.routes.map(this.#route) }),
    };
    if (!("endpoints" in snapshot) || snapshot.endpoints === before["endpoints"]) return [change];
    if (snapshot.endpoints === null) {
      this.#numbers.clear();
      return [{ ...change, endpoints: null }];
    }
    const deltas = split(this.#numbers.delta(snapshot.endpoints));
    const part = (endpoints: EndpointDelta | null): SnapshotChange => ({
      id: this.#id,
      why,
      fields: {},
      endpoints,
      more: true,
    });
    const first = this.#isAfresh ? [part(null)] : [];
    this.#isAfresh = false;
    const last = deltas.at(-1) as EndpointDelta;
    return [...first, ...deltas.slice(0, -1).map(part), { ...change, endpoints: last }];
  }

  readonly #route = ({ chain, ...rest }: RouteSnapshot) => ({
    ...rest,
    chain: this.#membersOf(chain),
  });
}

/** Endpoints by number, as the worker has them. */
export class EndpointNumbers {
  #next = 0;
  readonly #known = new Map<string, { readonly number: number; readonly endpoint: Endpoint }>();

  /** The worker has none of them any more. */
  clear(): void {
    this.#known.clear();
  }

  /** What changed against the last set. An endpoint that is the identical object is as it was. */
  delta(set: EndpointSet): EndpointDelta {
    const put: [number, Endpoint][] = [];
    const seen = new Set<string>();
    for (const endpoint of set.endpoints) {
      let key = endpointKey(endpoint);
      while (seen.has(key)) key += "|"; // named twice: it counts twice
      seen.add(key);
      const known = this.#known.get(key);
      if (known?.endpoint === endpoint) continue;
      const number = known?.number ?? this.#next++;
      this.#known.set(key, { number, endpoint });
      put.push([number, endpoint]);
    }
    const removed: number[] = [];
    for (const [key, { number }] of this.#known) {
      if (seen.has(key)) continue;
      this.#known.delete(key);
      removed.push(number);
    }
    return { exists: set.exists, put, removed };
  }
}

function split(delta: EndpointDelta): readonly EndpointDelta[] {
  const parts: EndpointDelta[] = [];
  for (let from = 0; from === 0 || from < delta.put.length; from += MAX_PUT) {
    const isFirst = from === 0;
    parts.push({
      exists: delta.exists,
      put: delta.put.slice(from, from + MAX_PUT),
      removed: isFirst ? delta.removed : [],
    });
  }
  return parts;
}
