// One outbound target: its profile and its policy in parallel, then the endpoints to which they lead,
// published as one snapshot. Nothing is published before the policy is known; after that every snapshot
// is whole, and the last good one stays while the control plane is away.

import { Code } from "@connectrpc/connect";
import { clientPolicyFromWire } from "../../api/client-policy.ts";
import type { DestinationProfile } from "../../api/gen/destination_pb.ts";
import type { OutboundPolicy } from "../../api/gen/outbound_pb.ts";
import { profileFromWire } from "../../api/profile.ts";
import { errorText } from "../../core/errors.ts";
import type { Endpoint, EndpointSet } from "../../model/endpoint.ts";
import type { ClientPolicy, Profile } from "../../model/profile.ts";
import { combine, type LookedUpTarget, type TargetPlan } from "./combine.ts";
import type { OutboundSnapshot } from "./discovery.ts";
import type { EndpointSets, EndpointUse } from "./endpoints.ts";
import type { FilterStore } from "./filters.ts";
import { RouteChains } from "./route-chains.ts";
import type { Lease } from "./shared.ts";
import { Shared } from "./shared.ts";
import type { Streams } from "./streams.ts";

const NO_ENDPOINTS: EndpointSet = { exists: true, endpoints: [] };

/** What all targets of a proxy share. */
export interface TargetContext {
  readonly streams: Streams;
  readonly endpoints: EndpointSets;
  readonly filters: FilterStore;
  /** How long the first profile is waited for when the policy is already there. */
  readonly profileInitialTimeoutMs: number;
  /** Whether a target has profiles at all. */
  hasProfile(target: LookedUpTarget): boolean;
}

interface BackendPart {
  readonly from: EndpointSet;
  readonly pairs: readonly (readonly [from: Endpoint, tagged: Endpoint])[];
  readonly set: EndpointSet;
}

/** Looks a target up, from construction to `close`. */
export class OutboundTarget {
  readonly shared: Shared<OutboundSnapshot>;
  readonly #target: LookedUpTarget;
  readonly #ctx: TargetContext;
  readonly #chains: RouteChains;
  readonly #stops: (() => void)[] = [];
  /** Undefined: not answered. Null: there is none. */
  #profile: Profile | null | undefined;
  #policy: ClientPolicy | null | undefined;
  #plan: TargetPlan | null = null;
  /** One for each path that the plan's endpoints come from. */
  #uses: readonly EndpointUse[] = [];
  /** The set of the previous path, until the new path has one. */
  #lastSet: EndpointSet | null = null;
  /** Of several backends: what was made of their sets. */
  #union: { readonly parts: readonly (EndpointSet | null)[]; readonly set: EndpointSet } | null =
    null;
  readonly #parts = new Map<string, BackendPart>();
  #forwards = NO_ENDPOINTS;
  #closed = false;

  constructor(target: LookedUpTarget, ctx: TargetContext, lease: Lease) {
    this.#target = target;
    this.#ctx = ctx;
    this.shared = new Shared(lease);
    this.#chains = new RouteChains(ctx.filters, () => this.#publish());
    this.#watchPolicy();
    if (ctx.hasProfile(target)) this.#watchProfile();
    else this.#profile = null;
  }

