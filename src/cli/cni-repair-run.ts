// What `tulle cni-repair` does, beside the CNI plugin on each node, with Linkerd's variables and metrics:
// watches the node's pods, hands them to `src/cni/repair.ts`, and serves its admin pages.

import { dirname, resolve } from "node:path";
import { MESHED_LABEL, Repair, REPAIR_PREFIX, type RepairApi } from "../cni/repair.ts";
import { RepairMetrics } from "../cni/repair-metrics.ts";
import { type KubeApi, KubeError } from "../control/k8s/api.ts";
import { apiKind } from "../control/k8s/kinds.ts";
import { KUBE_ENV, openKube } from "../control/k8s/open.ts";
import { Reflector } from "../control/k8s/reflector.ts";
import { parseSocketAddr } from "../core/addr.ts";
import type { Clock } from "../core/clock.ts";
import { errorText } from "../core/errors.ts";
import { createLogger, LOG_LEVELS, type Logger } from "../core/log.ts";
import { readEnv } from "../runtime/env.ts";
import { execute } from "../runtime/exec.ts";
import { readBounded } from "../runtime/files.ts";
import { createHttpClient } from "../runtime/http-client.ts";
import { serveHttp } from "../runtime/http-server.ts";
import { onStopSignal, SYSTEM_CLOCK } from "../runtime/process.ts";
import type { Terminal } from "./command.ts";
import { CliError, EXIT_CONFIG, usageError } from "./failure.ts";
import { type Flags, quote } from "./flags.ts";

const NAMES = ["NODE_NAME", "POD_NAME", "LOG_LEVEL", "LOG_FORMAT"] as const;

/** Repairs the pods of a node until it is asked to stop. */
export async function repair(flags: Flags, terminal: Terminal): Promise<number> {
  const options = repairOptions(flags, readEnv(NAMES.map((name) => REPAIR_PREFIX + name)));
  const log = createLogger({
    ...options.log,
    wall: SYSTEM_CLOCK.wall,
    write: terminal.out,
  });
  const { api, server } = await openKube({ kubeconfig: options.kubeconfig, context: null }, {
    env: readEnv(KUBE_ENV),
    read: readBounded,
    execute,
    clock: SYSTEM_CLOCK,
    resolve,
    folderOf: dirname,
    connect: (how) => createHttpClient({ ...how, connectTimeoutMs: 5_000 }),
  }).catch((e: unknown) => {
    throw new CliError(errorText(e), { exit: EXIT_CONFIG });
  });
  const metrics = new RepairMetrics();
  const watch = watchNode({ api, ...options, metrics, log, clock: SYSTEM_CLOCK });
  const admin = await serveHttp(options.adminAddr, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/metrics") return new Response(metrics.text());
    if (pathname === "/live") return new Response("live\n");
    if (pathname !== "/ready") return new Response("There is no such page\n", { status: 404 });
    const ready = watch.ready();
    return new Response(ready ? "ready\n" : "not ready\n", { status: ready ? 200 : 503 });
  });
  log.info("Watches the node's pods", { node: options.node, server });
  await new Promise<void>((stop) => onStopSignal(() => stop()));
  watch.close();
  await admin.close();
  await api.close();
  return 0;
}

/** What flags and variables say; a flag wins. */
export function repairOptions(flags: Flags, env: ReadonlyMap<string, string>) {
  const text = (flag: string, name: (typeof NAMES)[number], or: string) =>
    flags.text(flag) ?? env.get(REPAIR_PREFIX + name) ?? or;
  const node = text("--node-name", "NODE_NAME", "");
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(node)) {
    throw usageError(
      node === "" ? "--node-name is missing" : `--node-name ${quote(node)} is not a node's name`,
      `Give it, or ${REPAIR_PREFIX}NODE_NAME`,
    );
  }
  const levelText = text("--log-level", "LOG_LEVEL", "info");
  const level = LOG_LEVELS.find((name) => name === levelText);
  if (level === undefined) {
    throw usageError(`--log-level ${quote(levelText)} is not one of ${LOG_LEVELS.join(", ")}`);
  }
  const format = text("--log-format", "LOG_FORMAT", "plain");
  if (format !== "plain" && format !== "json") {
    throw usageError(`--log-format ${quote(format)} is neither plain nor json`);
  }
  const at = flags.text("--admin-addr") ?? "0.0.0.0:9990";
  let adminAddr;
  try {
    adminAddr = parseSocketAddr(at);
  } catch (e) {
    throw usageError(`--admin-addr: ${errorText(e)}`);
  }
  return {
    node,
    instance: text("--controller-pod-name", "POD_NAME", "unknown"),
    kubeconfig: flags.text("--kubeconfig"),
    adminAddr,
    log: { level, format } as const,
  };
}

/** Follows the meshed pods of a node and repairs them, until it is closed. */
export function watchNode(options: {
  readonly api: KubeApi;
  readonly node: string;
  readonly instance: string;
  readonly metrics: RepairMetrics;
  readonly log: Logger;
  readonly clock: Clock;
}): { ready(): boolean; close(): void } {
  const { api, node, log, clock } = options;
  const repair = new Repair({ ...options, api: repairApi(api) });
  let ready = false;
  const reflector = new Reflector({
    api,
    kind: apiKind("/Pod"),
    clock,
    random: Math.random,
    select: { fieldSelector: `spec.nodeName=${node}`, labelSelector: MESHED_LABEL },
    events: {
      listed(objects) {
        ready = true;
        for (const object of objects) repair.seen(object);
      },
      changed(changes) {
        for (const { type, object } of changes) if (type === "set") repair.seen(object);
      },
      trouble(why) {
        if (why !== null) log.warn("The node's pods cannot be followed", { why });
      },
      missing() {},
    },
  });
  void reflector.run();
  return { ready: () => ready, close: () => reflector.close() };
}

/** The two calls of a repair. */
export function repairApi(api: KubeApi): RepairApi {
  return {
    async deletePod({ namespace, name, uid }, signal) {
      try {
        await api.request({
          method: "DELETE",
          path: `/api/v1/namespaces/${namespace}/pods/${name}`,
          body: {
            apiVersion: "v1",
            kind: "DeleteOptions",
            gracePeriodSeconds: 0,
            // One that was made meanwhile under the same name is not meant.
            preconditions: { uid },
          },
          signal,
        });
        return true;
      } catch (e) {
        if (e instanceof KubeError && (e.status === 404 || e.status === 409)) return false;
        throw e;
      }
    },
    async publish({ namespace }, event, signal) {
      await api.request({
        method: "POST",
        path: `/apis/events.k8s.io/v1/namespaces/${namespace}/events`,
        body: event,
        signal,
      });
    },
  };
}
