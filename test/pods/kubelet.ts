// The suite's kubelet, on one node: starts the containers of a pod in the order in which a kubelet does
// (init containers to their end, native sidecars until their startup probe is content, then the others),
// asks their probes over the pod's address, ends them in the opposite order, and tells the registry.
// Podman makes the containers, their namespaces and their network.

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { createHttpClient, type HttpClient } from "../../src/runtime/http-client.ts";
import type { PodState } from "./endpoints.ts";
import type { Container, Pod, Probe } from "./objects.ts";

import { type Finished, podman, run } from "./podman.ts";
import { type PodPlace, translate } from "./translate.ts";

/** How long anything may take on a machine that others share. */
const PATIENCE_MS = 90_000;
const GRACE_S = 20;

/** What a kubelet is given. */
export interface KubeletOptions {
  readonly network: string;
  /** Before the names of pods in podman, which has no namespaces. */
  readonly prefix: string;
  readonly dir: string;
  /** Two for each pod that is started: of either family. */
  nextIps(): readonly [string, string];
  place(pod: Pod): Omit<PodPlace, "ips" | "dir" | "podmanName">;
  /** A pod came, went, became ready or is not any more. */
  changed(): Promise<void>;
  status(pod: Pod, status: unknown): Promise<void>;
}

/** How a pod is played. */
export interface PlayOptions {
  /** False: its readiness is not waited for. */
  readonly ready?: boolean;
  /** What a CNI plugin does, with the process id of who holds the network namespace. */
  readonly cni?: (pid: number) => Promise<void>;
}

export class Kubelet implements AsyncDisposable {
  readonly options: KubeletOptions;
  readonly http: HttpClient = createHttpClient({ connectTimeoutMs: 2_000 });
  readonly #pods = new Set<RunningPod>();

  constructor(options: KubeletOptions) {
    this.options = options;
  }

  get states(): readonly PodState[] {
    return [...this.#pods];
  }

  /** Plays a pod, and resolves when its containers run and its readiness probes are content. */
  async play(pod: Pod, options: PlayOptions = {}): Promise<RunningPod> {
    const running = new RunningPod(this, pod, this.options.nextIps());
    this.#pods.add(running);
    try {
      await running.start(options);
    } catch (e) {
      await running.kill();
      throw e;
    }
    if (options.ready !== false) await running.untilReady();
    return running;
  }

  /** Ends what was played. */
  forget(pod: RunningPod): void {
    this.#pods.delete(pod);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pod of [...this.#pods]) await pod.kill();
    await this.http.close();
  }
}

/** What the tests read of `podman inspect`. */
export interface Inspected {
  readonly State: { readonly Pid: number };
  readonly Config: { readonly Env: readonly string[]; readonly User: string };
  readonly HostConfig: {
    readonly ReadonlyRootfs: boolean;
    readonly SecurityOpt: readonly string[];
  };
}

export class RunningPod implements PodState {
  readonly #kubelet: Kubelet;
  readonly pod: Pod;
  readonly ips: readonly [string, string];
  isReady = false;

  constructor(kubelet: Kubelet, pod: Pod, ips: readonly [string, string]) {
    this.#kubelet = kubelet;
    this.pod = pod;
    this.ips = ips;
  }

  get name(): string {
    return this.pod.metadata.name;
  }

  get ip(): string {
    return this.ips[0];
  }

