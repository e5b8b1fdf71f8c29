// The proxy process: reads the configuration, wires control side and data plane, serves, drains.
// Entry point under Node and Deno; `tulle proxy` (`static.ts`) is in the same bundle.

import { delay } from "../core/clock.ts";
import { formatSocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import { createLogger, type Logger, type LogThreshold } from "../core/log.ts";
import type { SignatureCheck } from "../core/signature.ts";
import type { Watch } from "../core/watch.ts";
import { readCarriedModule } from "../runtime/carried-modules.ts";
import { createControlDns } from "../runtime/control-dns.ts";
import type { ControlDns } from "../runtime/control-resolver.ts";
import { readEnv } from "../runtime/env.ts";
import { readBounded } from "../runtime/files.ts";
import { createGrpcClient, type GrpcClient } from "../runtime/grpc-client.ts";
import { serveHttp } from "../runtime/http-server.ts";
import { trustOnly } from "../runtime/mesh-tls.ts";
import { moduleDir } from "../runtime/module-cache.ts";
import {
  exit,
  processUsage,
  stopSignal,
  SYSTEM_CLOCK,
  writeErrorLine,
} from "../runtime/process.ts";
import { originalDstMissing } from "../runtime/original-dst.ts";
import { openSecrets } from "../runtime/secrets.ts";
import { tlsInfo } from "../runtime/tls-info.ts";
import { availableCpus } from "../runtime/workers.ts";
import { openFreshKeys } from "../../wasm/host/fresh-keys.ts";
import { readPublicKeys, signatureCheck } from "../../wasm/host/signature.ts";
import { createProxyAdmin } from "./admin.ts";
import { ConfigError, type ControlAddr, parseConfig } from "./config.ts";
import { workerCount } from "./config/cores.ts";
import { PROXY_ENV } from "./config/names.ts";
import { withoutEffect } from "./config/no-effect.ts";
import { type Credentials, keepCredentials } from "./credentials.ts";
import {
  type ControlTarget,
  countedResolutions,
  countedTransport,
} from "./discovery/counted-transport.ts";
import { createMeshDiscovery } from "./discovery/mesh.ts";
import { STANDARD_FILTERS, type StandardModules } from "./discovery/standard-filters.ts";
import { ProcessMetrics } from "./process-metrics.ts";
import type { Serving } from "./serving.ts";
import { createThread, type ThreadOptions } from "./thread.ts";
import { serveIn } from "./threads.ts";

export { runStatic } from "./static.ts";

/** How long the policies of the configured ports are waited for before they are served. */
const PORTS_MS = 2_000;
/** Of a file with keys. */
const MAX_KEY_FILE = 64 * 1024;

/** What a test that runs proxies in its own process puts in the place of the machine. */
export interface ProxyHooks extends Pick<ThreadOptions, "originalOf"> {
  /** In place of signals. */
  readonly stop?: Promise<void>;
  /** In place of standard error. */
  readonly write?: (line: string) => void;
  /** In place of the system's name servers, for the control plane's names. */
  readonly controlDns?: ControlDns;
}

/** Runs a proxy that is configured by `env`, its `LINKERD2_PROXY_*`. Resolves when it has drained. */
export async function runProxy(
  env: ReadonlyMap<string, string>,
  hooks: ProxyHooks = {},
): Promise<void> {
  const config = parseConfig(env);
  const clock = SYSTEM_CLOCK;
  const threshold: LogThreshold = { level: config.log.level };
  const log = createLogger({
    level: threshold,
    format: config.log.format,
    wall: clock.wall,
    write: hooks.write ?? writeErrorLine,
  });
  for (const line of withoutEffect(env)) log.info(line);
  const thread = createThread(log, hooks);
  const { mesh } = thread;
  const startedMs = clock.wall();
  const { identity, inbound, outbound } = config;
  const workers = workerCount(config.cores, availableCpus());
  const serving = await serveIn(workers, thread, { kind: "mesh", config }, config.log.format);

  // Control side: certificates first, since everything else may need them.
  const secrets = await openSecrets({ ...identity, name: identity.id });
  const anonymous = trustOnly(identity.anchorsPem);
  const found = (client: string, { backoff }: ControlAddr) => ({
    resolved: countedResolutions(client, thread.metrics),
    ttl: config.dnsTtl,
    backoff,
    ...(hooks.controlDns === undefined ? {} : { dns: hooks.controlDns }),
  });
  const identityClient = createGrpcClient(
    identity.svc,
    () => mesh.client() ?? anonymous,
    found("identity", identity.svc),
  );
  const destinationClient = createGrpcClient(
    config.destination.svc,
    () => mesh.client(),
    found("destination", config.destination.svc),
  );
  const policyClient = createGrpcClient(
    config.policy.svc,
    () => mesh.client(),
    found("policy", config.policy.svc),
  );
  const clients = [identityClient, destinationClient, policyClient];
  const counted = ({ transport }: GrpcClient, target: ControlTarget) =>
    countedTransport(transport, target, thread.metrics, clock);
  const signatures = await filterKeys(config.filterKeys, log, () => {
    thread.metrics.count(thread.metrics.filterKeysRefused, {});
  }).catch((e: unknown) => {
    throw new ConfigError([`TULLE_PROXY_FILTER_KEYS: ${errorText(e)}`]);
  });
  const keeper = keepCredentials({
    identity,
    secrets,
    transport: counted(identityClient, identity.svc),
    clock,
    random: Math.random,
    log: log.with("identity"),
  });
  keeper.credentials.subscribe((credentials) => {
    if (credentials === null) return;
    mesh.update(credentials); // for the clients of the control plane
    if (workers > 1) serving.credentials(credentials);
  });
  const discovery = createMeshDiscovery({
    config,
    destination: counted(destinationClient, config.destination.svc),
    policy: counted(policyClient, config.policy.svc),
    engine: serving.engine,
    signatures,
    standard: await standardModules(log),
    moduleCache: config.filterCacheDir === null ? null : moduleDir(config.filterCacheDir),
    clock,
    random: Math.random,
    resolve: (hooks.controlDns ?? createControlDns()).addresses,
    log: log.with("discovery"),
  });

  // Data plane.
  serving.begin(discovery);
  let ready = false;
  const shutdown = Promise.withResolvers<void>();
  const admin = await serveHttp(
    config.admin.listen,
    createProxyAdmin({
      pod: podName(config.destination.context),
      processMetrics: new ProcessMetrics(
        thread.metrics.sheet,
        startedMs,
        () => keeper.stats(),
        tlsInfo(),
      ),
      report: () => serving.report(),
      ready: () => ready && !serving.isDraining,
      filterStatus: () => discovery.filterStatus(),
      process: processUsage,
      wall: clock.wall,
      operations: {
        env,
        log: { filter: config.log.filter, threshold: everywhere(threshold, serving) },
        shutdown: config.admin.shutdownEndpoint ? shutdown.resolve : null,
      },
    }).fetch,
  );
  await firstCertificate(keeper.credentials);
  // A first request should meet its port's policy, not the default; but no longer than this.
  await Promise.race([discovery.portsAnswered(), delay(clock, PORTS_MS)]);
  await serving.listen();
  const noOriginal = originalDstMissing();
  if (noOriginal !== null) log.info(`Only clients that name this proxy are served: ${noOriginal}`);
  ready = true;
  log.info("ready", {
    inbound: formatSocketAddr(inbound.listen),
    outbound: outbound.listen.map(formatSocketAddr).join(","),
    admin: formatSocketAddr(admin.addr),
    ...(workers === 1 ? {} : { workers }),
  });

  await Promise.race([hooks.stop ?? stopSignal(), shutdown.promise]);
  await serving.drain(config.shutdownGraceMs);
  keeper.close();
  discovery.close();
  await serving.close();
  for (const client of clients) client.close();
  await admin.close();
}

/** The threshold of this thread, which sets those of all others too. */
function everywhere(threshold: LogThreshold, serving: Serving): LogThreshold {
  return {
    get level() {
      return threshold.level;
    },
    set level(level) {
      threshold.level = level;
      serving.logLevel(level);
    },
  };
}

/** Without one of them the proxy serves all the same, but for the routes that need it. */
async function standardModules(log: Logger): Promise<StandardModules> {
  const read = STANDARD_FILTERS.map(async (name) => {
    try {
      return [name, await readCarriedModule(name)] as const;
    } catch (e) {
      log.error("A standard filter is missing", { filter: name, error: errorText(e) });
      return [name, null] as const;
    }
  });
  return Object.fromEntries(await Promise.all(read));
}

/** By keys that stay, or by those of a file, which is read again before a module is fetched. */
async function filterKeys(
  from: string | null,
  log: Logger,
  refused: () => void,
): Promise<SignatureCheck | null> {
  if (from === null || !from.startsWith("/")) return await signatureCheck(from);
  const read = async () => {
    const text = new TextDecoder().decode(await readBounded(from, MAX_KEY_FILE));
    return await readPublicKeys(text);
  };
  return (await openFreshKeys({ read, log: log.with("filter"), refused })).check;
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
    await runProxy(readEnv(PROXY_ENV));
    exit(0);
  } catch (e) {
    writeErrorLine(errorText(e));
    exit(e instanceof ConfigError ? 64 : 1);
  }
}

if (import.meta.main) await start();
