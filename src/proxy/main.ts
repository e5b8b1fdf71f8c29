// The proxy process: reads the configuration, wires control side and data plane, serves, drains.
// Entry point under Node and Deno; `tulle proxy` (`static.ts`) is in the same bundle.

import { delay } from "../core/clock.ts";
import { formatSocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import { createLogger } from "../core/log.ts";
import type { Watch } from "../core/watch.ts";
import { readEnv } from "../runtime/env.ts";
import { createGrpcClient } from "../runtime/grpc-client.ts";
import { serveHttp } from "../runtime/http-server.ts";
import { moduleDir } from "../runtime/module-cache.ts";
import {
  exit,
  processUsage,
  stopSignal,
  SYSTEM_CLOCK,
  writeErrorLine,
} from "../runtime/process.ts";
import { openSecrets } from "../runtime/secrets.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { signatureCheck } from "../../wasm/host/signature.ts";
import { createProxyAdmin } from "./admin.ts";
import { ConfigError, parseConfig, type ProxyConfig } from "./config.ts";
import { PROXY_ENV } from "./config/names.ts";
import { type Credentials, keepCredentials } from "./credentials.ts";
import { createDataPlane } from "./data-plane.ts";
import { createMeshDiscovery } from "./discovery/mesh.ts";
import { filterReport, hostSeries } from "./filter-series.ts";
import { createThread, drain } from "./thread.ts";

export { runStatic } from "./static.ts";

/** How long the policies of the configured ports are waited for before they are served. */
const PORTS_MS = 2_000;

/** Runs a proxy that is configured by `LINKERD2_PROXY_*`. Resolves when it has drained. */
export async function runProxy(config: ProxyConfig): Promise<void> {
  const clock = SYSTEM_CLOCK;
  const log = createLogger({ ...config.log, wall: clock.wall, write: writeErrorLine });
  const thread = createThread(log);
  const { driver, mesh, metrics, draining } = thread;
  metrics.processStarted(clock.wall());
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
  const engine = createEngine({ clock, log: log.with("filter"), after: thread.after });
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
  const plane = createDataPlane(config, discovery, thread);
  let ready = false;
  const admin = await serveHttp(
    config.admin.listen,
    createProxyAdmin({
      pod: podName(config.destination.context),
      metrics,
      targets: plane.targets,
      ready: () => ready && !draining.active,
      filterSeries: () => [
        ...engine.series(),
        ...hostSeries(engine.stats(), discovery.filterStatus()),
      ],
      filterStats: () => filterReport(engine.stats(), discovery.filterStatus()),
      process: processUsage,
      now: () => driver.now,
    }).fetch,
  );
  await firstCertificate(keeper.credentials);
  // A first request should meet its port's policy, not the default; but no longer than this.
  await Promise.race([discovery.portsAnswered(), delay(clock, PORTS_MS)]);
  const listeners = await plane.listen();
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
  plane.release();
  thread.destroy();
  for (const client of clients) client.close();
  await admin.close();
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
