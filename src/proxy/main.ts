// The proxy process: reads the configuration, wires control side and data plane, serves, drains.
// Entry point under Node and Deno; `runStatic` is the same data plane without a control plane.

import { delay } from "../core/clock.ts";
import { formatSocketAddr, type SocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import type { FilterRef, FilterStats } from "../core/filter.ts";
import { createLogger, type Logger } from "../core/log.ts";
import { createTimer } from "../core/timers.ts";
import type { Watch } from "../core/watch.ts";
import { readEnv } from "../runtime/env.ts";
import { createGrpcClient } from "../runtime/grpc-client.ts";
import { serveHttp } from "../runtime/http-server.ts";
import { readIdentityDir } from "../runtime/identity-dir.ts";
import { moduleDir } from "../runtime/module-cache.ts";
import { MeshTls } from "../runtime/mesh-tls.ts";
import { NetDriver } from "../runtime/net-driver.ts";
import { listen, type NetListener } from "../runtime/net-listener.ts";
import {
  exit,
  onStopSignal,
  processUsage,
  SYSTEM_CLOCK,
  writeErrorLine,
} from "../runtime/process.ts";
import { openSecrets } from "../runtime/secrets.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { signatureCheck } from "../../wasm/host/signature.ts";
import { createProxyAdmin } from "./admin.ts";
import { backoffOf, ConfigError, parseConfig, type ProxyConfig } from "./config.ts";
import { PROXY_ENV } from "./config/names.ts";
import { type Credentials, keepCredentials } from "./credentials.ts";
import type { FilterStatus } from "./discovery/filters.ts";
import { createMeshDiscovery } from "./discovery/mesh.ts";
import { createStaticDiscovery } from "./discovery/static.ts";
import { hostSeries } from "./filter-series.ts";
import { Inbound } from "./inbound/accept.ts";
import { ProxyMetrics } from "./metrics.ts";
import { outboundAccept } from "./outbound/accept.ts";
import { CalloutClient } from "./outbound/callouts.ts";
import { Targets } from "./outbound/targets.ts";
import { Draining, MAX_HEAD_BYTES, reachOptions, serverOptions, STATIC_OUTBOUND } from "./serve.ts";
import type { StaticOptions } from "./static-options.ts";

/** Ends within this long after it was asked, whatever is still open, for `tulle proxy`. */
const STATIC_GRACE_MS = 5_000;

/** How long the policies of the configured ports are waited for before they are served. */
const PORTS_MS = 2_000;

/** Runs a proxy that is configured by `LINKERD2_PROXY_*`. Resolves when it has drained. */
export async function runProxy(config: ProxyConfig): Promise<void> {
  const clock = SYSTEM_CLOCK;
  const log = createLogger({ ...config.log, wall: clock.wall, write: writeErrorLine });
  const { driver, mesh, metrics, draining } = dataPlane(log);
  const { identity, inbound, outbound } = config;

  // Control side: certificates first, since everything else may need them.
  const secrets = await openSecrets({ ...identity, name: identity.id });
  const clients = [identity.svc, config.destination.svc, config.policy.svc]
    .map((svc) => createGrpcClient(svc, () => mesh.client()));
  const [identityClient, destinationClient, policyClient] = clients as [
    (typeof clients)[0],
    (typeof clients)[0],
    (typeof clients)[0],
  ];
  const engine = createEngine({ clock, log: log.with("filter"), after: timersOf(driver) });
  const signatures = await signatureCheck(config.filterKeys).catch((e: unknown) => {
    throw new ConfigError([`TULLE_PROXY_FILTER_KEYS: ${errorText(e)}`]);
  });
  const keeper = keepCredentials({
    identity,
    secrets,
    transport: identityClient.transport,
    clock,
    random: Math.random,
    log: log.with("identity"),
  });
  keeper.credentials.subscribe((credentials) => {
    if (credentials !== null) mesh.update(credentials);
  });
  const discovery = createMeshDiscovery({
    config,
    destination: destinationClient.transport,
    policy: policyClient.transport,
    engine,
    signatures,
    moduleCache: config.filterCacheDir === null ? null : moduleDir(config.filterCacheDir),
    clock,
    random: Math.random,
    log: log.with("discovery"),
  });

  // Data plane.
  const podIps = inbound.ips;
  const reach = (connectMs: number, of: { poolIdleMs: number; maxIdlePerEndpoint: number }) => ({
    driver,
    metrics,
    sourceIp: config.sourceIp,
    podIps,
    connectMs,
    poolIdleMs: of.poolIdleMs,
    maxIdle: of.maxIdlePerEndpoint,
  });
  const callouts = new CalloutClient(driver);
  const targets = new Targets(
    discovery,
    reachOptions({
      ...reach(outbound.connectTimeoutMs, outbound),
      backoff: () => backoffOf(outbound.connectBackoff, Math.random),
    }),
    {
      failfastMs: outbound.failfastMs,
      queueCapacity: outbound.queueCapacity,
      replayMaxBytes: config.replayMaxBytes,
      maxInFlight: outbound.maxInFlight,
      inFlight: { count: 0 },
      random: Math.random,
      callouts,
    },
    outbound.discoveryIdleMs,
  );
  callouts.targets = targets;
  const shared = { metrics, log, draining };
  const local = new Inbound({
    ...reach(inbound.connectTimeoutMs, inbound),
    discovery,
    callouts,
    application: (port) => ({ ip: podIps[0] ?? "127.0.0.1", port }),
    maxInFlight: inbound.maxInFlight,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    // Only a meshed client is told why it was refused.
    server: serverOptions({ ...shared, tellMesh: (conn) => conn.tls !== null }),
    fixedPort: null,
    log: log.with("inbound"),
  });
  let ready = false;
  const admin = await serveHttp(
    config.admin.listen,
    createProxyAdmin({
      pod: podName(config.destination.context),
      metrics,
      targets,
      ready: () => ready && !draining.active,
      filterSeries: () => [
        ...engine.series(),
        ...hostSeries(engine.stats(), discovery.filterStatus()),
      ],
      filterStats: () => filterStats(engine.stats(), discovery.filterStatus()),
      process: processUsage,
      now: () => driver.now,
    }).fetch,
  );
  await firstCertificate(keeper.credentials);
  // A first request should meet its port's policy, not the default; but no longer than this.
  await Promise.race([discovery.portsAnswered(), delay(clock, PORTS_MS)]);
  const listeners = await Promise.all([
    listen(driver, {
      at: inbound.listen,
      mesh,
      anyName: false,
      detectMs: inbound.detectTimeoutMs,
      accept: local.accept,
      refused: local.refused,
    }),
    ...outbound.listen.map((at) =>
      listen(driver, {
        at,
        mesh: null,
        anyName: false,
        detectMs: 0,
        accept: outboundAccept({
          driver,
          metrics,
          targets,
          fixed: null,
          server: serverOptions({ ...shared, tellMesh: () => outbound.informationalHeaders }),
        }),
        refused: () => {},
      })
    ),
  ]);
  ready = true;
  log.info("ready", {
    inbound: formatSocketAddr(inbound.listen),
    outbound: outbound.listen.map(formatSocketAddr).join(","),
    admin: formatSocketAddr(admin.addr),
  });

  await stopSignal();
  await drain(draining, listeners, config.shutdownGraceMs);
  keeper.close();
  discovery.close();
  targets.release();
  local.release();
  driver.destroy();
  for (const client of clients) client.close();
  await admin.close();
}

/** Runs `tulle proxy`: fixed addresses, filters from files, no control plane. Resolves when it has drained. */
export async function runStatic(o: StaticOptions): Promise<void> {
  const clock = SYSTEM_CLOCK;
  const log = createLogger({
    level: "info",
    format: "plain",
    wall: clock.wall,
    write: writeErrorLine,
  });
  const { driver, mesh, metrics, draining } = dataPlane(log);
  const identity = o.identityDir === null ? null : await readIdentityDir(o.identityDir);
  if (identity !== null) mesh.update(identity);

  const refs = await Promise.all(o.filters.map((filter) => staticFilterRef(filter)));
  const engine = createEngine({
    clock,
    log: log.with("filter"),
    after: timersOf(driver),
    locate: (sha256, ...place) =>
      o.filters[refs.findIndex((ref) => ref.sha256 === sha256)]?.locate?.(...place) ?? null,
  });
  const prepared = await Promise.all(
    o.filters.map((filter, i) => engine.prepare(filter.module, refs[i] as FilterRef)),
  );
  // Outbound with an identity: every target is a mesh server, whose SNI is the identity asked of it.
  const meshed = identity !== null && !o.inbound;
  const discovery = createStaticDiscovery({
    endpoints: o.to.map((addr) => ({
      addr,
      weight: 10_000,
      labels: {},
      identity: meshed ? { name: o.requireId ?? "", serverName: o.requireId ?? "" } : null,
      transportPort: 0,
      hint: "none",
    })),
    chain: engine.chain(prepared),
    filters: refs,
    allow: o.requireId === null ? null : [o.requireId],
  });
  const reach = {
    driver,
    metrics,
    sourceIp: null,
    // Every hop that has an identity is TLS, on loopback too: that is what was asked for.
    podIps: null,
    connectMs: 1000,
    poolIdleMs: 3000,
    maxIdle: 10_000,
  };
  const targets = new Targets(
    discovery,
    reachOptions(reach),
    { ...STATIC_OUTBOUND, inFlight: { count: 0 } },
    Infinity,
  );
  const server = serverOptions({ metrics, log, draining, tellMesh: () => true });
  const to = o.to[0] as SocketAddr;
  const local = new Inbound({
    ...reach,
    discovery,
    application: () => to,
    maxInFlight: STATIC_OUTBOUND.maxInFlight,
    inFlight: { count: 0 },
    maxHeadBytes: MAX_HEAD_BYTES,
    server,
    fixedPort: to.port,
    log: log.with("inbound"),
  });
  const listener = await listen(driver, {
    at: o.listen,
    mesh: o.inbound && identity !== null ? mesh : null,
    anyName: true,
    detectMs: 10_000,
    accept: o.inbound
      ? local.accept
      : outboundAccept({ driver, metrics, targets, fixed: { authority: "static" }, server }),
    refused: local.refused,
  });
  const admin = o.admin === null ? null : await serveHttp(
    o.admin,
    createProxyAdmin({
      pod: "",
      metrics,
      targets,
      ready: () => !draining.active,
      filterSeries: () => [...engine.series(), ...hostSeries(engine.stats(), [])],
      filterStats: () => engine.stats().map((stats) => ({ ...stats, state: "serving" })),
      process: processUsage,
      now: () => driver.now,
    }).fetch,
  );
  log.info("ready", {
    listen: formatSocketAddr(listener.addr),
    to: o.to.map(formatSocketAddr).join(","),
    ...(admin === null ? {} : { admin: formatSocketAddr(admin.addr) }),
  });

  await stopSignal();
  await drain(draining, [listener], STATIC_GRACE_MS);
  driver.destroy();
  await admin?.close();
}

function dataPlane(log: Logger) {
  const mesh = new MeshTls();
  const driver = new NetDriver(mesh);
  driver.onDefect = (e) => log.error("a connection was ended by a defect", { error: stackOf(e) });
  const metrics = new ProxyMetrics();
  const { sheet, processStart } = metrics;
  sheet.set(sheet.cell(processStart, {}), Math.floor(SYSTEM_CLOCK.wall() / 1000));
  return { driver, mesh, metrics, draining: new Draining() };
}

/** The driver's wheel as a clock's `after`: ticks of filters fire in its turns. */
function timersOf(driver: NetDriver): (ms: number, fire: () => void) => () => void {
  return (ms, fire) => {
    const timer = createTimer(fire);
    driver.timers.arm(timer, SYSTEM_CLOCK.now() + ms);
    return () => driver.timers.cancel(timer);
  };
}

function stackOf(e: unknown): string {
  return e instanceof Error ? (e.stack ?? e.message) : String(e);
}

/** No new connections; those that are open finish their requests, for a bounded time. */
async function drain(
  draining: Draining,
  listeners: readonly NetListener[],
  graceMs: number,
): Promise<void> {
  draining.active = true;
  for (const listener of listeners) void listener.close();
  const deadline = SYSTEM_CLOCK.now() + graceMs;
  while (draining.inFlight.count > 0 && SYSTEM_CLOCK.now() < deadline) {
    await delay(SYSTEM_CLOCK, 20);
  }
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => onStopSignal(() => resolve()));
}

