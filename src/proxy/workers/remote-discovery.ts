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
  readonly #portBefore: (port: number) => InboundSnapshot | null;
  readonly #watched = new Map<number, Remote<InboundSnapshot | OutboundSnapshot>>();
  /** Never let go: who connects must meet the port's policy, not wait for it. */
  readonly #ports = new Map<number, Remote<InboundSnapshot>>();
  #next = 0;

  /** `portBefore` is what a port has until main has answered. */
  constructor(
    post: (message: FromWorker) => void,
    chainOf: (members: readonly ChainMember[]) => FilterChain,
    portBefore: (port: number) => InboundSnapshot | null,
  ) {
    this.#post = post;
    this.#chainOf = chainOf;
    this.#portBefore = portBefore;
  }

  outbound(key: TargetKey): Watched<OutboundSnapshot> {
    const remote: Remote<OutboundSnapshot> = this.#add((id) =>
      new Remote<OutboundSnapshot>(id, null, () => {
        if (this.#watched.delete(id)) this.#post({ type: "release", id });
      })
    );
    this.#post({ type: "outbound", id: remote.id, key });
    return remote;
  }

  inbound(port: number): Watched<InboundSnapshot> {
    return new PortView(this.#port(port));
  }

  /** Begins to watch a port; resolves when main has answered for it. */
  watchPort(port: number): Promise<void> {
    return this.#port(port).answered;
  }

  /** A change from main. What was released meanwhile is ignored. */
  change(change: SnapshotChange): void {
    this.#watched.get(change.id)?.change(change, this.#chainOf);
  }

  why(id: number, why: string): void {
    this.#watched.get(id)?.explain(why);
  }

  #port(port: number): Remote<InboundSnapshot> {
    const known = this.#ports.get(port);
    if (known !== undefined) return known;
    const remote = this.#add((id) =>
      new Remote<InboundSnapshot>(id, this.#portBefore(port), () => {})
    );
    this.#ports.set(port, remote);
    this.#post({ type: "inbound", id: remote.id, port });
    return remote;
  }

  #add<T extends InboundSnapshot | OutboundSnapshot>(make: (id: number) => Remote<T>): Remote<T> {
    const id = this.#next++;
    const remote = make(id);
    this.#watched.set(id, remote as unknown as Remote<InboundSnapshot | OutboundSnapshot>);
    return remote;
  }
}

/** One reader of a port. */
class PortView implements Watched<InboundSnapshot> {
  readonly #remote: Remote<InboundSnapshot>;
  readonly #ends = new Set<() => void>();

  constructor(remote: Remote<InboundSnapshot>) {
    this.#remote = remote;
  }

  get value(): InboundSnapshot | null {
    return this.#remote.value;
  }

  get why(): string {
    return this.#remote.why;
  }

  subscribe(
    listener: (value: InboundSnapshot) => void,
    explained?: (why: string) => void,
  ): () => void {
    const end = this.#remote.subscribe(listener, explained);
    this.#ends.add(end);
    return () => {
      this.#ends.delete(end);
      end();
    };
  }

  release(): void {
    for (const end of this.#ends) end();
    this.#ends.clear();
  }
}

/** What is watched, as far as it came. */
class Remote<T extends InboundSnapshot | OutboundSnapshot> implements Watched<T> {
  readonly id: number;
  /** `value` is not from main. */
  #isBefore = true;
  value: T | null;
  why = "";
  readonly #answered = Promise.withResolvers<void>();
  readonly #listeners = new Set<(value: T) => void>();
  readonly #explained = new Set<(why: string) => void>();
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #onRelease: () => void;

  constructor(id: number, before: T | null, onRelease: () => void) {
    this.id = id;
    this.value = before;
    this.#onRelease = onRelease;
  }

  /** Main has said something. */
  get answered(): Promise<void> {
    return this.#answered.promise;
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
    // Main knows better than what was supposed, and has nothing.
    if (this.#isBefore) this.value = null;
    this.#answered.resolve();
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
      ...(this.#isBefore ? null : this.value),
      ...fields,
      ...(routes === undefined
        ? {}
        : { routes: routes.map(({ chain, ...rest }) => ({ ...rest, chain: chainOf(chain) })) }),
      ...(endpoints === undefined ? {} : { endpoints: endpoints && this.#set(endpoints.exists) }),
    } as T;
    this.#isBefore = false;
    this.why = change.why;
    this.value = value;
    this.#answered.resolve();
    for (const listener of [...this.#listeners]) {
      // An earlier listener may have ended it.
      if (this.#listeners.has(listener)) listener(value);
    }
  }

  #set(exists: boolean): EndpointSet {
    return { exists, endpoints: [...this.#endpoints.values()] };
  }
}
