// The admin plane's schema: what `GET /api/…`, its events and `stats.json` of a proxy's admin port
// say. Used by the server (`control/admin`), the proxy's admin, the page's type checks, the CLI and
// tests. Times are milliseconds since the epoch, rates per second, durations milliseconds.

import { errorText } from "../core/errors.ts";
import type { Of } from "./schema.ts";
import {
  amount,
  dictionary,
  flag,
  list,
  Mismatch,
  nullable,
  object,
  oneOf,
  pattern,
  share,
  text,
} from "./schema.ts";

/** A module's digest: 64 lower-case hex digits. */
export const sha256 = pattern(/^[0-9a-f]{64}$/, "64 lower-case hex digits");

/** The largest module that a roll-out takes in its body. */
export const MAX_MODULE_BYTES = 4 * 1024 * 1024;

/** The largest JSON body that the admin plane reads. */
export const MAX_JSON_BYTES = 64 * 1024;

/** `stats.json` of a proxy: what Prometheus text is clumsy for. */
export const proxyStats = object({
  proxy: object({
    pod: text(),
    rssMiB: amount,
    /** Connections made or accepted under mutual TLS since start. */
    mtlsConnections: amount,
    /** Connections to or from other pods that were not; loopback does not count. */
    plaintextConnections: amount,
  }),
  endpoints: list(object({
    authority: text(),
    /** `ip:port`. */
    addr: text(),
    weight: amount,
    ewmaMs: amount,
    /** Requests in flight. */
    pending: amount,
    state: text(64),
  })),
  filters: list(object({
    name: text(),
    sha256: text(64),
    calls: amount,
    nsPerCall: amount,
    traps: amount,
    fuelExhausted: amount,
    /** The newest failure, or empty. */
    lastError: text(),
    /** `ready`, `loading`, `failed`; `replaced` or `unused` where another module, or none, runs now. */
    state: text(64),
  })),
});
export type ProxyStats = Of<typeof proxyStats>;

/** True for a module that requests run now; a proxy lists those that it replaced for their counts. */
export function isCurrent(filter: { readonly state: string }): boolean {
  return filter.state !== "replaced" && filter.state !== "unused";
}

/** Golden metrics over the last ten seconds. Null where nothing was seen, so that there is no answer. */
export const golden = object({
  /** Requests as their callers count them: a retry is not one more. */
  rps: amount,
  /** What callers saw after retries. */
  successRate: nullable(share),
  /** Per attempt. */
  actualSuccessRate: nullable(share),
  p50Ms: nullable(amount),
  p95Ms: nullable(amount),
  p99Ms: nullable(amount),
});
export type Golden = Of<typeof golden>;

/** How one proxy sees an endpoint. */
const endpointLoad = object({
  proxy: text(),
  weight: amount,
  ewmaMs: amount,
  pending: amount,
  state: text(64),
});

const endpointView = object({
  addr: text(),
  pod: nullable(text()),
  ready: flag,
  /** The identity that must answer there; null: not meshed. */
  identity: nullable(text()),
  /** One per proxy that balances over it, at most 64. */
  loads: list(endpointLoad),
});
export type EndpointView = Of<typeof endpointView>;

const serviceView = object({
  /** `namespace/name`. */
  id: text(),
  namespace: text(),
  name: text(),
  ports: list(object({ port: amount, name: text(), protocol: oneOf("http", "opaque", "detect") })),
  endpoints: list(endpointView),
  golden,
  /** Share of the requests to it that came over mutual TLS; null: no requests. */
  mtls: nullable(share),
});
export type ServiceView = Of<typeof serviceView>;

/** Who calls whom. `from` is a service's id, or `namespace/workload` of a client without a service. */
const edgeView = object({
  from: text(),
  to: text(),
  rps: amount,
  successRate: nullable(share),
  p95Ms: nullable(amount),
  /** Share under mutual TLS, of requests, or of open connections where there are no requests. */
  mtls: nullable(share),
  connections: amount,
});
export type EdgeView = Of<typeof edgeView>;

/** `GET /api/services`. */
export const servicesAnswer = object({
  services: list(serviceView),
  edges: list(edgeView),
});

const filterLoad = object({
  proxy: text(),
  sha256: text(64),
  calls: amount,
  nsPerCall: amount,
  traps: amount,
  fuelExhausted: amount,
  lastError: text(),
  state: text(64),
  /** False for a module that was replaced, and is listed for its counts. */
  current: flag,
});

