// Joins what the control plane knows with what proxies say, to the one value that the page, the API
// and the event stream show. Pure: the same state and scrapes give the same view.

import type {
  EdgeView,
  EndpointView,
  FilterView,
  ProxyView,
  ServiceView,
  Snapshot,
} from "../../api/admin.ts";
import { isCurrent } from "../../api/admin.ts";
import { formatSocketAddr } from "../../core/addr.ts";
import { Tally } from "./golden.ts";
import type { ScrapedProxy } from "./scrape.ts";
import { podKey } from "./scrape.ts";
import type { AdminState, FilterState, ServiceState } from "./state.ts";
import { INBOUND } from "./traffic.ts";

/** Proxies that are listed for one endpoint; more say nothing new. */
const MAX_LOADS = 16;

/** All of the mesh at one moment. `nowMs` is the clock on which proxies were scraped. */
export function buildView(
  state: AdminState,
  scraped: ReadonlyMap<string, ScrapedProxy>,
  nowMs: number,
  wallMs: number,
): Snapshot {
  const services = state.services();
  // In the order of their names, not in the one in which they answered.
  const proxies = new Map([...scraped].sort(([a], [b]) => (a < b ? -1 : 1)));
  const traffic = new Traffic(services, proxies, nowMs);
  const loads = loadsByAddr(proxies);
  const toWall = (ms: number | null) => (ms === null ? null : wallMs - (nowMs - ms));
  const edges = traffic.edges();
  const filters = state.filters();
  const explain = (sha256: string, reason: string) => state.explain?.(sha256, reason) ?? reason;
  return {
    at: wallMs,
    total: {
      services: services.length,
      edges: edges.length,
      proxies: proxies.size,
      filters: filters.length,
    },
    services: services.map((service) => serviceView(service, traffic, loads)),
    edges,
    proxies: [...proxies.values()].map((proxy) => proxyView(proxy, toWall(proxy.seenMs))),
    filters: filters.map((filter) => filterView(filter, proxies, explain)),
    problems: state.problems().map(({ source, message }) => ({ source, message })),
  };
}

/** Bounds of one `snapshot` event; the API's answers are whole. */
const MAX_SHOWN = { services: 500, endpoints: 100, edges: 2000, proxies: 1000, filters: 500 };

/** The view with its lists cut to what one event may carry: the busiest services and edges. */
export function bounded(view: Snapshot): Snapshot {
  return {
    ...view,
    services: busiest(view.services, MAX_SHOWN.services, (service) => service.golden.rps)
      .map((service) => ({
        ...service,
        endpoints: service.endpoints.slice(0, MAX_SHOWN.endpoints),
      })),
    edges: busiest(view.edges, MAX_SHOWN.edges, (edge) => edge.rps),
    proxies: view.proxies.slice(0, MAX_SHOWN.proxies),
    filters: view.filters.slice(0, MAX_SHOWN.filters)
      .map((filter) => ({ ...filter, running: filter.running.slice(0, MAX_SHOWN.endpoints) })),
  };
}

function busiest<T>(list: readonly T[], max: number, rps: (item: T) => number): readonly T[] {
  return list.length <= max ? list : list.toSorted((a, b) => rps(b) - rps(a)).slice(0, max);
}

/** `namespace/name`, as services are named in the graph. */
export function serviceId(service: { readonly namespace: string; readonly name: string }): string {
  return `${service.namespace}/${service.name}`;
}

/** Tallies by service and by edge, from every proxy's window. */
class Traffic {
  readonly #called = new Map<string, Tally>();
  /** By the two names, which hold no space. */
  readonly #edges = new Map<string, { from: string; to: string; tally: Tally }>();
  readonly #received = new Map<string, Tally>();

