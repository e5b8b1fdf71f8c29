// `tulle proxy`: fixed addresses, filters from files, no control plane. Loads filters and identity,
// builds the data plane of `static-plane.ts` and serves it. An entry, called by the command line.

import { formatSocketAddr, type SocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import type { FilterRef } from "../core/filter.ts";
import { createLogger } from "../core/log.ts";
import { serveHttp } from "../runtime/http-server.ts";
import { readIdentityDir } from "../runtime/identity-dir.ts";
import { processUsage, stopSignal, SYSTEM_CLOCK, writeErrorLine } from "../runtime/process.ts";
import type { Endpoint } from "../model/endpoint.ts";
import { createProxyAdmin } from "./admin.ts";
import type { Discovery } from "./discovery/discovery.ts";
import { createStaticDiscovery } from "./discovery/static.ts";
import { ProcessMetrics } from "./process-metrics.ts";
import { type StaticOptions, UnusableFile } from "./static-options.ts";
import { createThread } from "./thread.ts";
import { serveIn } from "./threads.ts";

/** Ends within this long after it was asked, whatever is still open. */
const GRACE_MS = 5_000;

function unusable(e: unknown): never {
  throw new UnusableFile(errorText(e), e);
}

/** Runs `tulle proxy`. Resolves when it has drained. */
export async function runStatic(o: StaticOptions): Promise<void> {
  const clock = SYSTEM_CLOCK;
  const log = createLogger({
    level: "info",
    format: "plain",
    wall: clock.wall,
    write: writeErrorLine,
  });
  const identity = o.identityDir === null
    ? null
    : await readIdentityDir(o.identityDir).catch(unusable);
  const refs = await Promise.all(o.filters.map((filter) => staticFilterRef(filter)));
  const thread = createThread(log, {
    engine: {
      locate: (sha256, ...place) =>
        o.filters[refs.findIndex((ref) => ref.sha256 === sha256)]?.locate?.(...place) ?? null,
    },
  });
  const processMetrics = new ProcessMetrics(thread.metrics.sheet, clock.wall(), null);
  const { listen, to, inbound, identityDir } = o;
  const options = { listen, to, inbound, identityDir, upstreamProtocol: o.upstreamProtocol };
  const serving = await serveIn(o.workers, thread, { kind: "static", options }, "plain");
  // Workers, and what listens already, would keep the process.
  const giveUp = async (e: unknown): Promise<never> => {
    await serving.drain(0);
    await serving.close();
    throw e;
  };
  // Workers must run before filters can be acknowledged; nothing is looked up before `listen`.
  let discovery: Discovery | null = null;
  const known = () => {
    if (discovery === null) throw new Error("looked up before anything was known");
    return discovery;
  };
  serving.begin({
    outbound: (key) => known().outbound(key),
    inbound: (port) => known().inbound(port),
  });
  if (identity !== null) serving.credentials(identity);
  const prepared = await Promise.all(
    o.filters.map((filter, i) => serving.engine.prepare(filter.module, refs[i] as FilterRef)),
  ).catch(unusable).catch(giveUp);
  // Outbound with an identity: every target is a mesh server, whose SNI is the identity asked of it.
  const meshed = identity !== null && !o.inbound;
  const server = meshed ? { name: o.requireId ?? "", serverName: o.requireId ?? "" } : null;
  discovery = createStaticDiscovery({
    endpoints: o.to.map((addr) => endpointAt(addr, server)),
    callouts: new Map(o.callouts.map(({ authority, addrs }) => [
      authority,
      addrs.map((addr) => endpointAt(addr, null)),
    ])),
    chain: serving.engine.chain(prepared),
    filters: refs,
    allow: o.requireId === null ? null : [o.requireId],
  });
  const addrs = await serving.listen();
  const admin = o.admin === null ? null : await serveHttp(
    o.admin,
    createProxyAdmin({
      pod: "",
      processMetrics,
      report: () => serving.report(),
      ready: () => !serving.isDraining,
      filterStatus: () => null,
      process: processUsage,
      wall: clock.wall,
    }).fetch,
  ).catch(giveUp);
  log.info("ready", {
    listen: addrs.map(formatSocketAddr).join(","),
    to: o.to.map(formatSocketAddr).join(","),
    ...(admin === null ? {} : { admin: formatSocketAddr(admin.addr) }),
    ...(o.workers === 1 ? {} : { workers: o.workers }),
  });

  await stopSignal();
  await serving.drain(GRACE_MS);
  await serving.close();
  await admin?.close();
}

function endpointAt(addr: SocketAddr, identity: Endpoint["identity"]): Endpoint {
  return { addr, weight: 10_000, labels: {}, identity, transportPort: 0, hint: "none" };
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
    ...(filter.callouts === undefined ? {} : { callouts: filter.callouts }),
  };
}
