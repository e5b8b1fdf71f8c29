// One outbound target: its profile and its policy in parallel, then the endpoints to which they lead,
// published as one snapshot. Nothing is published before the policy is known; after that every snapshot
// is whole, and the last good one stays while the control plane is away.

import { Code } from "@connectrpc/connect";
import { clientPolicyFromWire } from "../../api/client-policy.ts";
import type { DestinationProfile } from "../../api/gen/destination_pb.ts";
import type { OutboundPolicy } from "../../api/gen/outbound_pb.ts";
import { profileFromWire } from "../../api/profile.ts";
import { errorText } from "../../core/errors.ts";
import type { EndpointSet } from "../../model/endpoint.ts";
import type { ClientPolicy, Profile } from "../../model/profile.ts";
import { combine, type LookedUpTarget, type TargetPlan } from "./combine.ts";
import type { OutboundSnapshot } from "./discovery.ts";
import type { EndpointSets, EndpointUse } from "./endpoints.ts";
import type { FilterStore } from "./filters.ts";
import { RouteChains } from "./route-chains.ts";
import type { Lease } from "./shared.ts";
import { Shared } from "./shared.ts";
import type { Streams } from "./streams.ts";

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
  #use: EndpointUse | null = null;
  /** The set of the previous path, until the new path has one. */
  #lastSet: EndpointSet | null = null;
  #split = "";
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
    this.#use?.release();
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
    this.#warnOfSplit(this.#profile);
    this.#plan = plan;
    this.#follow(plan);
    // Publishes, now or when the filters of new routes are there.
    const { routes } = this.#chains;
    this.#chains.set(plan.routes);
    if (routes !== null && routes === this.#chains.routes) this.#publish();
  }

  /** Goes to where the plan's endpoints come from; the old stream ends after the new one began. */
  #follow({ endpoints }: TargetPlan): void {
    const before = this.#use;
    if ("path" in endpoints) {
      if (before?.path === endpoints.path) return;
      this.#lastSet = before?.set?.exists === true ? before.set : null;
      this.#use = this.#ctx.endpoints.use(endpoints.path, () => this.#publish());
    } else {
      this.#use = null;
      this.#lastSet = null;
    }
    before?.release();
  }

  #publish(): void {
    const plan = this.#plan;
    const { routes } = this.#chains;
    if (this.#closed || plan === null || routes === null) return;
    const endpoints = this.#endpointsOf(plan);
    const why = plan.why !== "" ? plan.why : this.#use?.why ?? "";
    this.shared.publish({
      authority: plan.authority,
      exists: endpoints?.exists ?? true,
      opaque: plan.opaque,
      http2Only: plan.http2Only,
      routes,
      budget: plan.budget,
      endpoints,
      defaultRttMs: plan.defaultRttMs,
      decayMs: plan.decayMs,
      accrual: plan.accrual,
    }, why);
  }

  #endpointsOf(plan: TargetPlan): EndpointSet | null {
    if ("set" in plan.endpoints) return plan.endpoints.set;
    return this.#use?.set ?? this.#lastSet;
  }

  /** Once for each split that comes. */
  #warnOfSplit(profile: Profile | null): void {
    const split = (profile?.overrides ?? []).map((o) => `${o.authority}=${o.weight}`).join(" ");
    if (split === this.#split) return;
    this.#split = split;
    if (profile === null || profile.overrides.length < 2) return;
    this.#ctx.streams.log.warn(
      "A traffic split is not carried out: everything goes to the heaviest part",
      { target: this.#target.key, split },
    );
  }
}
