// A mesh of real processes for the tests in `test/mesh`: a control plane over a folder of YAML, and
// proxies on loopback addresses, all on the runtime of the test. Applications are small servers inside
// the test, so that it sees what they see.

import { chmod, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import process from "node:process";
import { join } from "node:path";
import { importTokenKey, issueToken, TOKEN_KEY_FILE } from "../../src/api/service-account-token.ts";
import { type ProxyStats, proxyStats } from "../../src/api/admin.ts";
import {
  type ControlAddresses,
  controlPlan,
  type DemoFolders,
  type DemoPod,
  NAMESPACE,
  podFolders,
  podIdentity,
  proxyPlan,
} from "../../src/cli/demo-plan.ts";
import { fetchText, parseSamples, type Sample } from "../../src/cli/demo-scrape.ts";
import { COMPILE_CACHE, entryPath, PACKAGE_ROOT } from "../../src/cli/entries.ts";
import {
  type Child,
  type ChildExit,
  ChildGroup,
  type ChildPlan,
} from "../../src/runtime/children.ts";
import { type Answer, ask, type Said, type Seen, serveApp } from "../mesh/support/http.ts";
import { eventually } from "../mesh/support/waiting.ts";
import { tempDir } from "./temp-dir.ts";

export const DENO = process.versions.deno !== undefined;
const READY_WITHIN_MS = 30_000;

/**
 * The first three numbers of this process's loopback addresses. `half` is the test file's own (an even
 * number from 90 on); each runtime and each process gets others, so that two runs do not meet.
 */
export function loopbackNet(half: number): string {
  return `127.${half + (DENO ? 1 : 0)}.${1 + process.pid % 250}`;
}

/** A pod that has a proxy. `app` is its service account. */
export interface MeshPod {
  readonly name: string;
  readonly app: DemoPod["app"];
  readonly ip: string;
  readonly ports: readonly number[];
  /** Where its proxy really listens, when something else is at 4143. */
  readonly inboundPort?: number;
}

/** The identity of a pod. */
export function identityOf(of: Pick<MeshPod, "name" | "app" | "ip" | "ports">): string {
  return podIdentity({ ...of, appEnv: {} });
}

/** A running mesh. Everything that it started ends with `end`. */
export class TestMesh {
  readonly folders: DemoFolders;
  /** Lines of all processes, each with the name of who said it. */
  readonly log: string[] = [];
  readonly #net: string;
  readonly #children: ChildGroup;
  readonly #ends: (() => Promise<void>)[] = [];
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  readonly #died: string[] = [];
  /** Ended by the test itself. */
  readonly #killed = new Set<Child>();
  readonly #proxies = new Map<string, Child>();
  #control: Child | null = null;
  #said: ((line: string) => void) | null = null;
  #addresses: ControlAddresses | null = null;

  private constructor(net: string, root: string) {
    this.#net = net.split(".").slice(0, 2).join(".");
    this.folders = {
      root,
      mesh: join(root, "demo", "mesh"),
      modules: join(root, "filters", "build"),
      state: join(root, "state"),
      pods: join(root, "pods"),
    };
    this.#children = new ChildGroup({ tether: entryPath("tether"), compileCache: COMPILE_CACHE }, {
      line: (child, stream, line) => {
        this.log.push(`${child.name}: ${line}`);
        if (child === this.#control && stream === "stdout") this.#said?.(line);
      },
      died: (child, exit) => {
        if (!this.#killed.has(child)) this.#died.push(deathOf(child, exit));
      },
    });
  }

  /** Starts a control plane over `files`, then the pods' proxies, and waits until all serve. */
  static async start(o: {
    readonly net: string;
    readonly files: Readonly<Record<string, string>>;
    readonly pods: readonly MeshPod[];
    /** Modules beside the package's own, by file name. */
    readonly modules?: Readonly<Record<string, Uint8Array>>;
  }): Promise<TestMesh> {
    const dir = await tempDir("mesh");
    await chmod(dir.path, 0o700);
    const mesh = new TestMesh(o.net, dir.path);
    mesh.#ends.push(async () => await dir[Symbol.asyncDispose]());
    try {
      const { folders } = mesh;
      await mkdir(folders.mesh, { recursive: true });
      await mkdir(folders.state, { mode: 0o700 });
      await cp(join(PACKAGE_ROOT, "filters", "build"), folders.modules, { recursive: true });
      for (const [name, wasm] of Object.entries(o.modules ?? {})) {
        await writeFile(join(folders.modules, name), wasm);
      }
      for (const [name, text] of Object.entries(o.files)) await mesh.write(name, text);
      await mesh.startControl();
      await Promise.all(o.pods.map((pod) => mesh.startProxy(pod)));
      return mesh;
    } catch (e) {
      await mesh.end().catch(() => {});
      throw new Error(`${(e as Error).message}\n${mesh.log.slice(-20).join("\n")}`, { cause: e });
    }
  }

  /** Base URL of the admin plane. */
  get admin(): string {
    return `http://${this.#addresses?.admin ?? ""}`;
  }

  /** What the control plane said when it was ready. */
  get control(): ControlAddresses {
    if (this.#addresses === null) throw new Error("the control plane was not started");
    return this.#addresses;
  }

  /** Writes a file of the folder, as an editor does. */
  async write(name: string, text: string): Promise<void> {
    await writeFile(join(this.folders.mesh, name), text);
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.folders.mesh, name));
  }

  /** Starts the control plane, at the addresses that it had before, and waits for its line. */
  async startControl(): Promise<void> {
    const at = this.#addresses;
    const plan = controlPlan(this.folders, at?.admin ?? "127.0.0.1:0", this.#net);
    const listen: Readonly<Record<string, string | undefined>> = {
      "--destination-listen": at?.destination,
      "--policy-listen": at?.policy,
      "--identity-listen": at?.identity,
    };
    const args = plan.args.map((arg, i) => listen[plan.args[i - 1] ?? ""] ?? arg);
    const line = new Promise<string>((resolve) => (this.#said = resolve));
    const child = this.#children.start({ ...plan, args });
    this.#control = child;
    const said = JSON.parse(await this.#unlessEnded(child, line)) as ControlAddresses;
    this.#addresses = { ...said, trustAnchors: await readFile(said.trustAnchors, "utf8") };
  }

  /** Kills the control plane, without a chance to say goodbye. */
  async killControl(): Promise<void> {
    const child = this.#control;
    if (child === null) throw new Error("there is no control plane");
    this.#control = null;
    await this.#kill(child);
  }

  /** Kills a pod's proxy. */
  async killProxy(pod: MeshPod): Promise<void> {
    const child = this.#proxies.get(pod.name);
    if (child === undefined) throw new Error(`${pod.name} has no proxy`);
    await this.#kill(child);
  }

  /** Asks a pod's proxy to end, as the kubelet does, and waits for it. Rejects unless it ends with 0. */
  async stopProxy(pod: MeshPod): Promise<void> {
    const child = this.#proxies.get(pod.name);
    if (child === undefined) throw new Error(`${pod.name} has no proxy`);
    this.#killed.add(child);
    process.kill(child.pid, "SIGTERM");
    const exit = await child.exited;
    if (exit.code !== 0) throw new Error(deathOf(child, exit));
  }

  async #kill(child: Child): Promise<void> {
    this.#killed.add(child);
    process.kill(child.pid, "SIGKILL");
    await child.exited;
  }

  /** Starts a pod's proxy with the environment that the injector would give it, and waits until it is ready. */
  async startProxy(pod: MeshPod, env: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.#writeIdentity(pod);
    const plan: ChildPlan = proxyPlan(this.folders, asDemo(pod), this.control, this.#net);
    const { rights } = plan;
    // Deno reads what a worker thread runs with the rights of the process.
    const threads = "LINKERD2_PROXY_CORES" in env ? ["src", "wasm", "node_modules"] : [];
    const child = this.#children.start({
      ...plan,
      rights: {
        ...rights,
        read: [...rights.read, ...threads.map((folder) => join(PACKAGE_ROOT, folder))],
      },
      env: {
        ...plan.env,
        LINKERD2_PROXY_INBOUND_LISTEN_ADDR: `${pod.ip}:${pod.inboundPort ?? 4143}`,
        ...env,
      },
    });
    this.#proxies.set(pod.name, child);
    // A proxy that ended is not asked any more: the test would wait for the question.
    let ended = false;
    void child.exited.then(() => ended = true);
    const isReady = eventually(
      `${child.name} is ready`,
      () => ended ? "" : fetchText(`http://${pod.ip}:4191/ready`),
      READY_WITHIN_MS,
    );
    await this.#unlessEnded(child, isReady);
  }

  /** Folder and token of a pod's identity, as the kubelet and the injector would make them. */
  async identityFiles(pod: MeshPod): Promise<{ dir: string; tokenFile: string }> {
    await this.#writeIdentity(pod);
    const { identity, token } = podFolders(this.folders, asDemo(pod));
    return { dir: identity, tokenFile: token };
  }

  async #writeIdentity(pod: MeshPod): Promise<void> {
    const { identity, filters, token } = podFolders(this.folders, asDemo(pod));
    await mkdir(identity, { recursive: true, mode: 0o700 });
    await mkdir(filters, { recursive: true, mode: 0o700 });
    const key = await importTokenKey(
      await readFile(join(this.folders.state, TOKEN_KEY_FILE), "utf8"),
    );
    const text = await issueToken(key, {
      namespace: NAMESPACE,
      serviceAccount: pod.app,
      nowMs: Date.now(),
      lifetimeMs: 3_600_000,
    });
    await writeFile(token, text, { mode: 0o600 });
  }

  /** Serves an application at `ip:port`, in this process. */
  async serve(
    ip: string,
    port: number,
    answer: (seen: Seen) => Said | Promise<Said>,
  ): Promise<void> {
    const app = await serveApp(ip, port, answer);
    this.onEnd(() => app.close());
  }

  /** Runs with `end`, the newest first. */
  onEnd(end: () => Promise<void>): void {
    this.#ends.push(end);
  }

  /** A request of a pod's application through its proxy. Resolves with whatever status came. */
  call(
    pod: Pick<MeshPod, "ip">,
    url: string,
    o: { method?: string; headers?: Readonly<Record<string, string>>; body?: string } = {},
  ): Promise<Answer> {
    const body = o.body ?? "";
    return ask({
      agent: this.#agent,
      host: pod.ip,
      port: 4140,
      localAddress: pod.ip,
      method: o.method ?? "GET",
      path: url,
      headers: {
        host: new URL(url).host,
        ...(body === "" ? {} : { "content-length": String(Buffer.byteLength(body)) }),
        ...o.headers,
      },
    }, body);
  }

  /** A pod's `/metrics`. */
  async metrics(pod: Pick<MeshPod, "ip">): Promise<readonly Sample[]> {
    return parseSamples(await fetchText(`http://${pod.ip}:4191/metrics`), () => true);
  }

  /** A pod's `/tulle/stats.json`, checked against its schema. */
  async stats(pod: Pick<MeshPod, "ip">): Promise<ProxyStats> {
    const text = await fetchText(`http://${pod.ip}:4191/tulle/stats.json`);
    return proxyStats(JSON.parse(text), "stats.json");
  }

  /** Ends everything. Rejects when a process had ended that nobody ended. */
  async end(): Promise<void> {
    this.#agent.destroy();
    await this.#children.end();
    for (const end of this.#ends.splice(0).reverse()) await end();
    if (this.#died.length > 0) throw new Error(this.#died.join("\n"));
  }

  /** `wanted`, unless the child ends before. */
  async #unlessEnded<T>(child: Child, wanted: Promise<T>): Promise<T> {
    const ended = child.exited.then((exit) => {
      throw new Error(deathOf(child, exit));
    });
    ended.catch(() => {});
    return await Promise.race([ended, wanted]);
  }
}

function asDemo({ name, app, ip, ports }: MeshPod): DemoPod {
  return { name, app, ip, ports, appEnv: {} };
}

function deathOf(child: Child, { code, signal }: ChildExit): string {
  return `${child.name} ended with ${signal ?? code}: ${child.lastLine}`;
}