const proxyView = object({
  /** `namespace/pod`. */
  id: text(),
  namespace: text(),
  pod: text(),
  workload: text(),
  /** Where its admin port is asked. */
  addr: text(),
  identity: nullable(text()),
  /** `away`: the newest scrape failed, and `why` says how; the figures are the last that were seen. */
  state: oneOf("starting", "up", "away"),
  why: text(),
  seenAt: nullable(amount),
  rssMiB: amount,
  mtlsConnections: amount,
  plaintextConnections: amount,
});
export type ProxyView = Of<typeof proxyView>;

/** `GET /api/proxies`. */
export const proxiesAnswer = object({ proxies: list(proxyView) });

const moduleView = object({ sha256, size: amount, label: text() });

const filterView = object({
  name: text(),
  namespace: text(),
  /** In words, such as `Service shop/catalogue`. */
  targets: list(text()),
  wanted: nullable(moduleView),
  /** What proxies are told to run: differs from `wanted` while that is refused. */
  served: nullable(moduleView),
  state: oneOf("serving", "pending", "refused"),
  /** Why it is pending or refused, or empty. */
  reason: text(),
  /** Builds in the registry that can be rolled out. */
  builds: list(moduleView),
  calls: amount,
  nsPerCall: amount,
  traps: amount,
  running: list(filterLoad),
});
export type FilterView = Of<typeof filterView>;

/** `GET /api/filters`. */
export const filtersAnswer = object({ filters: list(filterView) });

/** `GET /api/identities`: names, serials and dates; never a key. */
export const identitiesAnswer = object({
  trustDomain: text(),
  anchors: list(object({ name: text(), serial: text(), notAfter: amount })),
  identities: list(object({ name: text(), serial: text(), notAfter: amount })),
});

/** Event `snapshot`, each second: all that the page shows. */
export const snapshot = object({
  at: amount,
  services: list(serviceView),
  edges: list(edgeView),
  proxies: list(proxyView),
  filters: list(filterView),
  /** How many there are: an event carries the busiest only, `GET /api/…` all. */
  total: object({ services: amount, edges: amount, proxies: amount, filters: amount }),
  /** What is wrong now and still served around, such as a file that cannot be read. */
  problems: list(object({ source: text(), message: text() })),
});
export type Snapshot = Of<typeof snapshot>;

/** Event `history`, once when a stream begins: a point a second, oldest first, by service id. */
export const history = object({
  stepMs: amount,
  services: dictionary(object({
    rps: list(amount),
    successRate: list(nullable(share)),
    p95Ms: list(nullable(amount)),
  })),
});
export type History = Of<typeof history>;

/** Event `swap`: another module of a filter, at the control plane (`proxy` null) or in a proxy. */
export const swapEvent = object({
  at: amount,
  filter: text(),
  proxy: nullable(text()),
  from: nullable(text(64)),
  to: text(64),
});
/** Event `failure`: something failed; the last good state is in use. (`error` is a browser's own event.) */
export const failureEvent = object({ at: amount, source: text(), message: text() });
/** Event `endpoints`: addresses that joined, left, or changed their readiness. */
export const endpointsEvent = object({
  at: amount,
  service: text(),
  added: list(text()),
  removed: list(text()),
  /** Known before, and ready again. */
  ready: list(text()),
  /** Known still, and ready no longer. */
  notReady: list(text()),
});

/** An event that is kept for a client that comes back (`Last-Event-ID`). */
export type AdminEvent =
  | { readonly type: "swap"; readonly data: Of<typeof swapEvent> }
  | { readonly type: "failure"; readonly data: Of<typeof failureEvent> }
  | { readonly type: "endpoints"; readonly data: Of<typeof endpointsEvent> };

/** JSON body of `POST /api/filters/:name/rollout`: a build that the registry has. */
export const rolloutRequest = object({ sha256 });

/** What a roll-out answers with 200. */
export const rolloutAnswer = object({ name: text(), sha256, previous: nullable(sha256) });
export type RolloutAnswer = Of<typeof rolloutAnswer>;

/** Body of every answer of 400 and above. */
export const errorAnswer = object({ error: text() });

/** Reads JSON text, or says in one line why it cannot be. */
export function readJson<T>(
  check: (value: unknown, at: string) => T,
  json: string,
): { readonly value: T } | { readonly error: string } {
  try {
    return { value: check(JSON.parse(json), "") };
  } catch (e) {
    return { error: e instanceof Mismatch ? e.message : `not JSON: ${errorText(e)}` };
  }
}
