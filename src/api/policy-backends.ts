// Where the rules of an outbound policy lead: their distributions over backends, read from outbound.proto.

import type { Duration } from "@bufbuild/protobuf/wkt";
import { formatSocketAddr } from "../core/addr.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { ClientPolicy } from "../model/profile.ts";
import type { RouteSplit } from "../model/route.ts";
import { durationFromWire } from "./duration.ts";
import { endpointFromWire } from "./endpoint.ts";
import type { Backend } from "./gen/outbound_pb.ts";
import { hashFromWire } from "./hash-key.ts";
import { originFromWire } from "./origin.ts";
import { required, WireError } from "./wire-error.ts";

/** Where requests end up: a balancer, one address, or nowhere. */
export type Target = Pick<
  ClientPolicy,
  "destination" | "forward" | "defaultRttMs" | "decayMs" | "hash" | "backend"
>;

/** One of the places. */
interface Lead {
  readonly target: Target;
  readonly weight: number;
  /** What it answers where it is none; absent: it does not say. */
  readonly fails?: string;
}

/** Where the requests of a rule go: to one place, or to several. */
export interface Leads {
  readonly pick: RouteSplit["pick"];
  readonly to: readonly Lead[];
}
/** Requests that get there fail. */
export const NOWHERE: Target = {
  destination: "",
  forward: null,
  defaultRttMs: 30,
  decayMs: 10_000,
};
export const TO_NOWHERE: Leads = { pick: "first", to: [{ target: NOWHERE, weight: 1 }] };

/** The one place that all rules of a policy lead to, or null: there are several. */
export function onlyTarget(rules: readonly { readonly leads: Leads }[]): Target | null {
  const all = rules.flatMap((r) => r.leads.to.map((t) => t.target));
  const [first, ...rest] = all;
  if (first === undefined) return NOWHERE;
  const same = leadText(first);
  return rest.every((t) => leadText(t) === same) ? first : null;
}

/** What is the same for targets that are the same, whatever they are called and weigh. */
function leadText({ backend: _, forward, ...target }: Target): string {
  return JSON.stringify({
    ...target,
    forward: forward === null ? null : { ...forward, weight: 0 },
  });
}

/** A part that leads nowhere fails its share of the requests, as a backend without endpoints does. */
export function splitOf({ pick, to }: Leads): RouteSplit {
  return {
    pick,
    backends: to.map(({ target, weight, fails }) => {
      const { backend: origin, forward } = target;
      return {
        authority: forward === null ? target.destination : formatSocketAddr(forward.addr),
        weight,
        ...(forward === null ? {} : { forward }),
        ...(fails === undefined ? {} : { fails }),
        ...(origin === undefined ? {} : { origin }),
      };
    }),
  };
}

/** A distribution of any route type; they differ only in their filters' types. */
type Distribution =
  | { case: "empty"; value: object }
  | { case: "firstAvailable"; value: { backends: readonly RouteBackend[] } }
  | {
    case: "randomAvailable";
    value: {
      backends: readonly { readonly backend?: RouteBackend | undefined; readonly weight: number }[];
    };
  }
  | { case: undefined; value?: undefined };

interface RouteBackend {
  readonly backend?: Backend | undefined;
  readonly filters: readonly AnyFilter[];
}
/** Those of opaque and TLS routes say no whatever they are. */
type AnyFilter = {
  readonly kind: { readonly case?: string | undefined; readonly value?: unknown };
};

/** Backends of one rule. */
const MAX_BACKENDS = 64;
/** Of what a failure says. */
const MAX_TEXT = 256;

/**
 * `builtIn` are the filters of the only backend, `each` those of each of several in the order of `to`;
 * null: none of them has any.
 */
export function leadsFromWire(
  wire: Distribution | undefined,
  field: string,
): Leads & {
  readonly builtIn: readonly AnyFilter[];
  readonly each: readonly (readonly AnyFilter[])[] | null;
} {
  if (wire?.case === undefined) throw new WireError(field, "is missing");
  if (wire.case === "empty") return { ...TO_NOWHERE, builtIn: [], each: null };
  const pick = wire.case === "firstAvailable" ? "first" : "random";
  const listed = wire.case === "firstAvailable"
    ? wire.value.backends.map((backend) => ({ backend, weight: 1 }))
    : wire.value.backends;
  if (listed.length === 0) throw new WireError(`${field}.backends`, "is empty");
  if (listed.length > MAX_BACKENDS) {
    throw new WireError(`${field}.backends`, `has more than ${MAX_BACKENDS} entries`);
  }
  const backends = listed.filter((b) => b.weight > 0);
  // Nobody takes a share of it: its requests fail, and those of other rules do not.
  if (backends.length === 0) return { ...TO_NOWHERE, builtIn: [], each: null };
  const to = backends.map(({ backend, weight }, i): Lead => {
    const fails = failureOf(backend);
    return {
      target: targetFromWire(required(backend, field), `${field}.backends[${i}]`),
      weight,
      ...(fails === null ? {} : { fails }),
    };
  });
  const [only, ...more] = backends;
  if (more.length === 0) {
    return { pick, to, builtIn: only?.backend?.filters ?? [], each: null };
  }
  // One without a kind fails its share, which is all that its filters say.
  const each = backends.map(({ backend: b }) =>
    b?.backend?.kind.case === undefined ? [] : b.filters
  );
  return { pick, to, builtIn: [], each: each.some((filters) => filters.length > 0) ? each : null };
}

/** The text that a backend without a kind answers with. */
function failureOf(of: RouteBackend | undefined): string | null {
  if (of?.backend?.kind.case !== undefined) return null;
  for (const { kind } of of?.filters ?? []) {
    if (kind.case !== "failureInjector") continue;
    const { message } = kind.value as { readonly message: string };
    return message.replace(/[^\x20-\x7e]/g, "?").slice(0, MAX_TEXT);
  }
  return null;
}

function targetFromWire(wire: RouteBackend, field: string): Target {
  const backend = required(wire.backend, `${field}.backend`);
  required(backend.metadata, `${field}.backend.metadata`);
  required(backend.queue?.failfastTimeout, `${field}.backend.queue.failfast_timeout`);
  if (backend.kind.case === undefined) return NOWHERE;
  const named = backend.metadata?.kind.case === "resource"
    ? { backend: originFromWire(backend.metadata, `${field}.backend.metadata`) }
    : {};
  if (backend.kind.case === "forward") {
    const forward: Endpoint = endpointFromWire(backend.kind.value, {}, `${field}.forward`);
    return { ...NOWHERE, forward, ...named };
  }
  return { ...balancerFromWire(backend.kind.value, `${field}.balancer`), ...named };
}

function balancerFromWire(
  wire: Extract<Backend["kind"], { case: "balancer" }>["value"],
  field: string,
): Target {
  const destination = wire.discovery?.kind.value?.path ?? "";
  if (destination === "") throw new WireError(`${field}.discovery.dst.path`, "is missing");
  const hash = hashFromWire(wire.hash, `${field}.hash`);
  const load = required(wire.load.value, `${field}.load`);
  const duration = (wire: Duration | undefined, name: string) =>
    durationFromWire(required(wire, `${field}.load.${name}`), `${field}.load.${name}`);
  return {
    destination,
    forward: null,
    defaultRttMs: duration(load.defaultRtt, "default_rtt"),
    decayMs: duration(load.decay, "decay"),
    ...(hash === null ? {} : { hash }),
  };
}
