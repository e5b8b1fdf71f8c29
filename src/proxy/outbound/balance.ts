// Picks the endpoint of an attempt: power of two choices over peak EWMA, among those that can be
// reached as long as there are any.

import type { HttpService } from "../../core/exchange.ts";
import { MeshError } from "../../core/errors.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import type { EndpointState } from "./endpoint.ts";
import { pickP2c } from "./peak-ewma.ts";
import type { Target } from "./target.ts";

/** Chooses among the endpoints that are ready, or null when there are none. */
export function pickEndpoint(target: Target, random: () => number): EndpointState | null {
  const { endpoints } = target;
  if (endpoints.length === 0) return null;
  const { now } = target.reach.driver;
  const picked = pickOf(endpoints, now, random);
  if (!picked.isAway(now)) return picked;
  const near = endpoints.filter((e) => !e.isAway(now));
  return near.length === 0 ? picked : pickOf(near, now, random);
}

function pickOf(endpoints: readonly EndpointState[], now: number, random: () => number) {
  const load = (i: number) => {
    const endpoint = endpoints[i] as EndpointState;
    return endpoint.isAway(now) ? Infinity : endpoint.ewma.load(now);
  };
  return endpoints[pickP2c(endpoints.length, load, random)] as EndpointState;
}

/** The innermost layer: gives the attempt to an endpoint's connections. */
export function balance(target: Target, random: () => number): HttpService {
  return (x, reply) => {
    const endpoint = pickEndpoint(target, random);
    if (endpoint === null) {
      reply.fail(
        new MeshError(
          "failfast",
          `No endpoint of ${target.snapshot?.authority ?? "the target"} is ready`,
        ),
      );
      return NOTHING_MORE;
    }
    x.endpoint = endpoint;
    x.endpointLabels = endpoint.endpoint.labels;
    return endpoint.client.dispatch(x, reply);
  };
}
