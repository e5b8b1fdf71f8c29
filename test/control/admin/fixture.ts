// A small mesh as the control plane and its proxies would describe it. Used by the admin plane's tests
// and by the page's screenshots.

import type { ProxyStats } from "../../../src/api/admin.ts";
import { parseSocketAddr } from "../../../src/core/addr.ts";
import type { HttpGet } from "../../../src/control/admin/scrape.ts";
import type {
  AdminState,
  ControlCounters,
  EndpointState,
  FilterState,
  IdentityState,
  MeshedPod,
  Problem,
  RolloutModule,
  RolloutResult,
  ServiceState,
} from "../../../src/control/admin/state.ts";

export const digest = (c: string): string => c.repeat(64);

export function identity(account: string): string {
  return `${account}.shop.serviceaccount.identity.linkerd.cluster.local`;
}

export function pod(name: string, ip: string, workload: string): MeshedPod {
  return {
    namespace: "shop",
    name,
    workload,
    ip,
    admin: { ip, port: 4191 },
    identity: identity(workload),
  };
}

export function endpoint(addr: string, podName: string, ready = true): EndpointState {
  return {
    addr: parseSocketAddr(addr),
    pod: podName,
    ready,
    identity: identity(podName.replace(/-\d+$/, "")),
  };
}

export function service(name: string, endpoints: readonly EndpointState[]): ServiceState {
  return {
    namespace: "shop",
    name,
    ports: [{ port: 8080, name: "http", protocol: "http" }],
    endpoints,
  };
}

export function filter(name: string, served: string, builds: string): FilterState {
  const modules = [...builds].map((c, i) => ({
    sha256: digest(c),
    size: 4000 + i,
    label: `${name}-${c}.wasm`,
  }));
  const current = { sha256: digest(served), size: 4000, label: `${name}-${served}.wasm` };
  return {
    name,
    namespace: "shop",
    targets: ["Service shop/catalogue"],
    wanted: current,
    served: current,
    state: "serving",
    reason: "",
    builds: modules,
  };
}

/** A state whose parts a test replaces; `touch` tells the subscribers. */
export class FakeState implements AdminState {
  serviceList: readonly ServiceState[] = [];
  filterList: readonly FilterState[] = [];
  podList: readonly MeshedPod[] = [];
  problemList: readonly Problem[] = [];
  identityState: IdentityState = { trustDomain: "cluster.local", anchors: [], issued: [] };
  counterState: ControlCounters = {
    streamsOpen: {},
    updatesSent: {},
    certificatesIssued: 0,
    refusals: {},
  };
  why: string | null = null;
  readonly rollouts: { name: string; module: RolloutModule }[] = [];
  result: RolloutResult | Error = { ok: true, sha256: digest("b"), previous: digest("a") };
  readonly #listeners = new Set<() => void>();

  services = () => this.serviceList;
  filters = () => this.filterList;
  pods = () => this.podList;
  problems = () => this.problemList;
  identities = () => this.identityState;
  counters = () => this.counterState;
  notReady = () => this.why;

  subscribe(changed: () => void): () => void {
    this.#listeners.add(changed);
    return () => void this.#listeners.delete(changed);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  touch(): void {
    for (const listener of this.#listeners) listener();
  }

  rollout(name: string, module: RolloutModule): Promise<RolloutResult> {
    this.rollouts.push({ name, module });
    return this.result instanceof Error
      ? Promise.reject(this.result)
      : Promise.resolve(this.result);
  }
}

export const NO_STATS: ProxyStats = {
  proxy: { pod: "p", rssMiB: 50, mtlsConnections: 0, plaintextConnections: 0 },
  endpoints: [],
  filters: [],
};

/** What one proxy's admin port answers. `null`: nobody answers. */
export interface FakeProxy {
  metrics: string;
  stats: ProxyStats | string;
  status?: number;
}

/** Answers by the host of the URL. */
export class FakeProxies implements HttpGet {
  readonly at = new Map<string, FakeProxy>();
  readonly asked: string[] = [];
  active = 0;
  mostActive = 0;

  async request(what: { url: string; timeoutMs: number; maxBytes: number }) {
    const { host, pathname } = new URL(what.url);
    this.asked.push(`${host}${pathname}`);
    this.mostActive = Math.max(this.mostActive, ++this.active);
    await Promise.resolve();
    this.active--;
    const proxy = this.at.get(host);
    if (proxy === undefined) throw new Error(`GET ${what.url} failed: the connection was refused`);
    const text = pathname === "/metrics"
      ? proxy.metrics
      : typeof proxy.stats === "string"
      ? proxy.stats
      : JSON.stringify(proxy.stats);
    return { status: proxy.status ?? 200, body: new TextEncoder().encode(text) };
  }
}

/** Lines of a proxy that called a service: counts since its start. */
export function outbound(to: string, counts: {
  ok: number;
  failed?: number;
  actualOk?: number;
  actualFailed?: number;
  /** Cumulative counts up to these bounds; the rest is slower. */
  le?: Readonly<Record<string, number>>;
  plain?: boolean;
}): string {
  const { ok, failed = 0, actualOk = ok, actualFailed = failed, le = {}, plain } = counts;
  const authority = `${to}.shop.svc.cluster.local:8080`;
  const tls = plain
    ? 'tls="no_identity",no_tls_reason="not_provided_by_service_discovery"'
    : `tls="true",server_id="${identity(to)}"`;
  const dst = `dst_namespace="shop",dst_service="${to}",dst_pod="${to}-0"`;
  const response = `direction="outbound",authority="${authority}",${tls},${dst}`;
  const route = `direction="outbound",dst="${authority}",rt_route="GET /"`;
  const buckets = Object.entries({ ...le, "+Inf": ok + failed });
  return [
    "# TYPE response_total counter",
    `response_total{${response},status_code="200",classification="success",grpc_status="",error=""} ${actualOk}`,
    `response_total{${response},status_code="503",classification="failure",grpc_status="",error=""} ${actualFailed}`,
    `route_response_total{${route},status_code="200",classification="success"} ${ok}`,
    `route_response_total{${route},status_code="503",classification="failure"} ${failed}`,
    `route_actual_response_total{${route},status_code="200",classification="success"} ${actualOk}`,
    `route_actual_response_total{${route},status_code="503",classification="failure"} ${actualFailed}`,
    ...buckets.map(([bound, n]) =>
      `route_response_latency_ms_bucket{${route},status_code="200",le="${bound}"} ${n}`
    ),
    `tcp_open_connections{direction="outbound",peer="dst",authority="${authority}",${tls},${dst}} 2`,
    "",
  ].join("\n");
}
