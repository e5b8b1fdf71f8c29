// A whole mesh of pods on one machine, for as long as a test: a network of podman's, a real API server,
// and on it what `tulle install` prints, played as pods. Who plays which part:
//   kube-apiserver, etcd   the real ones (tools/setup-kubernetes), or a folder of YAML in their place
//   container runtime      podman with runc, which plays manifests (`podman play kube`)
//   kubelet                kubelet.ts and translate.ts: order of containers, probes, volumes, tokens, the
//                          downward API; pod addresses are written to the Pod's status
//   controllers            endpoints.ts for EndpointSlices; pods are made of Deployments here, one each
//   kube-dns               dns.ts
//   kube-proxy             nobody: outbound proxies resolve cluster addresses themselves
// Ours, unchanged: the image, the control plane with its proxies, the injector, the rules of `tulle init`.

import { writeFile } from "node:fs/promises";
import process from "node:process";
import { build } from "esbuild";
import { parseAllDocuments } from "yaml";
import { NO_CLUSTER } from "../kubernetes/real-cluster.ts";
import { type TempDir, tempDir } from "../support/temp-dir.ts";
import { Capture } from "./capture.ts";
import { Dns } from "./dns.ts";
import { lookup, slicesOf } from "./endpoints.ts";
import { FolderRegistry } from "./folder-registry.ts";
import { Kubelet, type PlayOptions, type RunningPod } from "./kubelet.ts";
import { Network, POD_PREFIX } from "./network.ts";
import { type KubeObject, namespaceOf, type Pod } from "./objects.ts";
import { buildImage, type ImageKind, podsMissing, ROOT, run } from "./podman.ts";
import { ApiRegistry, type Registry } from "./registry.ts";

/** Why a mesh of pods cannot be played here, or null. */
export const NO_PODS: string | null = podsMissing();

/** What a mesh is made with. */
export interface MeshOptions {
  /** `proxyInit.mode` of the installation. */
  readonly mode: "legacy" | "nft" | "auto" | "plain";
  /** On which runtime proxies run. */
  readonly image: ImageKind;
  /** Where objects are; unless said, an API server where there is one. */
  readonly source?: "api server" | "folder";
  /** More of `tulle install --set`. */
  readonly set?: readonly string[];
}

export class PodMesh implements AsyncDisposable {
  readonly #ends: (() => PromiseLike<unknown> | void)[] = [];
  #dir: TempDir = undefined as never;
  #captures = 0;
  #modeFlags: readonly string[] = [];
  #outside: RunningPod = undefined as never;
  #turn: Promise<void> = Promise.resolve();
  #told = new Map<string, string>();
  network: Network = undefined as never;
  image = "";
  registry: Registry = undefined as never;
  kubelet: Kubelet = undefined as never;
  /** Pods of the control plane by component. */
  readonly plane = new Map<string, RunningPod>();

  /** Starts everything, or leaves nothing. */
  static async start(options: MeshOptions): Promise<PodMesh> {
    const mesh = new PodMesh();
    try {
      await mesh.#start(options);
      return mesh;
    } catch (e) {
      await mesh[Symbol.asyncDispose]();
      throw e;
    }
  }

