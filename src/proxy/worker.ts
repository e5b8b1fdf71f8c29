// A worker thread's entry: builds the data plane of its kind on discovery that asks the main thread, and
// does what main says. Knows no control plane, no file and no admin server.

import { delay } from "../core/clock.ts";
import { createLogger, type LogThreshold } from "../core/log.ts";
import { errorText } from "../core/errors.ts";
import { type FilterChain, NO_FILTERS, type PreparedFilter } from "../core/filter.ts";
import type { Listener } from "../core/listen.ts";
import { Sheet } from "../core/sheet.ts";
import { exemplarsOf } from "../core/sheet-sum.ts";
import { SYSTEM_CLOCK, writeErrorLine } from "../runtime/process.ts";
import { workerSide } from "../runtime/workers.ts";
import { HostCells } from "../../wasm/host/cells.ts";
import { createDataPlane } from "./data-plane.ts";
import type { InboundSnapshot } from "./discovery/discovery.ts";
import { defaultServerPolicy } from "./discovery/port.ts";
import { drain, threadReport } from "./one-thread.ts";
import { createStaticPlane } from "./static-plane.ts";
import { createThread } from "./thread.ts";
import {
  type ChainMember,
  familyInfo,
  type FromWorker,
  type ToWorker,
  type WorkerStart,
} from "./workers/protocol.ts";
import { RemoteDiscovery } from "./workers/remote-discovery.ts";
import { WorkerTap } from "./workers/tap-relay.ts";

/** How long the policies of known ports are waited for before connections are accepted. */
const PORTS_MS = 2_000;

const side = workerSide();
const post = (message: FromWorker) => side.post(message);
const { number, plane: kind, log: logging, cells } = side.data as WorkerStart;
const clock = SYSTEM_CLOCK;
const threshold: LogThreshold = { level: logging.level };
const log = createLogger({
  level: threshold,
  format: logging.format,
  wall: clock.wall,
  write: writeErrorLine,
  name: `worker-${number}`,
});

const sheet = new Sheet({
  watcher: {
    memory: (memory) => post({ type: "cells", cells: memory }),
    series: (family, series) => post({ type: "series", family: familyInfo(family), series }),
    dropped: ({ name }, { labels }) => post({ type: "dropped", family: name, labels }),
  },
});
const thread = createThread(log, {
  sheet,
  sharesAddresses: true,
  engine: { cells: new HostCells(cells, clock, Math.random()) },
});

/**
 * Filters by main's numbers, until main forgets them. The instance that was acknowledged is held until
 * the first chain holds it; afterwards it lives as long as some chain, as in one thread.
 */
const filters = new Map<number, { readonly filter: PreparedFilter; held: FilterChain | null }>();

function chainOf(members: readonly ChainMember[]): FilterChain {
  const chain = thread.engine.chain(members.map((member) => {
    if (typeof member !== "number") return { ...member, info: null };
    const known = filters.get(member);
    if (known !== undefined) return known.filter;
    return missing.get(member) ??
      { ref: NOBODY, info: null, why: "this worker has no such filter" };
  }));
  for (const member of members) {
    const known = typeof member === "number" ? filters.get(member) : undefined;
    if (known !== undefined) known.held = null;
  }
  return chain;
}

/** Filters that could not be instantiated here, as what they are then. */
const missing = new Map<number, { ref: PreparedFilter["ref"]; info: null; why: string }>();
/** Stands for a filter that main never sent, which cannot be: requests are refused, not let through. */
const NOBODY: PreparedFilter["ref"] = {
  name: "unknown",
  sha256: "",
  size: 0,
  config: new Uint8Array(0),
  failurePolicy: "closed",
  fuelPerHook: 0,
  memoryPages: 0,
};

/** As the control side of one thread: the configured default until the controller has answered. */
function portBefore(port: number): InboundSnapshot | null {
  if (kind.kind === "static") return null;
  const policy = defaultServerPolicy(port, kind.config);
  return { policy, routes: policy.routes.map((route) => ({ route, chain: NO_FILTERS })) };
}

const discovery = new RemoteDiscovery(post, chainOf, portBefore);
const plane = kind.kind === "mesh"
  ? createDataPlane(kind.config, discovery, thread)
  : createStaticPlane(kind.options, discovery, thread);
const tap = new WorkerTap(plane.tap, thread.driver, post);
let listeners: readonly Listener[] = [];

function take({ id, filter }: Extract<ToWorker, { type: "filter" }>): void {
  try {
    const received = thread.engine.receive(filter);
    filters.set(id, { filter: received, held: thread.engine.chain([received]) });
    post({ type: "took", id, refused: null });
  } catch (e) {
    const why = errorText(e);
    missing.set(id, { ref: filter.ref, info: null, why });
    post({ type: "took", id, refused: why });
  }
}

/** The ports that connections will be for, as far as that is known. */
const ports = kind.kind === "mesh"
  ? kind.config.inbound.ports
  : kind.options.inbound
  ? kind.options.to.slice(0, 1).map(({ port }) => port)
  : [];

async function listen(): Promise<void> {
  try {
    // A first connection should meet its port's policy.
    const answered = Promise.all(ports.map((port) => discovery.watchPort(port)));
    await Promise.race([answered, delay(clock, PORTS_MS)]);
    listeners = await plane.listen();
    post({ type: "listening", addrs: listeners.map(({ addr }) => addr) });
  } catch (e) {
    post({ type: "deaf", why: errorText(e) });
  }
}

side.listen((message) => {
  const m = message as ToWorker;
  switch (m.type) {
    case "log":
      threshold.level = m.level;
      return;
    case "credentials":
      return thread.credentials(m.credentials);
    case "filter":
      return take(m);
    case "forget":
      filters.delete(m.id);
      missing.delete(m.id);
      return;
    case "snapshot":
      return discovery.change(m.change);
    case "why":
      return discovery.why(m.id, m.why);
    case "port":
      return void discovery.watchPort(m.port);
    case "listen":
      return void listen();
    case "report": {
      const { sheet: _, ...report } = threadReport(thread, plane);
      const exemplars = exemplarsOf(sheet);
      return post({ type: "report", id: m.id, report: { ...report, exemplars } });
    }
    case "tap":
      return tap.tap(m.id, m.request);
    case "untap":
      return tap.untap(m.id);
    case "ping":
      return post({ type: "pong" });
    case "drain":
      return void drain(thread.draining, listeners, m.graceMs, clock)
        .then(() => post({ type: "drained" }));
    case "leave":
      plane.release();
      thread.destroy();
      return side.leave();
  }
});
post({ type: "started" });