  close(): void {
    this.#closed = true;
    for (const stop of this.#stops) stop();
    for (const use of this.#uses) use.release();
    this.#chains.close();
    this.shared.close();
  }

  #watchProfile(): void {
    const { streams, filters, profileInitialTimeoutMs } = this.#ctx;
    this.#stops.push(filters.clock.after(profileInitialTimeoutMs, () => {
      if (this.#profile === undefined) this.#setProfile(null);
    }));
    this.#stops.push(streams.profile(this.#target, {
      message: (wire: DestinationProfile) => {
        try {
          this.#setProfile(profileFromWire(wire, (why) => {
            streams.log.warn("A part of a profile is left out", {
              target: this.#target.key,
              why: why.message,
            });
          }));
        } catch (e) {
          this.#bad("profile", e);
          if (this.#profile === undefined) this.#setProfile(null);
        }
      },
      // Whatever the reason: traffic goes on without, or with the last one.
      failed: () => {
        if (this.#profile === undefined) this.#setProfile(null);
      },
    }));
  }

  #watchPolicy(): void {
    const { key } = this.#target;
    this.#stops.push(this.#ctx.streams.outboundPolicy(this.#target, {
      message: (wire: OutboundPolicy) => {
        let policy: ClientPolicy;
        try {
          policy = clientPolicyFromWire(wire);
        } catch (e) {
          this.#bad("policy", e);
          this.#explain(`The policy of ${key} cannot be used: ${errorText(e)}`);
          return;
        }
        this.#policy = policy;
        this.#replan();
      },
      failed: ({ code, message, final }) => {
        if (code === Code.NotFound || code === Code.Unimplemented) {
          this.#policy = null;
          this.#replan();
        } else {
          const verb = final ? "is refused" : "is not known";
          this.#explain(`The policy of ${key} ${verb}: ${message}`);
        }
      },
    }));
  }

  #setProfile(profile: Profile | null): void {
    this.#profile = profile;
    this.#replan();
  }

  #bad(what: "profile" | "policy", e: unknown): void {
    this.#ctx.streams.log.error(`A ${what} cannot be used: the last good one stays in force`, {
      target: this.#target.key,
      error: errorText(e),
    });
  }

  /** Only while there is nothing to serve with. */
  #explain(why: string): void {
    if (this.shared.value === null) this.shared.explain(why);
  }

  #replan(): void {
    if (this.#closed || this.#policy === undefined || this.#profile === undefined) return;
    const plan = combine(this.#target, this.#profile, this.#policy);
    this.#follow(plan);
    this.#plan = plan;
    // Publishes, now or when the filters of new routes are there.
    const { routes } = this.#chains;
    this.#chains.set(plan.routes);
    if (routes !== null && routes === this.#chains.routes) this.#publish();
  }

  /** Goes to where the plan's endpoints come from; the old streams end after the new ones began. */
  #follow({ endpoints }: TargetPlan): void {
    const before = this.#uses;
    const paths = "path" in endpoints
      ? [endpoints.path]
      : "backends" in endpoints
      ? endpoints.backends
      : [];
    if (before.map((u) => u.path).join("\n") === paths.join("\n")) return;
    const whole = this.#known();
    this.#lastSet = paths.length > 0 && whole?.exists === true ? whole : null;
    this.#uses = paths.map((path) => this.#ctx.endpoints.use(path, () => this.#publish()));
    for (const use of before) use.release();
    this.#union = null;
    for (const backend of this.#parts.keys()) {
      if (!paths.includes(backend)) this.#parts.delete(backend);
    }
  }

  #publish(): void {
    const plan = this.#plan;
    const { routes } = this.#chains;
    if (this.#closed || plan === null || routes === null) return;
    const endpoints = this.#endpointsOf(plan);
    const why = plan.why !== "" ? plan.why : this.#uses.find((u) => u.why !== "")?.why ?? "";
    this.shared.publish({
      authority: plan.authority,
      exists: endpoints?.exists ?? true,
      opaque: plan.opaque,
      tls: plan.tls,
      httpOnly: plan.httpOnly,
      http2Only: plan.http2Only,
      routes,
      budget: plan.budget,
      endpoints,
      defaultRttMs: plan.defaultRttMs,
      decayMs: plan.decayMs,
      accrual: plan.accrual,
      parent: plan.parent,
      backend: plan.backend,
      hash: plan.hash,
      canonical: plan.canonical,
      bytes: plan.bytes,
    }, why);
  }

  #endpointsOf(plan: TargetPlan): EndpointSet | null {
    if ("set" in plan.endpoints) return plan.endpoints.set;
    const set = this.#known() ?? this.#lastSet;
    // Who connected to an address was told of it: as in Linkerd, requests wait and then fail fast. Only
    // who names a service is told that there is none.
    return set?.exists === false && this.#target.kind === "addr" ? NO_ENDPOINTS : set;
  }

  /** What the newest paths lead to, once each of them has answered; null: not known yet. */
  #known(): EndpointSet | null {
    const plan = this.#plan;
    if (plan === null || !("backends" in plan.endpoints)) return this.#uses[0]?.set ?? null;
    if (this.#uses.some((u) => u.set === null && u.why === "")) return null;
    const forwards = this.#forwardsOf(plan.endpoints.forwards);
    const parts = this.#uses.map((u) => u.set === null ? null : this.#ofBackend(u.path, u.set));
    if (forwards.endpoints.length > 0) parts.push(forwards);
    const before = this.#union;
    if (
      before !== null && before.parts.length === parts.length &&
      parts.every((p, i) => p === before.parts[i])
    ) return before.set;
    const known = parts.filter((p) => p !== null);
    const set: EndpointSet | null = known.length === 0
      ? null
      : { exists: known.some((p) => p.exists), endpoints: known.flatMap((p) => p.endpoints) };
    if (set !== null) this.#union = { parts, set };
    return set;
  }

  /** Backends whose addresses are known; the same object as long as they are the same. */
  #forwardsOf(endpoints: readonly Endpoint[]): EndpointSet {
    if (JSON.stringify(this.#forwards.endpoints) !== JSON.stringify(endpoints)) {
      this.#forwards = { exists: true, endpoints };
    }
    return this.#forwards;
  }

  /** A set whose endpoints say where they belong; the same object as long as the set is the same. */
  #ofBackend(backend: string, set: EndpointSet): EndpointSet {
    const before = this.#parts.get(backend);
    if (before?.from === set) return before.set;
    const old = new Map(before?.pairs ?? []);
    const pairs = set.endpoints.map((e): [Endpoint, Endpoint] => [
      e,
      old.get(e) ?? { ...e, backend },
    ]);
    const tagged = { exists: set.exists, endpoints: pairs.map(([, e]) => e) };
    this.#parts.set(backend, { from: set, pairs, set: tagged });
    return tagged;
  }
}
