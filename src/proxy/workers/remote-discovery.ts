// Discovery in a worker: asks the main thread, and puts snapshots together from the changes that come.
// What did not change stays the identical object, so that load, breakers and pools survive.

import type { FilterChain } from "../../core/filter.ts";
import type { Endpoint, EndpointSet } from "../../model/endpoint.ts";
import type {
  Discovery,
  InboundSnapshot,
  OutboundSnapshot,
  TargetKey,
  Watched,
} from "../discovery/discovery.ts";
import type { ChainMember, FromWorker, SnapshotChange } from "./protocol.ts";

/** One per worker. */
export class RemoteDiscovery implements Discovery {
  readonly #post: (message: FromWorker) => void;
  readonly #chainOf: (members: readonly ChainMember[]) => FilterChain;
  readonly #watched = new Map<number, Remote<InboundSnapshot | OutboundSnapshot>>();
  #next = 0;

  constructor(
    post: (message: FromWorker) => void,
    chainOf: (members: readonly ChainMember[]) => FilterChain,
  ) {
    this.#post = post;
    this.#chainOf = chainOf;
  }

  outbound(key: TargetKey): Watched<OutboundSnapshot> {
    const remote = this.#open<OutboundSnapshot>();
    this.#post({ type: "outbound", id: remote.id, key });
    return remote;
  }

  inbound(port: number): Watched<InboundSnapshot> {
    const remote = this.#open<InboundSnapshot>();
    this.#post({ type: "inbound", id: remote.id, port });
    return remote;
  }

  /** A change from main. What was released meanwhile is ignored. */
  change(change: SnapshotChange): void {
    this.#watched.get(change.id)?.change(change, this.#chainOf);
  }

  why(id: number, why: string): void {
    this.#watched.get(id)?.explain(why);
  }

  #open<T extends InboundSnapshot | OutboundSnapshot>(): Remote<T> {
    const id = this.#next++;
    const remote = new Remote<T>(id, () => {
      if (this.#watched.delete(id)) this.#post({ type: "release", id });
    });
    this.#watched.set(id, remote as unknown as Remote<InboundSnapshot | OutboundSnapshot>);
    return remote;
  }
}

/** What is watched, as far as it came. */
class Remote<T extends InboundSnapshot | OutboundSnapshot> implements Watched<T> {
  readonly id: number;
  value: T | null = null;
  why = "";
  readonly #listeners = new Set<(value: T) => void>();
  readonly #explained = new Set<(why: string) => void>();
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #onRelease: () => void;

  constructor(id: number, onRelease: () => void) {
    this.id = id;
    this.#onRelease = onRelease;
  }

  subscribe(listener: (value: T) => void, explained?: (why: string) => void): () => void {
    this.#listeners.add(listener);
    if (explained !== undefined) this.#explained.add(explained);
    return () => {
      this.#listeners.delete(listener);
      if (explained !== undefined) this.#explained.delete(explained);
    };
  }

  release(): void {
    this.#listeners.clear();
    this.#explained.clear();
    this.#onRelease();
  }

  explain(why: string): void {
    this.why = why;
    for (const listener of [...this.#explained]) listener(why);
  }

  change(change: SnapshotChange, chainOf: (members: readonly ChainMember[]) => FilterChain): void {
    const { endpoints, routes, fields } = change;
    if (endpoints != null) {
      for (const number of endpoints.removed) this.#endpoints.delete(number);
      for (const [number, endpoint] of endpoints.put) this.#endpoints.set(number, endpoint);
    } else if (endpoints === null) this.#endpoints.clear();
    if (change.more) return;
    const value = {
      ...this.value,
      ...fields,
      ...(routes === undefined
        ? {}
        : { routes: routes.map(({ chain, ...rest }) => ({ ...rest, chain: chainOf(chain) })) }),
      ...(endpoints === undefined ? {} : { endpoints: endpoints && this.#set(endpoints.exists) }),
    } as T;
    this.why = change.why;
    this.value = value;
    for (const listener of [...this.#listeners]) {
      // An earlier listener may have ended it.
      if (this.#listeners.has(listener)) listener(value);
    }
  }

  #set(exists: boolean): EndpointSet {
    return { exists, endpoints: [...this.#endpoints.values()] };
  }
}
