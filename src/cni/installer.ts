// Puts the plugin onto a host and keeps it there: its executable, its kubeconfig and its place in every
// network's list, whatever others write, until it is asked to take all of it away. Files and time are
// handed in. One pass mends what is missing; passes follow changes, and a slow poll.

import { type Clock, delay } from "../core/clock.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import {
  hasPlugin,
  isNetworkFile,
  type JsonObject,
  type Rewrite,
  withoutPlugin,
  withPlugin,
} from "./conflist.ts";
import { kubeconfigText } from "./kubeconfig.ts";

/** Files of the host, as this process sees them. Each call rejects with one line. */
export interface HostFiles {
  /** Names in a folder. */
  list(folder: string): Promise<readonly string[]>;
  /** Null: there is none. */
  read(path: string): Promise<string | null>;
  /** Whole or not at all. `mode` counts for a new file, and with `exactly` for one that is there. */
  write(path: string, text: string, mode: number, exactly: boolean): Promise<void>;
  /** Copies an executable, whole or not at all; false when the same is there already. */
  install(from: string, to: string): Promise<boolean>;
  /** One that is missing is no error. */
  remove(path: string): Promise<void>;
  /** Calls after changes in the folder, when it can; the result ends it. */
  watch(folder: string, changed: () => void): () => void;
}

export interface InstallPlan {
  /** The executable in the image. */
  readonly source: string;
  /** Where it goes; the host's folder as this process sees it. */
  readonly executable: string;
  /** The host's folder of networks, as this process sees it. */
  readonly netDir: string;
  /** Name of the kubeconfig in it. */
  readonly kubeconfigName: string;
  /** What goes into each list. */
  readonly plugin: JsonObject;
  readonly apiHost: string;
  readonly apiPort: string;
  /** Files of the service account. */
  readonly tokenFile: string;
  readonly caFile: string;
}

/** Between two passes when nothing changes: a token's renewal must not depend on a watch. */
const POLL_MS = 5_000;
/** Others write a file in several steps. */
const SETTLE_MS = 100;
/** More rewrites of one file than this in a minute, and somebody else wants it otherwise. */
const MAX_REWRITES = 10;
const MINUTE_MS = 60_000;

/** The installation on one host. */
export class Installer {
  readonly #plan: InstallPlan;
  readonly #files: HostFiles;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** What was said last about a file or a step, so that each trouble is said once. */
  readonly #said = new Map<string, string>();
  readonly #rewrites = new Map<string, number[]>();
  #ready = false;

  constructor(plan: InstallPlan, files: HostFiles, clock: Clock, log: Logger) {
    this.#plan = plan;
    this.#files = files;
    this.#clock = clock;
    this.#log = log;
  }

  /** The last pass left the plugin in at least one network. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Keeps everything in place until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let changed = false;
    let wake = () => {};
    const sleep = () =>
      new Promise<void>((resolve) => {
        const cancel = this.#clock.after(POLL_MS, resolve);
        wake = () => {
          cancel();
          resolve();
        };
      });
    const unwatch = this.#files.watch(this.#plan.netDir, () => {
      changed = true;
      wake();
    });
    const onAbort = () => wake();
    signal.addEventListener("abort", onAbort, { once: true });
    while (!signal.aborted) {
      changed = false;
      await this.pass();
      // Our own changes wake it too: that pass finds nothing to do.
      if (!changed && !signal.aborted) await sleep();
      if (!signal.aborted) await delay(this.#clock, SETTLE_MS, signal).catch(() => {});
    }
    signal.removeEventListener("abort", onAbort);
    unwatch();
  }

  /** Mends what is not as it should be. A step that fails is said once and tried by the next pass. */
  async pass(): Promise<void> {
    // In this order: a list must never name what cannot run.
    const done = await this.#step("executable", () => this.#putExecutable()) &&
      await this.#step("kubeconfig", () => this.#putKubeconfig());
    this.#ready = done && await this.#step("networks", () => this.#putIntoNetworks());
  }

