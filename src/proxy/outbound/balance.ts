// Picks the endpoint of an attempt: power of two choices over peak EWMA, among those that can be
// reached as long as there are any.

import type { EndpointChoice, Exchange, HttpService, Reply, Sink } from "../../core/exchange.ts";
import { MeshError } from "../../core/errors.ts";
import { headerName } from "../../core/head.ts";
import { tellCanonical } from "../http/canonical.ts";
import { NOTHING_MORE } from "../http/sinks.ts";
import type { BalancerSeries } from "../metrics/balancers.ts";
import { streamError } from "../metrics/errors.ts";
import { settle } from "./attempt-facts.ts";
import { elsewhere } from "./elsewhere.ts";
import type { EndpointState } from "./endpoint.ts";
import type { KeyReader } from "./hash-key.ts";
import { again } from "./hash-ring.ts";
import { pickP2c } from "./peak-ewma.ts";
import { NOBODY, type TapHub } from "../tap/hub.ts";
import { outboundEnds } from "../tap/ends.ts";
import { tapped } from "../tap/tapped.ts";
import { type BackendState, pickBackend } from "./split.ts";
import type { RouteState, Target } from "./target.ts";

const REQUIRE_ID = headerName("l5d-require-id");

/**
 * Chooses among the endpoints that are ready and not ejected, or null when there are none. One that
 * could not be connected to is left alone while there is another.
 */
export function pickEndpoint(
  target: Target,
  random: () => number,
  choice: EndpointChoice | null = null,
  backend: BackendState | null = backendOf(target, target.routes.at(-1), random),
): EndpointState | null {
  const { now } = target.reach.driver;
  const all = backend === null ? target.endpoints : backend.endpoints;
  let endpoints = choice === null ? all : chosen(all, choice);
  for (const one of endpoints) {
    if (!one.isEjected(now)) continue;
    endpoints = endpoints.filter((e) => !e.isEjected(now));
    break;
  }
  if (endpoints.length === 0) {
    return choice !== null && !choice.strict ? pickEndpoint(target, random, null, backend) : null;
  }
  const picked = pickOf(endpoints, now, random);
  if (!picked.isAway(now)) return picked;
  const near = endpoints.filter((e) => !e.isAway(now));
  return near.length === 0 ? picked : pickOf(near, now, random);
}

/** The backend of a route whose traffic goes to several; null: there is no such choice. */
function backendOf(
  target: Target,
  route: RouteState | undefined,
  random: () => number,
): BackendState | null {
  const split = route?.split ?? null;
  return split === null ? null : pickBackend(split, target.reach.driver.now, random);
}

/** What a filter asked for: endpoints with a label, or all when there are none and any will do. */
function chosen(all: readonly EndpointState[], choice: EndpointChoice): readonly EndpointState[] {
  const { label, value, strict } = choice;
  const having = all.filter(({ endpoint: { labels } }) =>
    Object.hasOwn(labels, label) && labels[label] === value
  );
  return having.length > 0 || strict ? having : all;
}

function pickOf(endpoints: readonly EndpointState[], now: number, random: () => number) {
  const load = (i: number) => {
    const endpoint = endpoints[i] as EndpointState;
    return endpoint.isAway(now) ? Infinity : endpoint.ewma.load(now);
  };
  return endpoints[pickP2c(endpoints.length, load, random)] as EndpointState;
}

/** What a backend is drawn with for a request that has a key: requests with the same key get the same. */
let keyFraction = 0;
const byKey = () => keyFraction;

/** What of a destination an attempt goes to. */
interface Choice {
  backend: BackendState | null;
  endpoint: EndpointState | null;
}
/** Used again for each attempt. */
const picked: Choice = { backend: null, endpoint: null };

/** The endpoint to which the request's key belongs; one without a key goes where load is least. */
function pickByKey(target: Target, keys: KeyReader, x: Exchange, random: () => number): Choice {
  const route = x.route as RouteState;
  let hash = keys.read(x);
  const hadKey = hash >= 0;
  if (!hadKey && keys.gives) hash = keys.give(x, random);
  if (hash < 0) {
    target.hashes?.add("none");
    return pickByLoad(target, x, random);
  }
  // Not the hash itself, which says where on the ring: the backends' shares of it would be uneven.
  keyFraction = again(hash) / 0x1_0000_0000;
  picked.backend = backendOf(target, route, byKey);
  const ring = picked.backend === null ? target.ring : picked.backend.ring;
  picked.endpoint = ring?.pick(hash, x.attempt, target.reach.driver.now) ?? null;
  target.hashes?.add(!hadKey ? "given" : ring?.moved === true ? "moved" : "owner");
  return picked;
}

