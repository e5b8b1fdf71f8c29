// Time-outs of an outbound policy's rule ↔ http_route.proto `Timeouts`.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { Route, RouteLimits } from "../model/route.ts";
import { durationFromWire, durationToWire } from "./duration.ts";
import type { Timeouts, TimeoutsSchema } from "./gen/http_route_pb.ts";

/** Null: there is none. The deprecated field counts only where the newer ones are absent. */
export function limitsFromWire(
  wire: Timeouts | undefined,
  deprecated: Duration | undefined,
  field: string,
): RouteLimits | null {
  const ms = (of: Duration | undefined, name: string) =>
    of === undefined ? 0 : durationFromWire(of, `${field}.${name}`);
  const limits = {
    requestMs: ms(wire === undefined ? deprecated : wire.request, "request"),
    responseMs: ms(wire?.response, "response"),
    idleMs: ms(wire?.idle, "idle"),
  };
  return Object.values(limits).some((n) => n > 0) ? limits : null;
}

/** A policy has no time-out of the head alone: it is the exchange's. */
export function timeoutsToWire(
  { timeoutMs, limits }: Route,
): { readonly timeouts?: MessageInitShape<typeof TimeoutsSchema> } {
  const { requestMs, responseMs, idleMs } = limits ??
    { requestMs: timeoutMs, responseMs: 0, idleMs: 0 };
  if (requestMs + responseMs + idleMs === 0) return {};
  return {
    timeouts: {
      ...(requestMs === 0 ? {} : { request: durationToWire(requestMs) }),
      ...(responseMs === 0 ? {} : { response: durationToWire(responseMs) }),
      ...(idleMs === 0 ? {} : { idle: durationToWire(idleMs) }),
    },
  };
}
