// The running demo: starts the control plane, the proxies and the applications, waits until a
// request goes through all of them, answers questions about them, and ends them.

import { readFile } from "node:fs/promises";
import { type Child, ChildGroup } from "../runtime/children.ts";
import { CliError } from "./failure.ts";
import { writeTokens } from "./demo-token.ts";
import { makeFolders, removeFolders } from "./demo-folders.ts";
import {
  ADMIN_PORT,
  appPlan,
  type ControlAddresses,
  controlPlan,
  type DemoFolders,
  type DemoPod,
  demoPods,
  proxyPlan,
} from "./demo-plan.ts";
import type { MeshSnapshot } from "./demo-figures.ts";
import {
  fetchStats,
  fetchText,
  type ProxySnapshot,
  type ProxyStats,
  scrape,
} from "./demo-scrape.ts";
import { COMPILE_CACHE, entryPath } from "./entries.ts";

/** What the load generator and the web front say on stdout. */
interface AppLine {
  readonly load?: LoadFigures;
  readonly final?: LoadFigures;
  readonly probe?: "ok" | "failed";
  readonly why?: string;
  readonly failure?: string;
  readonly swap?: { readonly id: string; readonly crossed: number; readonly failed: number };
  readonly tally?: { readonly connected: boolean; readonly lines: number };
}

/** The load generator's record. */
export interface LoadFigures {
  readonly requests: number;
  readonly failed: number;
}

/** What the mesh tells its owner while it runs. */
export interface MeshEvents {
  /** A process ended although nobody asked it to. */
  died(name: string, line: string): void;
  /** A request of the load failed. */
  failure(line: string): void;
  /** A process wrote to stderr. */
  log(name: string, line: string): void;
}

const READY_WITHIN_MS = 45_000;
const ASK_EVERY_MS = 40;

/** A started mesh. `start` either resolves with one in which requests flow, or ends what it started. */
export class DemoMesh {
  readonly folders: DemoFolders;
  readonly pods: readonly DemoPod[];
  readonly children: ChildGroup;
  readonly #net: string;
  readonly #events: MeshEvents;
  /** It ends: nobody is asked any more whether it is ready. */
  readonly #over = new AbortController();
  readonly #waiting = new Map<string, (line: AppLine) => void>();
  readonly #lastSnapshots = new Map<string, ProxySnapshot>();
  #control: ControlAddresses | null = null;
  #controlReady: ((line: string) => void) | null = null;
  #failStart: ((e: Error) => void) | null = null;
  #loadChild: Child | null = null;
  #swaps = 0;
  #load: LoadFigures = { requests: 0, failed: 0 };
  #tally: AppLine["tally"] | null = null;

  private constructor(net: string, folders: DemoFolders, events: MeshEvents) {
    this.#net = net;
    this.folders = folders;
    this.pods = demoPods(net);
    this.#events = events;
    this.children = new ChildGroup({ tether: entryPath("tether"), compileCache: COMPILE_CACHE }, {
      line: (child, stream, line) => this.#line(child, stream, line),
      died: (child, exit) => this.#died(child, exit.code, exit.signal),
    });
  }

  /** Brings everything up. `signal` gives up. */
  static async start(
    options: { net: string; adminListen: string },
    events: MeshEvents,
    signal: AbortSignal,
  ): Promise<DemoMesh> {
    const folders = await makeFolders(options.net, demoPods(options.net));
    const mesh = new DemoMesh(options.net, folders, events);
    try {
      await mesh.#start(options.adminListen, signal);
      return mesh;
    } catch (e) {
      await mesh.end();
      throw e;
    }
  }

  get adminUrl(): string {
    return `http://${this.#control?.admin ?? ""}`;
  }

  get load(): LoadFigures {
    return this.#load;
  }

  get tally(): { readonly connected: boolean; readonly lines: number } | null {
    return this.#tally ?? null;
  }

  /** Lets the load generator send. */
  go(rate: number): void {
    this.#loadChild?.send(`go ${rate}`);
  }

  /** Ends the load and waits for its last answers, but no longer than `maxMs`. */
  async stopLoad(maxMs: number): Promise<LoadFigures> {
    if (this.#loadChild?.running === true) {
      const { final } = await this.#ask("final", "stop", AbortSignal.timeout(maxMs));
      if (final !== undefined) this.#load = final;
    }
    return this.#load;
  }