function pickByLoad(target: Target, x: Exchange, random: () => number): Choice {
  picked.backend = backendOf(target, x.route as RouteState, random);
  picked.endpoint = pickEndpoint(target, random, x.choice, picked.backend);
  return picked;
}

/** A client may say who must answer it; null: that is who does, or it said nothing. */
function wrongIdentity(x: Exchange, { connect, name }: EndpointState): MeshError | null {
  const i = x.request.find(REQUIRE_ID);
  if (i < 0) return null;
  const has = connect.tls === null ? "no identity" : connect.tls.identity;
  return x.request.valueAt(i) === has ? null : new MeshError(
    "identity-required",
    `${name} has ${has}, not the one that l5d-require-id asks for`,
  );
}

/** Counts what comes to a backend, and how long it waited for an endpoint. */
export function queued(balancer: BalancerSeries | null, x: Exchange): void {
  if (balancer === null) return;
  if (x.waitedMs === 0) balancer.passed();
  else balancer.waited(x.waitedMs);
  x.waitedMs = 0;
}

/** A gateway is asked for what it is to go on to, anybody else for what the client or a filter named. */
function nameFor(x: Exchange, authority: string | undefined): void {
  const { request } = x;
  if (x.ownAuthority === undefined) x.ownAuthority = request.newAuthority;
  request.newAuthority = authority ?? x.ownAuthority;
}

/** The innermost layer: gives the attempt to an endpoint's connections. */
export function balance(
  target: Target,
  random: () => number,
  tap: TapHub = NOBODY,
): HttpService {
  const now = () => target.reach.driver.now;
  const attempt = (x: Exchange, outer: Reply, isMoved: boolean): Sink => {
    const { backend, endpoint } = target.keys !== null && x.choice === null
      ? pickByKey(target, target.keys, x, random)
      : pickByLoad(target, x, random);
    const route = x.route as RouteState;
    const series = backend === null ? route.backend : backend.series;
    const balancer = backend === null ? route.balancer : backend.balancer;
    x.backend = series;
    series?.started();
    if (!isMoved) queued(balancer, x); // it came and waited once
    // Who was given a cookie must be told.
    const reply = x.givenCookie === "" || target.keys === null
      ? outer
      : target.keys.telling(x, outer);
    if (backend !== null && backend.authority === "") {
      reply.fail(new MeshError("no-backend", "The route leads to a backend that does not exist"));
      return NOTHING_MORE;
    }
    if (endpoint === null) {
      const { choice } = x;
      const which = choice === null ? "" : ` with ${choice.label}=${choice.value}`;
      const authority = backend?.authority || (target.snapshot?.authority ?? "the target");
      const why = (backend ?? target).endpoints.length === 0
        ? "ready"
        : "available: all were ejected or excluded";
      reply.fail(new MeshError("failfast", `No endpoint of ${authority}${which} is ${why}`));
      return NOTHING_MORE;
    }
    const wrong = wrongIdentity(x, endpoint);
    if (wrong !== null) {
      reply.fail(wrong);
      return NOTHING_MORE;
    }
    x.endpointLabels = endpoint.endpoint.labels;
    const { client, endpoint: { authority } } = endpoint;
    if (authority !== undefined || x.ownAuthority !== undefined) nameFor(x, authority);
    tellCanonical(x.request, endpoint.connect.tls === null ? null : target.canonical);
    const isAlone = (backend ?? target).endpoints.length < 2;
    // Where a filter chose, it is the filter that is asked what comes after.
    const stays = isMoved || isAlone || x.choice !== null || !client.mustConnect(x.request);
    if (stays && tap.active === 0) return client.dispatch(x, reply);
    const send: HttpService = (x, reply) => {
      if (tap.active === 0) return client.dispatch(x, reply);
      const ends = outboundEnds(
        endpoint.endpoint,
        endpoint.connect.tls === null ? null : endpoint.endpoint.identity?.name ?? "",
        (x.route as RouteState).route.labels,
      );
      return tapped(tap, now, x, reply, ends, (x, reply) => client.dispatch(x, reply));
    };
    if (stays) return send(x, reply);
    return elsewhere(x, reply, {
      first: send,
      again: (x, reply) => attempt(x, reply, true),
      moves: (why) => {
        const at = now();
        const isThere = target.endpoints.some((e) =>
          e !== endpoint && (backend === null || e.endpoint.backend === backend.authority) &&
          !e.isAway(at) && !e.isEjected(at)
        );
        if (isThere) settle(x, 0, streamError(why), at);
        return isThere;
      },
    });
  };
  return (x, reply) => attempt(x, reply, false);
}
