// A folder of YAML in the place of an API server: each object is a file, and the control plane's pods
// mount the folder. What an API server would fill in, cluster addresses and uids, is filled in here;
// tokens are signed by a key that the identity service keeps.

import { chmod, chown, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  generateTokenKey,
  importTokenKey,
  issueToken,
  TOKEN_KEY_FILE,
  type TokenKey,
} from "../../src/api/service-account-token.ts";
import type { Container, KubeObject, Pod, Service, Volume } from "./objects.ts";
import { namespaceOf } from "./objects.ts";
import { keyOf, type Registry } from "./registry.ts";

/** The control plane's user. */
const UID = 2103;
const MOUNT = "/var/run/linkerd/objects";
/** What the control plane has tables for: nothing else is written. */
const READ = new Set([
  ...["Namespace", "Pod", "Service", "EndpointSlice", "ServiceProfile", "Server"],
  ...["AuthorizationPolicy", "MeshTLSAuthentication", "NetworkAuthentication", "WasmFilter"],
]);

export class FolderRegistry implements Registry {
  readonly hasAdmission = false;
  readonly port = 0;
  readonly ca = "";
  readonly #folder: string;
  readonly #state: string;
  readonly #key: TokenKey;
  readonly #objects = new Map<string, KubeObject>();
  #addresses = 0;

  private constructor(folder: string, state: string, key: TokenKey) {
    this.#folder = folder;
    this.#state = state;
    this.#key = key;
  }

  static async open(dir: string): Promise<FolderRegistry> {
    const [folder, state] = [join(dir, "objects"), join(dir, "state")];
    const own = join(state, "own");
    for (const path of [folder, own]) await mkdir(path, { recursive: true });
    // whoever may write there is the control plane alone
    await chmod(own, 0o700);
    const pem = await generateTokenKey();
    await writeFile(join(own, TOKEN_KEY_FILE), pem, { mode: 0o600 });
    for (const path of [own, join(own, TOKEN_KEY_FILE)]) await chown(path, UID, UID);
    for (const path of [dir, folder, state]) await chmod(path, 0o755);
    return new FolderRegistry(folder, state, await importTokenKey(pem));
  }

  async apply<T extends KubeObject>(object: T): Promise<T> {
    const filled = object.kind === "Service" ? this.#withAddresses(object) : object;
    await this.#write(filled);
    return filled as T;
  }

  async createPod(pod: Pod): Promise<Pod> {
    const creationTimestamp = new Date().toISOString();
    const metadata = { ...pod.metadata, uid: crypto.randomUUID(), creationTimestamp };
    const made: Pod = { ...pod, metadata };
    await this.#write(made);
    return made;
  }

  async setStatus(object: KubeObject): Promise<void> {
    await this.#write({ ...this.#objects.get(keyOf(object)) ?? object, status: object["status"] });
  }

  async remove(object: KubeObject): Promise<void> {
    this.#objects.delete(keyOf(object));
    await rm(this.#path(object), { force: true });
  }

  find(kind: string, namespace: string, name: string): KubeObject | undefined {
    return this.#objects.get(`${kind} ${namespace} ${name}`);
  }

  services(): readonly Service[] {
    return [...this.#objects.values()].filter((o): o is Service => o.kind === "Service");
  }

  async token(namespace: string, serviceAccount: string, audience?: string): Promise<string> {
    return await issueToken(this.#key, {
      namespace,
      serviceAccount,
      nowMs: Date.now(),
      lifetimeMs: 3_600_000,
      ...(audience === undefined ? {} : { audience }),
    });
  }

  /** The manifests' pod, but for where its objects come from. */
  async planePod(pod: Pod): Promise<Pod | null> {
    const component = pod.metadata.labels?.["linkerd.io/control-plane-component"];
    if (component === "proxy-injector") return null;
    const issuer = "/var/run/linkerd/identity";
    const files = component === "identity"
      ? [`--issuer=${issuer}/issuer`, `--trust-anchors=${issuer}/trust-roots/ca-bundle.crt`]
      : [];
    const source = (args: readonly string[]) =>
      args.flatMap((arg) =>
        arg === "--source=kubernetes" ? [`--folder=${MOUNT}`, ...files] : [arg]
      );
    const containers = pod.spec.containers.map((container): Container =>
      container.name !== component ? container : {
        ...container,
        args: source(container.args ?? []),
        volumeMounts: [...container.volumeMounts ?? [], { name: "objects", mountPath: MOUNT }],
      }
    );
    const volumes = (pod.spec.volumes ?? []).map((volume): Volume =>
      volume.name === "state" && component === "identity"
        ? { name: "state", hostPath: { path: this.#state } }
        : volume
    );
    return await this.createPod({
      ...pod,
      spec: {
        ...pod.spec,
        containers,
        volumes: [...volumes, { name: "objects", hostPath: { path: this.#folder } }],
      },
    });
  }

  #withAddresses(service: KubeObject): KubeObject {
    const spec = service["spec"] as Service["spec"];
    const known = this.find("Service", namespaceOf(service), service.metadata.name);
    if (known !== undefined || spec.clusterIP === "None") return known ?? service;
    const n = ++this.#addresses;
    const clusterIPs = [`10.96.0.${n}`, `fd96::${n}`];
    return { ...service, spec: { ...spec, clusterIP: clusterIPs[0], clusterIPs } };
  }

  /** Whole or not at all: the folder is watched. */
  async #write(object: KubeObject): Promise<void> {
    this.#objects.set(keyOf(object), object);
    if (!READ.has(object.kind)) return;
    const path = this.#path(object);
    await writeFile(`${path}.part`, JSON.stringify(object));
    await rename(`${path}.part`, path);
  }

  #path(object: KubeObject): string {
    return join(this.#folder, `${keyOf(object).toLowerCase().replaceAll(" ", "_")}.yaml`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // the mesh's folder goes as a whole
  }
}