  constructor(
    services: readonly ServiceState[],
    proxies: ReadonlyMap<string, ScrapedProxy>,
    nowMs: number,
  ) {
    const known = new Set(services.map(serviceId));
    const home = servicesByPod(services);
    for (const [key, { pod, window }] of proxies) {
      const from = home.get(key) ?? `${pod.namespace}/${pod.workload}`;
      for (const cell of window.cells(nowMs)) {
        const sums = window.sums(cell, nowMs);
        if (cell === INBOUND) tallyIn(this.#received, from).add(sums);
        else if (known.has(cell)) {
          tallyIn(this.#called, cell).add(sums);
          const edge = this.#edges.get(`${from} ${cell}`) ?? { from, to: cell, tally: new Tally() };
          this.#edges.set(`${from} ${cell}`, edge);
          edge.tally.add(sums);
        }
      }
    }
  }

  /** What meshed callers saw of the service; without any, what its own proxies answered. */
  of(service: string): Tally {
    const called = this.#called.get(service) ?? new Tally();
    const received = this.#received.get(service);
    return called.requests === 0 && received !== undefined ? received : called;
  }

  edges(): EdgeView[] {
    return [...this.#edges.values()]
      .filter(({ tally }) => tally.requests > 0 || tally.connections > 0)
      .map(({ from, to, tally }) => ({
        from,
        to,
        rps: tally.rps,
        successRate: tally.successRate,
        p95Ms: tally.latency(0.95),
        mtls: tally.mtls,
        connections: tally.connections,
      }));
  }
}

function tallyIn(tallies: Map<string, Tally>, key: string): Tally {
  let tally = tallies.get(key);
  if (tally === undefined) tallies.set(key, tally = new Tally());
  return tally;
}

/** The service that a pod stands for in the graph: the first by name where it is behind several. */
function servicesByPod(services: readonly ServiceState[]): Map<string, string> {
  const home = new Map<string, string>();
  for (const service of services) {
    const id = serviceId(service);
    for (const { pod } of service.endpoints) {
      if (pod === null) continue;
      const key = podKey({ namespace: service.namespace, name: pod });
      const other = home.get(key);
      if (other === undefined || id < other) home.set(key, id);
    }
  }
  return home;
}

type Load = EndpointView["loads"][number];

function loadsByAddr(proxies: ReadonlyMap<string, ScrapedProxy>): Map<string, Load[]> {
  const loads = new Map<string, Load[]>();
  for (const [proxy, { state, stats }] of proxies) {
    if (state !== "up" || stats === null) continue;
    for (const { addr, weight, ewmaMs, pending, state } of stats.endpoints) {
      const list = loads.get(addr) ?? [];
      loads.set(addr, list);
      if (list.length < MAX_LOADS) list.push({ proxy, weight, ewmaMs, pending, state });
    }
  }
  return loads;
}

function serviceView(
  service: ServiceState,
  traffic: Traffic,
  loads: ReadonlyMap<string, Load[]>,
): ServiceView {
  const id = serviceId(service);
  const tally = traffic.of(id);
  return {
    id,
    namespace: service.namespace,
    name: service.name,
    ports: service.ports,
    endpoints: service.endpoints.map(({ addr, pod, ready, identity }) => {
      const text = formatSocketAddr(addr);
      return { addr: text, pod, ready, identity, loads: loads.get(text) ?? [] };
    }),
    golden: tally.golden(),
    mtls: tally.mtls,
  };
}

function proxyView({ pod, state, why, stats }: ScrapedProxy, seenAt: number | null): ProxyView {
  return {
    id: podKey(pod),
    namespace: pod.namespace,
    pod: pod.name,
    workload: pod.workload,
    addr: formatSocketAddr(pod.admin),
    identity: pod.identity,
    state,
    why,
    seenAt,
    rssMiB: stats?.proxy.rssMiB ?? 0,
    mtlsConnections: stats?.proxy.mtlsConnections ?? 0,
    plaintextConnections: stats?.proxy.plaintextConnections ?? 0,
  };
}

function filterView(
  filter: FilterState,
  proxies: ReadonlyMap<string, ScrapedProxy>,
  explain: (sha256: string, reason: string) => string,
): FilterView {
  const running = [...proxies].flatMap(([proxy, { stats }]) =>
    (stats?.filters ?? []).filter(({ name }) => name === filter.name)
      .map(({ name: _, ...load }) => ({
        proxy,
        ...load,
        lastError: load.lastError === "" ? "" : explain(load.sha256, load.lastError),
        current: isCurrent(load),
      }))
  );
  const sum = (loads: typeof running, of: (load: (typeof running)[number]) => number) =>
    loads.reduce((total, load) => total + of(load), 0);
  const current = running.filter((load) => load.current);
  const currentCalls = sum(current, (load) => load.calls);
  return {
    name: filter.name,
    namespace: filter.namespace,
    targets: filter.targets,
    wanted: filter.wanted,
    served: filter.served,
    state: filter.state,
    reason: filter.reason,
    builds: filter.builds,
    calls: sum(running, (load) => load.calls),
    // What runs now; a busy proxy's mean counts for more.
    nsPerCall: currentCalls > 0
      ? sum(current, (load) => load.nsPerCall * load.calls) / currentCalls
      : 0,
    traps: sum(running, (load) => load.traps),
    running,
  };
}