  /** Takes everything away: first what names the plugin, then what it needs. */
  async remove(): Promise<void> {
    this.#ready = false;
    const { netDir, kubeconfigName, executable } = this.#plan;
    const out = await this.#step("networks", async () => {
      for (const name of (await this.#files.list(netDir)).filter(isNetworkFile)) {
        const text = await this.#files.read(this.#at(name));
        if (text !== null) await this.#apply(withoutPlugin(name, text));
      }
      return true;
    });
    // With a list that still names it, each pod of the host needs it.
    if (!out) return;
    await this.#step("kubeconfig", () => this.#gone(`${netDir}/${kubeconfigName}`));
    await this.#step("executable", () => this.#gone(executable));
    this.#log.info("The plugin is removed from this host");
  }

  async #gone(path: string): Promise<true> {
    await this.#files.remove(path);
    return true;
  }

  async #putExecutable(): Promise<boolean> {
    const { source, executable } = this.#plan;
    if (await this.#files.install(source, executable)) {
      this.#log.info("The executable is installed", { path: executable });
    }
    return true;
  }

  async #putKubeconfig(): Promise<boolean> {
    const { netDir, kubeconfigName, apiHost, apiPort, tokenFile, caFile } = this.#plan;
    const token = (await this.#files.read(tokenFile) ?? "").trim();
    const ca = await this.#files.read(caFile) ?? "";
    if (token === "" || ca === "") {
      throw new Error(`${token === "" ? tokenFile : caFile} is missing or empty`);
    }
    const text = kubeconfigText({ host: apiHost, port: apiPort, token, ca });
    const path = `${netDir}/${kubeconfigName}`;
    if (await this.#files.read(path) === text) return true;
    await this.#files.write(path, text, 0o600, true);
    this.#log.info("The kubeconfig is written", { path });
    return true;
  }

  async #putIntoNetworks(): Promise<boolean> {
    const names = (await this.#files.list(this.#plan.netDir)).filter(isNetworkFile);
    let placed = 0;
    let failure: unknown = null;
    for (const name of names) {
      try {
        const text = await this.#files.read(this.#at(name));
        if (text === null) continue;
        const rewrite = withPlugin(name, text, this.#plan.plugin);
        if (rewrite.kind === "write" && this.#fights(name)) {
          placed += hasPlugin(text) ? 1 : 0;
          continue;
        }
        await this.#apply(rewrite);
        if (rewrite.kind !== "leave") placed++;
        this.#sayOnce(
          name,
          rewrite.kind === "leave" && rewrite.why !== null
            ? `The network ${name} is left as it is: ${rewrite.why}`
            : "",
        );
      } catch (e) {
        failure = e;
      }
    }
    if (failure !== null) throw failure;
    const { netDir } = this.#plan;
    const none = `There is no network in ${netDir} yet: waits for one`;
    this.#sayOnce("none", placed === 0 ? none : "");
    return placed > 0;
  }

  async #apply(rewrite: Rewrite): Promise<void> {
    if (rewrite.kind !== "write") return;
    const { name, text, instead } = rewrite;
    await this.#files.write(this.#at(name), text, 0o644, false);
    if (instead !== null) await this.#files.remove(this.#at(instead));
    this.#log.info("The network is rewritten", { file: name });
  }

  /** Counts a rewrite; true when there were too many: then it waits, and the other has its way. */
  #fights(name: string): boolean {
    const now = this.#clock.now();
    const recent = (this.#rewrites.get(name) ?? []).filter((at) => now - at < MINUTE_MS);
    const many = recent.length >= MAX_REWRITES;
    if (!many) recent.push(now);
    this.#rewrites.set(name, recent);
    this.#sayOnce(
      `${name} fight`,
      many ? `Somebody else keeps rewriting ${name}: it is left alone for a minute` : "",
    );
    return many;
  }

  async #step(name: string, run: () => Promise<boolean>): Promise<boolean> {
    try {
      const done = await run();
      this.#sayOnce(name, "");
      return done;
    } catch (e) {
      this.#sayOnce(name, `The ${name} could not be seen to, will try again: ${errorText(e)}`);
      return false;
    }
  }

  #sayOnce(about: string, text: string): void {
    if (text !== "" && this.#said.get(about) !== text) this.#log.warn(text);
    this.#said.set(about, text);
  }

  #at(name: string): string {
    return `${this.#plan.netDir}/${name}`;
  }
}
