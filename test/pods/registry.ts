// Where the suite keeps Kubernetes objects: a real API server, or where there is none a folder of YAML
// (`folder-registry.ts`). What is applied is remembered, so that the suite's kubelet and endpoints
// controller can look at it without asking.

import { KubeError } from "../../src/control/k8s/api.ts";
import { RealCluster } from "../kubernetes/real-cluster.ts";
import type { KubeObject, Pod, Service } from "./objects.ts";
import { namespaceOf } from "./objects.ts";

/** What the suite needs of either. */
export interface Registry extends AsyncDisposable {
  /** Whether pods that are made come back injected. */
  readonly hasAdmission: boolean;
  /** Of the API server, or 0. */
  readonly port: number;
  /** PEM of who signed the API server's certificate, or empty. */
  readonly ca: string;
  /** Applies an object, and gives what came of it. */
  apply<T extends KubeObject>(object: T): Promise<T>;
  /** Makes a pod, through admission where there is one. */
  createPod(pod: Pod): Promise<Pod>;
  setStatus(object: KubeObject): Promise<void>;
  /** At once: there is no kubelet to wait for. */
  remove(object: KubeObject): Promise<void>;
  find(kind: string, namespace: string, name: string): KubeObject | undefined;
  services(): readonly Service[];
  /** A token of an account, which is made where it is missing. */
  token(namespace: string, account: string, audience?: string): Promise<string>;
  /** A pod of the control plane as it reads this registry; null: it is not needed then. */
  planePod(pod: Pod): Promise<Pod | null>;
}

/** A real API server. */
export class ApiRegistry implements Registry {
  readonly hasAdmission = true;
  readonly #cluster: RealCluster;
  readonly #objects = new Map<string, KubeObject>();

  private constructor(cluster: RealCluster) {
    this.#cluster = cluster;
  }

  static async start(): Promise<ApiRegistry> {
    return new ApiRegistry(
      await RealCluster.start([
        // pods reach it over the bridge, and it reaches the webhook's pod by its endpoints
        "--bind-address=0.0.0.0",
        "--enable-aggregator-routing=true",
        "--service-cluster-ip-range=10.96.0.0/16,fd96::/112",
      ]),
    );
  }

  get port(): number {
    return this.#cluster.port;
  }

  get ca(): string {
    return this.#cluster.ca;
  }

  async apply<T extends KubeObject>(object: T): Promise<T> {
    const made = await this.#cluster.apply(object) as KubeObject as T;
    this.#objects.set(keyOf(object), made);
    return made;
  }

  async createPod(pod: Pod): Promise<Pod> {
    const made = await this.#cluster.api.request({
      method: "POST",
      path: `/api/v1/namespaces/${namespaceOf(pod)}/pods`,
      body: pod,
    }) as Pod;
    this.#objects.set(keyOf(pod), made);
    return made;
  }

  async setStatus(object: KubeObject): Promise<void> {
    await this.#cluster.setStatus(object);
  }

  async remove(object: KubeObject): Promise<void> {
    this.#objects.delete(keyOf(object));
    const path = await this.#cluster.path(object);
    // The control plane deletes nothing, so that its client has no word for it.
    const method = "DELETE" as "POST";
    await this.#cluster.api.request({ method, path: `${path}?gracePeriodSeconds=0` })
      .catch((e: unknown) => {
        if (!(e instanceof KubeError && e.status === 404)) throw e;
      });
  }

  find(kind: string, namespace: string, name: string): KubeObject | undefined {
    return this.#objects.get(`${kind} ${namespace} ${name}`);
  }

  services(): readonly Service[] {
    return [...this.#objects.values()].filter((o): o is Service => o.kind === "Service");
  }

  async token(namespace: string, account: string, audience?: string): Promise<string> {
    if (this.find("ServiceAccount", namespace, account) === undefined) {
      const metadata = { name: account, namespace };
      await this.apply({ apiVersion: "v1", kind: "ServiceAccount", metadata });
    }
    return await this.#cluster.token(namespace, account, audience);
  }

  planePod(pod: Pod): Promise<Pod> {
    return this.createPod(pod);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]();
  }
}

/** What an object is remembered by. */
export function keyOf(object: KubeObject): string {
  const cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"];
  const namespace = cluster.includes(object.kind) ? "" : namespaceOf(object);
  return `${object.kind} ${namespace} ${object.metadata.name}`;
}