  async start({ cni }: PlayOptions): Promise<void> {
    const { network, dir, place, status } = this.#kubelet.options;
    const own = join(dir, this.name);
    await mkdir(own, { recursive: true });
    const podmanName = this.#podman;
    const manifest = await translate(this.pod, {
      ...place(this.pod),
      podmanName,
      ips: this.ips,
      dir: own,
    });
    const at = `${network}:ip=${this.ips[0]},ip=${this.ips[1]}`;
    const played = await run(
      ["nice", "-n", "10", "podman", "play", "kube", "--start=false", "--network", at, "-"],
      { input: manifest },
    );
    if (played.status !== 0) throw new Error(`podman play kube: ${played.stderr}`);
    if (cni !== undefined) await cni(await this.#sandbox());
    const { initContainers = [], containers } = this.pod.spec;
    for (const container of initContainers) {
      await podman("start", this.#name(container.name));
      if (container.restartPolicy === "Always") await this.#started(container);
      else await this.#completed(container.name);
    }
    // Known by its address from now on, as soon as it has one.
    await status(this.pod, this.#status("Running"));
    await this.#kubelet.options.changed();
    for (const container of containers) {
      await podman("start", this.#name(container.name));
      const hook = container.lifecycle?.postStart?.exec.command;
      if (hook === undefined) continue;
      const done = await this.exec(container.name, ...hook);
      if (done.status !== 0) throw new Error(`${hook.join(" ")}: ${done.stdout}${done.stderr}`);
    }
  }

  /** Waits for the readiness probes, then tells. */
  async untilReady(): Promise<void> {
    const { initContainers = [], containers } = this.pod.spec;
    for (const container of [...initContainers, ...containers]) {
      if (container.readinessProbe !== undefined) {
        await this.#probe(container, container.readinessProbe);
      }
    }
    this.isReady = true;
    await this.#kubelet.options.status(this.pod, this.#status("Running"));
    await this.#kubelet.options.changed();
  }

  /** Runs a command in a container, to its end. */
  exec(container: string, ...command: string[]): Promise<Finished> {
    return run(["podman", "exec", this.#name(container), ...command]);
  }

  /** What podman says of a container. */
  async inspect(container: string): Promise<Inspected> {
    const [found] = JSON.parse(await podman("inspect", this.#name(container))) as Inspected[];
    if (found === undefined) throw new Error(`There is no container ${container}`);
    return found;
  }

  /** What a container wrote to both of its outputs. */
  async logs(container: string): Promise<string> {
    const { stdout, stderr } = await run(["podman", "logs", this.#name(container)]);
    return stdout + stderr;
  }

  /** The exit status when it has ended, else null. */
  async exitCode(container: string): Promise<number | null> {
    const format = "{{.State.Status}} {{.State.ExitCode}}";
    const [state = "", code] = (await podman("inspect", "-f", format, this.#name(container)))
      .split(" ");
    return state === "exited" ? Number(code) : null;
  }

  /** Waits until a container has ended, and gives its status. */
  async ended(container: string): Promise<number> {
    const { stdout } = await run(["podman", "wait", this.#name(container)], {
      timeoutMs: PATIENCE_MS,
    });
    return Number(stdout.trim());
  }

  /** From the host, as a kubelet or a scraper asks. */
  async get(port: number, path: string): Promise<{ status: number; text: string }> {
    const url = `http://${this.ip}:${port}${path}`;
    const { http } = this.#kubelet;
    const answer = await http.request({ url, timeoutMs: 10_000, maxBytes: 8 * 1024 * 1024 });
    return { status: answer.status, text: new TextDecoder().decode(answer.body) };
  }

  /** The proxy's metrics. */
  async metrics(): Promise<string> {
    return (await this.get(4191, "/metrics")).text;
  }

  /** As a kubelet ends a pod: it is no endpoint any more, then hooks, SIGTERM, sidecars last. */
  async stop(): Promise<void> {
    this.isReady = false;
    await this.#kubelet.options.changed();
    await Promise.all(this.pod.spec.containers.map(async ({ name, lifecycle }) => {
      const seconds = lifecycle?.preStop?.sleep.seconds ?? 0;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      await this.#terminate(name);
    }));
    await this.stopSidecars();
    await this.kill();
  }

  /** What a kubelet does when the containers of a pod have ended. */
  async stopSidecars(): Promise<void> {
    for (const { name, restartPolicy } of [...this.pod.spec.initContainers ?? []].reverse()) {
      if (restartPolicy === "Always") await this.#terminate(name);
    }
  }

  /** Takes it away at once. */
  async kill(): Promise<void> {
    this.#kubelet.forget(this);
    await run(["podman", "pod", "rm", "-f", "-t", "0", this.#podman]);
    await rm(join(this.#kubelet.options.dir, this.name), { recursive: true, force: true });
    await this.#kubelet.options.changed();
  }

  /** Starts what holds the namespaces, and gives its process id. */
  async #sandbox(): Promise<number> {
    const id = await podman("pod", "inspect", "-f", "{{.InfraContainerID}}", this.#podman);
    await podman("start", id);
    return Number(await podman("inspect", "-f", "{{.State.Pid}}", id));
  }

  /** SIGTERM, and SIGKILL when that is not heard. */
  async #terminate(container: string): Promise<void> {
    await podman("stop", "-t", `${GRACE_S}`, this.#name(container));
  }

  async #completed(container: string): Promise<void> {
    const status = await this.ended(container);
    if (status === 0) return;
    throw new InitFailed(container, status, await this.logs(container));
  }

  async #started(container: Container): Promise<void> {
    if (container.startupProbe !== undefined) await this.#probe(container, container.startupProbe);
  }

  async #probe({ name }: Container, { httpGet }: Probe): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      const why = await this.get(httpGet.port, httpGet.path)
        .then(({ status }) => status < 400 ? null : `it answers ${status}`, String);
      if (why === null) return;
      const over = performance.now() > end || await this.exitCode(name) !== null;
      if (over) {
        throw new Error(`${this.name}/${name} is not ready: ${why}\n${await this.logs(name)}`);
      }
      await new Promise((again) => setTimeout(again, 100));
    }
  }

  #status(phase: string): unknown {
    const status = this.isReady ? "True" : "False";
    return {
      phase,
      podIP: this.ips[0],
      podIPs: this.ips.map((ip) => ({ ip })),
      conditions: [{ type: "Ready", status }],
    };
  }

  #name(container: string): string {
    return `${this.#podman}-${container}`;
  }

  get #podman(): string {
    return `${this.#kubelet.options.prefix}${this.name}`;
  }
}

/** An init container that ended with an error: the pod does not start. */
export class InitFailed extends Error {
  readonly container: string;
  readonly status: number;
  readonly logs: string;

  constructor(container: string, status: number, logs: string) {
    super(`${container} ended with ${status}: ${logs}`);
    this.container = container;
    this.status = status;
    this.logs = logs;
  }
}