  async #start({ mode, image, set = [], source }: MeshOptions): Promise<void> {
    const dir = this.#dir = await tempDir("pods");
    this.#ends.push(() => dir[Symbol.asyncDispose]());
    this.#modeFlags = ["--set", `proxyInit.mode=${mode}`];
    this.image = await buildImage(image);
    await buildApps(dir.join("apps"));
    const folder = (source ?? (NO_CLUSTER === null ? "api server" : "folder")) === "folder";
    const registry = this.registry = folder
      ? await FolderRegistry.open(dir.join("registry"))
      : await ApiRegistry.start();
    this.#ends.push(() => registry[Symbol.asyncDispose]());
    const network = this.network = await Network.create();
    this.#ends.push(() => network.remove());
    const kubelet = this.kubelet = this.#openKubelet();
    this.#ends.push(() => kubelet[Symbol.asyncDispose]());
    // The bridge is there when its first pod is, and so is the address that names are asked at.
    const container = { args: ["/apps/server.js"] };
    this.#outside = await kubelet.play(
      this.pod("outside", { namespace: "default", account: "default", container }),
    );
    const dns = await Dns.listen(this.network.gateway, (name) => this.#lookup(name));
    this.#ends.push(() => dns.close());
    await this.#install(mode, set);
  }

  /** A server and client that nobody meshed. */
  get outside(): RunningPod {
    return this.#outside;
  }

  #openKubelet(): Kubelet {
    let next = 10;
    const { registry } = this;
    return new Kubelet({
      network: this.network.name,
      prefix: POD_PREFIX,
      dir: this.#dir.path,
      nextIps: () => {
        const n = next++;
        return this.network.ips(n);
      },
      place: (pod) => ({
        nodeName: "node-1",
        nameserver: this.network.gateway,
        serviceEnv: [
          { name: "KUBERNETES_SERVICE_HOST", value: "kubernetes.default.svc" },
          { name: "KUBERNETES_SERVICE_PORT", value: `${registry.port}` },
        ],
        configMap: (name) =>
          name === "kube-root-ca.crt"
            ? { "ca.crt": registry.ca }
            : dataOf(registry.find("ConfigMap", namespaceOf(pod), name)),
        secret: (name) =>
          Object.fromEntries(
            Object.entries(dataOf(registry.find("Secret", namespaceOf(pod), name)))
              .map(([key, text]) => [key, Buffer.from(text, "base64")]),
          ),
        token: (account, audience) => registry.token(namespaceOf(pod), account, audience),
      }),
      changed: () => this.#turn = this.#turn.then(() => this.#endpoints()),
      status: async (pod, status) => {
        if (namespaceOf(pod) !== "default") await registry.setStatus({ ...pod, status });
      },
    });
  }

  /** Writes the slices that changed. */
  async #endpoints(): Promise<void> {
    const states = this.kubelet.states;
    for (const service of this.registry.services()) {
      for (const slice of slicesOf(service, states)) {
        const key = `${namespaceOf(slice)}/${slice.metadata.name}`;
        const text = JSON.stringify(slice);
        if (this.#told.get(key) === text) continue;
        await this.registry.apply(slice);
        this.#told.set(key, text);
      }
    }
  }

  #lookup(name: string): readonly string[] | null {
    if (name === "localhost") return ["127.0.0.1", "::1"];
    if (name.startsWith("kubernetes.default.svc")) return [this.network.gateway];
    return lookup(name, this.registry.services(), this.kubelet.states);
  }

  /** Applies what `tulle install` prints, then plays its Deployments. */
  async #install(mode: string, set: readonly string[]): Promise<void> {
    for (const object of objectsIn(await this.tulle(["install", "--crds"]))) {
      await this.registry.apply(object);
    }
    const values = [
      `proxyInit.mode=${mode}`,
      `proxyInit.kubeAPIServerPorts=443\\,6443\\,${this.registry.port}`,
      ...this.imageValues,
      ...set,
    ];
    const printed = await this.tulle(["install", ...values.flatMap((v) => ["--set", v])]);
    for (const object of objectsIn(printed)) {
      await this.registry.apply(object);
      if (object.kind !== "Deployment") continue;
      const { template } = object["spec"] as { template: Pod };
      const pod = await this.registry.planePod(
        podOf(template, `${object.metadata.name}-1`, object),
      );
      if (pod === null) continue;
      const component = pod.metadata.labels?.["linkerd.io/control-plane-component"] ?? "";
      this.plane.set(component, await this.kubelet.play(pod));
    }
  }

  /** For `--set`: our image, and both families of addresses. */
  get imageValues(): readonly string[] {
    const [name = "", version = ""] = this.image.split(/:(?=[^:]*$)/);
    return [
      "disableIPv6=false",
      ...["proxy.image", "controllerImage"].flatMap((image) => [
        `${image}.name=${name}`,
        `${image}.version=${version}`,
      ]),
    ];
  }

  /** Runs our command line on the host. */
  async tulle(args: readonly string[], input = ""): Promise<string> {
    const { status, stdout, stderr } = await run(
      [process.execPath, "src/cli/main.ts", ...args],
      { input },
    );
    if (status !== 0) throw new Error(`tulle ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** A namespace with accounts. */
  async namespace(name: string, ...accounts: string[]): Promise<void> {
    await this.registry.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
    for (const account of accounts) await this.registry.token(name, account);
  }

  /** An application's pod as its owner writes it: nothing in it knows of the mesh. */
  pod(
    name: string,
    options: {
      readonly namespace: string;
      readonly account: string;
      readonly labels?: Readonly<Record<string, string>>;
      readonly annotations?: Readonly<Record<string, string>>;
      readonly container?: object;
      readonly spec?: object;
    },
  ): Pod {
    const { namespace, account, labels = {}, annotations = {}, container = {}, spec } = options;
    return {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, labels: { app: name, ...labels }, annotations },
      spec: {
        serviceAccountName: account,
        nodeName: "node-1",
        containers: [{
          name: "app",
          image: this.image,
          command: ["/usr/local/bin/node"],
          args: ["-e", "setInterval(() => {}, 1e6); process.on('SIGTERM', () => process.exit(0))"],
          securityContext: { runAsUser: 1000 },
          volumeMounts: [{ name: "apps", mountPath: "/apps" }],
          ...container,
        }],
        volumes: [{ name: "apps", hostPath: { path: this.#dir.join("apps") } }],
        ...spec,
      },
    };
  }

  /** `tulle inject` on a manifest, then admission by the webhook, then played. */
  async mesh(
    pod: Pod,
    options: PlayOptions & { readonly flags?: readonly string[] } = {},
  ): Promise<RunningPod> {
    const { flags = [] } = options;
    const text = this.registry.hasAdmission
      ? await this.tulle(["inject", ...flags, "-"], JSON.stringify(pod))
      : await this.injectManually(pod, ...this.#modeFlags, ...flags);
    const [injected] = objectsIn(text);
    const made = await this.#admitted(injected as Pod);
    return await this.kubelet.play(made, options);
  }

  /**
   * Makes a pod that must come back injected. An API server takes a moment until it calls a new webhook,
   * and what it cannot ask about passes as it is (`failurePolicy: Ignore`): such a pod is made again.
   */
  async #admitted(pod: Pod): Promise<Pod> {
    const end = performance.now() + 60_000;
    for (;;) {
      const made = await this.registry.createPod(pod);
      const { initContainers = [], containers } = made.spec;
      if ([...initContainers, ...containers].some((c) => c.name === "linkerd-proxy")) return made;
      if (performance.now() > end) throw new Error(`${pod.metadata.name} is not injected`);
      await this.registry.remove(made);
      await new Promise((again) => setTimeout(again, 300));
    }
  }

  /** What `tulle inject --manual` makes of a manifest. */
  async injectManually(pod: Pod, ...flags: string[]): Promise<string> {
    const anchors = this.#dir.join("anchors.crt");
    const roots = this.registry.find("ConfigMap", "linkerd", "linkerd-identity-trust-roots");
    await writeFile(anchors, dataOf(roots)["ca-bundle.crt"] ?? "");
    return await this.tulle([
      ...["inject", "--manual", "--trust-anchors", anchors],
      ...this.imageValues.flatMap((value) => ["--set", value]),
      ...flags,
      "-",
    ], JSON.stringify(pod));
  }

  /** A client's command in a pod, and the JSON that it answers. */
  async ask(pod: RunningPod, ...command: string[]): Promise<Record<string, unknown>> {
    const { stdout, stderr } = await pod.exec(
      "app",
      "/usr/local/bin/node",
      "/apps/client.js",
      ...command,
    );
    try {
      return JSON.parse(stdout) as Record<string, unknown>;
    } catch {
      throw new Error(`The client answered ${stdout}${stderr}`);
    }
  }

  /** Rolls a module out by the control plane's admin server, as an operator does; gives its status. */
  async rollOut(filter: string, module: Uint8Array): Promise<number> {
    const script = "const [url, wasm] = process.argv.slice(1); " +
      "fetch(url, { method: 'POST', headers: { 'content-type': 'application/wasm' }, " +
      "body: Buffer.from(wasm, 'base64') }).then((r) => console.log(r.status))";
    const url = `http://127.0.0.1:9996/api/filters/${filter}/rollout`;
    const wasm = Buffer.from(module).toString("base64");
    const { stdout } = await this.plane.get("destination")
      ?.exec("destination", "/usr/local/bin/node", "-e", script, url, wasm) ?? { stdout: "" };
    return Number(stdout);
  }

  /** Ends `load` of the clients that run. */
  async endLoad(): Promise<void> {
    await writeFile(this.#dir.join("apps", "stop"), "");
  }

  /** Records what goes over the bridge. */
  async capture(): Promise<Capture> {
    return await Capture.start(
      this.network.device,
      this.#dir.join(`capture-${++this.#captures}.pcap`),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}

/** A pod of a Deployment's template. */
function podOf(template: Pod, name: string, owner: KubeObject): Pod {
  const { metadata, spec } = template;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, name, namespace: namespaceOf(owner) },
    spec: { ...spec, nodeName: "node-1" },
  };
}

function dataOf(object: KubeObject | undefined): Readonly<Record<string, string>> {
  return (object?.["data"] ?? {}) as Readonly<Record<string, string>>;
}

/** The objects of a stream of YAML. */
export function objectsIn(yaml: string): KubeObject[] {
  const documents = parseAllDocuments(yaml);
  return (Array.isArray(documents) ? documents : [])
    .map((document) => document.toJS() as KubeObject | null)
    .filter((object): object is KubeObject => object !== null);
}

/** Applications with what they import, as files that need nothing beside them. */
async function buildApps(outdir: string): Promise<void> {
  await build({
    absWorkingDir: ROOT,
    entryPoints: ["test/pods/apps/server.ts", "test/pods/apps/client.ts"],
    outdir,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node26",
    banner: {
      js:
        'import { createRequire as __r } from "node:module"; const require = __r(import.meta.url);',
    },
    logLevel: "silent",
  });
}
