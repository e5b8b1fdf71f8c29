// `tulle proxy`: fixed addresses, filters from files, no control plane. Loads filters and identity,
// builds the data plane of `static-plane.ts` and serves it. An entry, called by the command line.

import { formatSocketAddr } from "../core/addr.ts";
import type { FilterRef } from "../core/filter.ts";
import { createLogger } from "../core/log.ts";
import { serveHttp } from "../runtime/http-server.ts";
import { readIdentityDir } from "../runtime/identity-dir.ts";
import { processUsage, stopSignal, SYSTEM_CLOCK, writeErrorLine } from "../runtime/process.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { createProxyAdmin } from "./admin.ts";
import { createStaticDiscovery } from "./discovery/static.ts";
import { hostSeries } from "./filter-series.ts";
import type { StaticOptions } from "./static-options.ts";
import { createStaticPlane } from "./static-plane.ts";
import { createThread, drain } from "./thread.ts";

/** Ends within this long after it was asked, whatever is still open. */
const GRACE_MS = 5_000;

/** Runs `tulle proxy`. Resolves when it has drained. */
export async function runStatic(o: StaticOptions): Promise<void> {
  const clock = SYSTEM_CLOCK;
  const log = createLogger({
    level: "info",
    format: "plain",
    wall: clock.wall,
    write: writeErrorLine,
  });
  const thread = createThread(log);
  const { metrics, draining, driver } = thread;
  metrics.processStarted(clock.wall());
  const identity = o.identityDir === null ? null : await readIdentityDir(o.identityDir);
  if (identity !== null) thread.mesh.update(identity);

  const refs = await Promise.all(o.filters.map((filter) => staticFilterRef(filter)));
  const engine = createEngine({
    clock,
    log: log.with("filter"),
    after: thread.after,
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
  const plane = createStaticPlane(o, discovery, thread);
  const listeners = await plane.listen();
  const admin = o.admin === null ? null : await serveHttp(
    o.admin,
    createProxyAdmin({
      pod: "",
      metrics,
      targets: plane.targets,
      ready: () => !draining.active,
      filterSeries: () => [...engine.series(), ...hostSeries(engine.stats(), [])],
      filterStats: () => engine.stats().map((stats) => ({ ...stats, state: "serving" })),
      process: processUsage,
      now: () => driver.now,
    }).fetch,
  );
  log.info("ready", {
    listen: listeners.map(({ addr }) => formatSocketAddr(addr)).join(","),
    to: o.to.map(formatSocketAddr).join(","),
    ...(admin === null ? {} : { admin: formatSocketAddr(admin.addr) }),
  });

  await stopSignal();
  await drain(draining, listeners, GRACE_MS);
  thread.destroy();
  await admin?.close();
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
