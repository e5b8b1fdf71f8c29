// The ServiceProfile of a name alone, for the inbound side: which route of the service a request from
// another proxy is, and what of the answers is a failure. Only metrics depend on it, so that the routes
// come without filters, retries and time-outs, and without endpoints.

import type { DestinationProfile } from "../../api/gen/destination_pb.ts";
import { profileFromWire } from "../../api/profile.ts";
import { errorText } from "../../core/errors.ts";
import { NO_FILTERS } from "../../core/filter.ts";
import type { Profile } from "../../model/profile.ts";
import { DEFAULT_RETRY_BUDGET, type Route } from "../../model/route.ts";
import { DEFAULT_ROUTE, type LookedUpTarget } from "./combine.ts";
import type { OutboundSnapshot } from "./discovery.ts";
import { type Lease, Shared } from "./shared.ts";
import type { Streams } from "./streams.ts";

/** Looks a profile up, from construction to `close`. The last good one stays. */
export class ProfileOnly {
  readonly shared: Shared<OutboundSnapshot>;
  readonly #stop: () => void;

  constructor(target: LookedUpTarget, streams: Streams, lease: Lease) {
    this.shared = new Shared(lease);
    this.#stop = streams.profile(target, {
      message: (wire: DestinationProfile) => {
        try {
          const profile = profileFromWire(wire, (why) => {
            streams.log.warn("A part of a profile is left out", {
              target: target.key,
              why: why.message,
            });
          });
          this.shared.publish(snapshotOf(target, profile));
        } catch (e) {
          streams.log.error("A profile cannot be used: the last good one stays in force", {
            target: target.key,
            error: errorText(e),
          });
        }
      },
      failed: ({ message }) => {
        if (this.shared.value === null) this.shared.explain(message);
      },
    });
  }

  close(): void {
    this.#stop();
    this.shared.close();
  }
}

/** One without a service, or that says nothing of its requests, has no routes. */
function snapshotOf({ key }: LookedUpTarget, profile: Profile): OutboundSnapshot {
  const { fullyQualifiedName, overrides } = profile;
  const says = fullyQualifiedName !== "" && profile.routes.length + overrides.length > 0;
  const routes = says ? [...profile.routes, DEFAULT_ROUTE] : [];
  return {
    authority: key,
    exists: fullyQualifiedName !== "",
    opaque: profile.opaque,
    routes: routes.map((route) => ({ route: onlyForMetrics(route), chain: NO_FILTERS })),
    budget: DEFAULT_RETRY_BUDGET,
    endpoints: null,
    defaultRttMs: 0,
    decayMs: 0,
    accrual: null,
  };
}

function onlyForMetrics({ name, match, responseClasses, labels }: Route): Route {
  return { name, match, responseClasses, labels, retry: null, timeoutMs: 0, filters: [] };
}