async function staticFilterRef(filter: StaticOptions["filters"][number]): Promise<FilterRef> {
  const digest = new Uint8Array(
    await crypto.subtle.digest("SHA-256", new Uint8Array(filter.module)),
  );
  return {
    name: filter.name,
    sha256: Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join(""),
    size: filter.module.length,
    config: filter.config,
    failurePolicy: "closed",
    fuelPerHook: 0,
    memoryPages: 0,
  };
}

/** What the engine counted, with what discovery says of each filter's version. */
function filterStats(stats: readonly FilterStats[], status: readonly FilterStatus[]) {
  return stats.map((one) => {
    const known = status.find((s) => s.name === one.name && s.servingSha256 === one.sha256) ??
      status.find((s) => s.name === one.name);
    const state = known === undefined
      ? "unused"
      : known.servingSha256 === one.sha256
      ? known.state
      : "replaced";
    return { ...one, lastError: known?.lastError || one.lastError, state };
  });
}

async function firstCertificate(credentials: Watch<Credentials | null>): Promise<void> {
  while (credentials.value === null) await credentials.changed(null);
}

/** The pod that the context token names (`{"ns":…,"pod":…}`), or nothing. */
function podName(context: string): string {
  try {
    return String((JSON.parse(context) as { pod?: unknown }).pod ?? "");
  } catch {
    return "";
  }
}

/** Entry point: 64 for a configuration that is not valid, 1 for what fails later. */
async function start(): Promise<void> {
  try {
    await runProxy(parseConfig(readEnv(PROXY_ENV)));
    exit(0);
  } catch (e) {
    writeErrorLine(errorText(e));
    exit(e instanceof ConfigError ? 64 : 1);
  }
}

if (import.meta.main) await start();
