// Plays a container runtime: runs the plugins of a list for a pod's network namespace in libcni's order,
// each with the result of those before it. Debian's reference plugins run in a namespace that stands for
// the node, ours where the test is. Also the API server that ours asks, as far as it asks.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { x509PemOf } from "../k8s/localhost-certificate.ts";
import type { Namespace } from "./namespaces.ts";

/** Where Debian has the reference plugins. */
export const REFERENCE_PLUGINS = "/usr/lib/cni";

/** Why they cannot be run, or null. */
export function referencePluginsMissing(): string | null {
  const all = ["bridge", "host-local", "loopback", "portmap"];
  return all.every((name) => existsSync(`${REFERENCE_PLUGINS}/${name}`))
    ? null
    : "containernetworking-plugins is not installed (tools/setup-debian)";
}

/** A pod's sandbox. */
export interface Sandbox {
  readonly id: string;
  readonly netns: Namespace;
  readonly namespace: string;
  readonly name: string;
}

/** A list as it is in a file. */
export interface NetworkList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly { readonly type: string; readonly [key: string]: unknown }[];
}

/** What plugins answer an ADD with, as far as a test looks. */
export interface CniResult {
  readonly cniVersion: string;
  readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string }[];
}

export class CniRuntime {
  readonly #list: NetworkList;
  readonly #node: Namespace;
  /** Our executable. */
  readonly #ours: string;
  readonly #results = new Map<string, CniResult>();
  /** What plugins wrote to standard error. */
  log = "";

  constructor(list: NetworkList, node: Namespace, ours: string) {
    this.#list = list;
    this.#node = node;
    this.#ours = ours;
  }

  /** Runs ADD along the list. Rejects with the first plugin's error. */
  async add(pod: Sandbox): Promise<CniResult> {
    let result: CniResult | undefined;
    for (const plugin of this.#list.plugins) {
      result = JSON.parse(await this.#run("ADD", plugin, pod, result)) as CniResult;
    }
    if (result === undefined) throw new Error("the list has no plugins");
    this.#results.set(pod.id, result);
    return result;
  }

  async check(pod: Sandbox): Promise<void> {
    for (const plugin of this.#list.plugins) {
      await this.#run("CHECK", plugin, pod, this.#results.get(pod.id));
    }
  }

  /** Runs DEL from the list's end to its beginning. */
  async del(pod: Sandbox): Promise<void> {
    for (const plugin of this.#list.plugins.toReversed()) {
      await this.#run("DEL", plugin, pod, this.#results.get(pod.id));
    }
    this.#results.delete(pod.id);
  }

  async #run(
    command: "ADD" | "CHECK" | "DEL",
    plugin: NetworkList["plugins"][number],
    pod: Sandbox,
    prevResult: CniResult | undefined,
  ): Promise<string> {
    const { cniVersion, name } = this.#list;
    const input = JSON.stringify({ ...plugin, cniVersion, name, prevResult });
    const program = plugin.type === "linkerd-cni"
      ? [this.#ours]
      : ["ip", "netns", "exec", this.#node.name, `${REFERENCE_PLUGINS}/${plugin.type}`];
    const [file = "", ...args] = program;
    const child = spawn(file, args, {
      env: {
        // As a kubelet's unit has it.
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        CNI_COMMAND: command,
        CNI_CONTAINERID: pod.id,
        CNI_NETNS: `/run/netns/${pod.netns.name}`,
        CNI_IFNAME: "eth0",
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name};` +
          `K8S_POD_INFRA_CONTAINER_ID=${pod.id}`,
        CNI_PATH: REFERENCE_PLUGINS,
      },
      timeout: 60_000,
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
    child.stderr.setEncoding("utf8").on("data", (text: string) => this.log += text);
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    const [status] = await once(child, "close") as [number | null];
    if (status !== 0) throw new Error(`${plugin.type} ${command}: status ${status}: ${output}`);
    return output;
  }
}

/** An API server of a few objects. */
export interface FakeApi {
  readonly port: number;
  /** PEM, of its certificate. */
  readonly ca: string;
  /** By path. */
  readonly objects: Map<string, unknown>;
  readonly token: string;
  close(): Promise<void>;
}

/** On loopback, for who has the token. */
export async function startFakeApi(): Promise<FakeApi> {
  const { cert, key } = await x509PemOf("localhost");
  const objects = new Map<string, unknown>();
  const token = `token-of-${process.pid}`;
  const server = createServer({ cert, key }, (request, response) => {
    const object = objects.get(request.url ?? "");
    const status = request.headers.authorization !== `Bearer ${token}`
      ? 401
      : object === undefined
      ? 404
      : 200;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(status === 200 ? object : { kind: "Status", code: status }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    ca: cert,
    objects,
    token,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections?.();
      }),
  };
}