  /** Runs `during`, and counts the requests that were under way at any time of it. */
  async crossing(
    during: () => Promise<void>,
    stop: AbortSignal,
  ): Promise<{ crossed: number; failed: number }> {
    const id = String(++this.#swaps);
    this.#loadChild?.send(`swap-begin ${id}`);
    await during();
    if (this.#loadChild?.running !== true) return { crossed: 0, failed: 0 };
    const { swap } = await this.#ask(`swap ${id}`, `swap-end ${id}`, stop);
    return swap ?? { crossed: 0, failed: 0 };
  }

  /** Asks every proxy; one that does not answer shows its last figures. */
  async snapshot(): Promise<MeshSnapshot> {
    const asked = await Promise.allSettled(
      this.pods.map((pod) => scrape(`${pod.ip}:${ADMIN_PORT}`)),
    );
    for (const [i, result] of asked.entries()) {
      const pod = this.pods[i];
      if (pod !== undefined && result.status === "fulfilled") {
        this.#lastSnapshots.set(pod.name, result.value);
      }
    }
    return new Map(this.#lastSnapshots);
  }

  /** The stats of each proxy that answers. */
  async stats(): Promise<ReadonlyMap<string, ProxyStats>> {
    const asked = await Promise.allSettled(
      this.pods.map((pod) => fetchStats(`${pod.ip}:${ADMIN_PORT}`)),
    );
    const stats = new Map<string, ProxyStats>();
    for (const [i, result] of asked.entries()) {
      const pod = this.pods[i];
      if (pod !== undefined && result.status === "fulfilled") stats.set(pod.name, result.value);
    }
    return stats;
  }

  /** Ends every process within two seconds, and removes the folder. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.children.end();
    await removeFolders(this.folders);
  }

  async #start(adminListen: string, signal: AbortSignal): Promise<void> {
    const failed = new Promise<never>((_, reject) => {
      this.#failStart = reject;
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    failed.catch(() => {});
    signal.throwIfAborted();
    await Promise.race([this.#bringUp(adminListen), failed]);
    this.#failStart = null;
  }

  async #bringUp(adminListen: string): Promise<void> {
    const ready = new Promise<string>((resolve) => (this.#controlReady = resolve));
    this.children.start(controlPlan(this.folders, adminListen, this.#net));
    // applications need nothing of the control plane, and it uses one core only
    for (const pod of this.pods) {
      const child = this.children.start(appPlan(pod));
      if (pod.app === "load") this.#loadChild = child;
    }
    const control = await readControl(await ready);
    this.#control = control;
    await writeTokens(this.folders, this.pods);
    for (const pod of this.pods) {
      this.children.start(proxyPlan(this.folders, pod, control, this.#net));
    }
    await Promise.all(this.pods.map((pod) => this.#ready(pod)));
    const { probe, why } = await this.#ask("probe", "probe");
    if (probe !== "ok") throw new CliError(`No request came through the mesh: ${why ?? "?"}`);
  }

  async #ready(pod: DemoPod): Promise<void> {
    const until = performance.now() + READY_WITHIN_MS;
    const { signal } = this.#over;
    let why = "";
    while (performance.now() < until && !signal.aborted) {
      try {
        return void (await fetchText(`http://${pod.ip}:${ADMIN_PORT}/ready`));
      } catch (e) {
        why = e instanceof Error ? e.message : String(e);
        await new Promise((again) => setTimeout(again, ASK_EVERY_MS));
      }
    }
    throw new CliError(`${pod.name}'s proxy is not ready after ${READY_WITHIN_MS} ms: ${why}`);
  }

  /** Sends a command to the load and waits for the line that answers it, or for `stop`: then an empty one. */
  #ask(key: string, command: string, stop?: AbortSignal): Promise<AppLine> {
    return new Promise((resolve, reject) => {
      const child = this.#loadChild;
      if (child === null) return reject(new Error("the load generator is not started"));
      this.#waiting.set(key, resolve);
      // it may die while we wait: that is told elsewhere
      void child.exited.then(() => resolve({}));
      stop?.addEventListener("abort", () => resolve({}), { once: true });
      if (stop?.aborted === true) resolve({});
      child.send(command);
    });
  }

  #line(child: Child, stream: "stdout" | "stderr", line: string): void {
    if (stream === "stderr") {
      if (line.trim() !== "") this.#events.log(child.name, line);
    } else if (child.name === "control plane") {
      if (line.startsWith("{")) this.#controlReady?.(line);
    } else if (line.startsWith("{")) {
      this.#told(JSON.parse(line) as AppLine);
    }
  }

  #told(line: AppLine): void {
    if (line.load !== undefined) this.#load = line.load;
    if (line.tally !== undefined) this.#tally = line.tally;
    if (line.failure !== undefined) this.#events.failure(line.failure);
    if (line.probe !== undefined) this.#answer("probe", line);
    if (line.final !== undefined) this.#answer("final", line);
    if (line.swap !== undefined) this.#answer(`swap ${line.swap.id}`, line);
  }

  #answer(key: string, line: AppLine): void {
    this.#waiting.get(key)?.(line);
    this.#waiting.delete(key);
  }

  #died(child: Child, code: number | null, signal: string | null): void {
    const how = signal !== null ? `by ${signal}` : `with status ${code ?? "unknown"}`;
    const last = child.lastLine === "" ? "it said nothing" : child.lastLine;
    const line = `${child.name} (process ${child.pid}) ended ${how}: ${last}`;
    if (this.#failStart !== null) this.#failStart(new CliError(line));
    else this.#events.died(child.name, line);
  }
}

async function readControl(line: string): Promise<ControlAddresses> {
  const said = JSON.parse(line) as ControlAddresses & { readonly trustAnchors: string };
  return { ...said, trustAnchors: await readFile(said.trustAnchors, "utf8") };
}
