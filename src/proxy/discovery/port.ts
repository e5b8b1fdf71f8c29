// One inbound port: the configured default policy until the controller answers, then the controller's.
// A policy that cannot be converted denies everybody, since nobody knows whom it meant to admit.

import type { Server } from "../../api/gen/inbound_pb.ts";
import { serverPolicyFromWire } from "../../api/server-policy.ts";
import { errorText } from "../../core/errors.ts";
import { podLocalNetworks } from "../../model/loopback.ts";
import type { Authorization, Network, ServerPolicy, ServerRoute } from "../../model/policy.ts";
import type { RouteAction } from "../../model/route-action.ts";
import type { Route } from "../../model/route.ts";
import type { ProxyConfig } from "../config.ts";
import { hasPort } from "../config/grammar.ts";
import { DEFAULT_ROUTE } from "./combine.ts";
import type { InboundSnapshot } from "./discovery.ts";
import type { FilterStore } from "./filters.ts";
import { RouteChains } from "./route-chains.ts";
import { type Lease, Shared } from "./shared.ts";
import { accessRules } from "./standard-filters.ts";
import type { Streams } from "./streams.ts";

export type PortConfig = Pick<ProxyConfig, "inbound" | "policy">;

/** Watches a port, from construction to `close`. */
export class InboundPort {
  readonly shared: Shared<InboundSnapshot>;
  /** Settled once the controller has answered or failed for the first time. */
  readonly answered: Promise<void>;
  readonly #port: number;
  readonly #chains: RouteChains;
  readonly #stop: () => void;
  #policy: ServerPolicy;

  constructor(
    port: number,
    config: PortConfig,
    streams: Streams,
    filters: FilterStore,
    lease: Lease | null,
  ) {
    this.shared = new Shared(lease);
    this.#port = port;
    this.#chains = new RouteChains(filters, () => this.#publish());
    const first = Promise.withResolvers<void>();
    this.answered = first.promise;
    const { ips } = config.inbound;
    this.#policy = defaultServerPolicy(port, config);
    this.#set(this.#policy);
    this.#stop = streams.inboundPolicy(port, {
      message: (wire: Server) => {
        try {
          this.#set(withLocalhost(serverPolicyFromWire(wire), ips));
        } catch (e) {
          streams.log.error("An inbound policy cannot be used: the port denies everybody", {
            port,
            error: errorText(e),
          });
          // Neither by the server nor by a route of it.
          const routes = this.#policy.routes.map((r) => ({ ...r, authorizations: [] }));
          this.#set({ ...this.#policy, authorizations: [], routes });
        }
        first.resolve();
      },
      failed: () => first.resolve(),
    });
  }

  close(): void {
    this.#stop();
    this.#chains.close();
    this.shared.close();
  }

  /** Who is admitted counts at once; new routes when their filters are there. */
  #set(policy: ServerPolicy): void {
    this.#policy = policy;
    const { routes } = this.#chains;
    const plans = policy.routes.length === 0 ? [DEFAULT_ROUTE] : policy.routes;
    this.#chains.set(plans.map((route) => ({
      route: withServerActions(route, policy, String(this.#port)),
      filters: [...policy.filters, ...route.filters],
    })));
    if (routes !== null && routes === this.#chains.routes) this.#publish();
  }

  #publish(): void {
    const { routes } = this.#chains;
    if (routes !== null) this.shared.publish({ policy: this.#policy, routes });
  }
}

/**
 * What the port asks of every route, as actions of the route, before its own: who may use it, where that
 * is not the server's say alone, and how often.
 */
function withServerActions(route: ServerRoute, policy: ServerPolicy, scope: string): Route {
  const { authorizations = [], ...rest } = route;
  const { rateLimit = null } = policy;
  const actions: RouteAction[] = [];
  if (authorizations.length > 0) {
    const allow = accessRules([...policy.authorizations, ...authorizations]);
    actions.push({ kind: "authorize", allow: allow.length === 0 ? NOBODY : allow });
  }
  if (rateLimit !== null) actions.push({ kind: "rate-limit", scope, ...rateLimit });
  if (actions.length === 0) return rest;
  return { ...rest, actions: [...actions, ...route.actions ?? []] };
}

/** Without any rule the filter would let everybody pass. */
const NOBODY: readonly string[] = ["net:0.0.0.0/32 id:nobody"];

const EVERYWHERE: readonly Network[] = [
  { cidr: "0.0.0.0/0", except: [] },
  { cidr: "::/0", except: [] },
];

/** What the configuration says of a port that the controller has not spoken of. */
export function defaultServerPolicy(port: number, config: PortConfig): ServerPolicy {
  const { defaultPolicy, detectTimeoutMs, opaquePorts, ips } = config.inbound;
  const policy: ServerPolicy = {
    origin: { group: "", kind: "default", namespace: "", name: defaultPolicy, port: 0 },
    protocol: hasPort(opaquePorts, port) ? "opaque" : "detect",
    detectMs: detectTimeoutMs,
    authorizations: defaultAuthorizations(config),
    routes: [DEFAULT_ROUTE],
    filters: [],
  };
  return withLocalhost(policy, ips);
}

function defaultAuthorizations({ inbound, policy }: PortConfig): readonly Authorization[] {
  const name = inbound.defaultPolicy;
  if (name === "deny") return [];
  const networks = name.startsWith("cluster-")
    ? policy.clusterNetworks.map((cidr): Network => ({ cidr, except: [] }))
    : EVERYWHERE;
  return [{
    origin: { group: "", kind: "default", namespace: "", name, port: 0 },
    networks,
    authentication: name.endsWith("-authenticated")
      ? { kind: "identities", names: [], suffixes: [""] }
      : { kind: "unauthenticated" },
  }];
}

/** Everybody inside the pod is admitted, as in Linkerd: `default/localhost`. */
export function withLocalhost(policy: ServerPolicy, podIps: readonly string[]): ServerPolicy {
  const localhost: Authorization = {
    origin: { group: "", kind: "default", namespace: "", name: "localhost", port: 0 },
    networks: podLocalNetworks(podIps),
    authentication: { kind: "unauthenticated" },
  };
  return { ...policy, authorizations: [...policy.authorizations, localhost] };
}
