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

/** What an endpoint's requests say of it; all else is as for any other. */
function aim(target: Target, x: Exchange, { endpoint, connect }: EndpointState): void {
  const { authority, labels } = endpoint;
  x.endpointLabels = labels;
  if (authority !== undefined || x.ownAuthority !== undefined) nameFor(x, authority);
  tellCanonical(x.request, connect.tls === null ? null : target.canonical);
}

/** The innermost layer: gives the attempt to an endpoint's connections. */
export function balance(
  target: Target,
  random: () => number,
  tap: TapHub = NOBODY,
): HttpService {
  const { driver } = target.reach;
  const now = () => driver.now;
  /** Sends it to one endpoint; who observes requests sees it. */
  const observed = (x: Exchange, reply: Reply, { endpoint, connect, client }: EndpointState) => {
    if (tap.active === 0) return client.dispatch(x, reply);
    const ends = outboundEnds(
      endpoint,
      connect.tls === null ? null : endpoint.identity?.name ?? "",
      (x.route as RouteState).route.labels,
    );
    return tapped(tap, now, x, reply, ends, (x, reply) => client.dispatch(x, reply));
  };
  const attempt = (x: Exchange, outer: Reply, isMoved: boolean, isQuiet: boolean): Sink => {
    const choice = target.keys !== null && x.choice === null
      ? pickByKey(target, target.keys, x, random)
      : pickByLoad(target, x, random);
    const { backend } = choice;
    let { endpoint } = choice;
    // What has waited goes where a connection is.
    if (isMoved && endpoint !== null && endpoint.client.isCold(x.request)) {
      endpoint = pickReady(target, x, endpoint, now(), random) ?? endpoint;
    }
    const route = x.route as RouteState;
    const series = backend === null ? route.backend : backend.series;
    const balancer = backend === null ? route.balancer : backend.balancer;
    if (x.backend !== series) {
      // It waited for another backend before.
      if (x.backend !== null) settle(x, 0, "IO", now());
      x.backend = series;
      series?.started();
    }
    // Who was given a cookie must be told, once.
    const reply = isMoved || x.givenCookie === "" || target.keys === null
      ? outer
      : target.keys.telling(x, outer);
    const wrong = endpoint === null ? null : wrongIdentity(x, endpoint);
    // Where a filter chose, it is the filter that is asked what comes after.
    const mayMove = !isMoved && wrong === null && endpoint !== null && x.choice === null;
    const isCold = mayMove && endpoint !== null && endpoint.client.isCold(x.request);
    if (!isMoved && !isCold) queued(balancer, x); // it came and waited once
    if (backend !== null && backend.authority === "") {
      reply.fail(
        backend.fails === null
          ? new MeshError("no-backend", "The route leads to a backend that does not exist")
          : new MeshError("policy", backend.fails),
      );
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
    if (wrong !== null) {
      reply.fail(wrong);
      return NOTHING_MORE;
    }
    aim(target, x, endpoint);
    const { client } = endpoint;
    const isAlone = (backend ?? target).endpoints.length < 2;
    if (!isCold && (!mayMove || isAlone || !client.mustConnect(x.request))) {
      return tap.active === 0 || isQuiet ? client.dispatch(x, reply) : observed(x, reply, endpoint);
    }
    return moving(x, reply, endpoint, backend, balancer, isCold);
  };
  // Apart, so that an attempt on an open connection makes no closures.
  const moving = (
    x: Exchange,
    reply: Reply,
    first: EndpointState,
    backend: BackendState | null,
    balancer: BalancerSeries | null,
    isCold: boolean,
  ): Sink => {
    if (isCold) balancer?.came();
    const isHttp2 = first.client.isHttp2(x.request);
    return elsewhere(x, reply, {
      driver,
      first: isCold && first.isAway(now()) ? null : (x, reply) => observed(x, reply, first),
      again: (x, reply) => attempt(x, reply, true, false),
      moves: (why) => {
        if (!hasOther(target, first, now())) return false;
        // Over HTTP/1 each of them was asked; over HTTP/2 it has only waited so far.
        if (!isHttp2) settle(x, 0, streamError(why), now());
        return true;
      },
      isCold,
      queue: isHttp2 ? backend?.queue ?? target.queueOf(backend?.authority ?? null) : null,
      settled: () => {
        if (isCold) queued(balancer, x);
      },
    });
  };
  // Not processed by `from`: it goes to another that is ready; else it waits until one is.
  target.replay = (x, outer, from) => {
    if (x.choice !== null) return null;
    // A request that has a key stays with its owner as long as that is there.
    const other = target.keys !== null ? null : pickReady(target, x, from, now(), random);
    const isCold = from.client.isCold(x.request);
    if (other === null && !isCold) return null;
    const to = other ?? from;
    aim(target, x, to);
    return elsewhere(x, outer, {
      driver,
      // Whoever observes the request sees it as one.
      first: other === null && to.isAway(now())
        ? null
        : (x, reply) => to.client.redispatch(x, reply),
      again: (x, reply) => attempt(x, reply, true, true),
      moves: () => hasOther(target, to, now()),
      isCold: other === null,
      queue: to.client.isHttp2(x.request) ? target.queueOf(from.endpoint.backend ?? null) : null,
      settled: () => {},
    });
  };
  return (x, reply) => attempt(x, reply, false, false);
}

/** One of the same backend that takes the request now, other than `from`. */
function pickReady(
  { endpoints }: Target,
  x: Exchange,
  from: EndpointState,
  now: number,
  random: () => number,
): EndpointState | null {
  const ready = endpoints.filter((e) =>
    isOther(e, from, now) && !e.client.isCold(x.request) && wrongIdentity(x, e) === null
  );
  return ready.length === 0 ? null : pickOf(ready, now, random);
}

function hasOther({ endpoints }: Target, from: EndpointState, now: number): boolean {
  return endpoints.some((e) => isOther(e, from, now));
}

/** Whether it is of the same backend, and may be asked. */
function isOther(e: EndpointState, from: EndpointState, now: number): boolean {
  return e !== from && e.endpoint.backend === from.endpoint.backend && !e.isAway(now) &&
    !e.isEjected(now);
}
