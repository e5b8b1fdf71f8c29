// The control plane against a real API server, for tests: a cluster with our manifests and one application,
// and the control plane's services as their own accounts.

import { readFile, writeFile } from "node:fs/promises";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import * as assert from "uvu/assert";
import { createLogger, type Logger } from "../../src/core/log.ts";
import { parseControlFlags, type ServiceName } from "../../src/control/flags.ts";
import { startControl } from "../../src/control/main.ts";
import { type KubeObject, objectsOf, RealCluster } from "./real-cluster.ts";

/** Waits for what a cluster does; rejects after a long time. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 90_000;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((again) => setTimeout(again, 100));
  }
}

/** An object in the namespace shop. */
export const object = (
  apiVersion: string,
  kind: string,
  name: string,
  more: Record<string, unknown>,
): KubeObject => ({ apiVersion, kind, metadata: { name, namespace: "shop" }, ...more });

/** The EndpointSlice of the Service web. */
export const slice = (...ips: string[]) => ({
  ...object("discovery.k8s.io/v1", "EndpointSlice", "web-1", {
    addressType: "IPv4",
    ports: [{ name: "http", port: 8080 }],
    endpoints: ips.map((ip) => ({ addresses: [ip], conditions: { ready: true } })),
  }),
  metadata: { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } },
});

/** The Service web, and its only pod. */
export const SERVICE = object("v1", "Service", "web", {
  spec: {
    clusterIP: "10.96.7.7",
    selector: { app: "web" },
    ports: [{ name: "http", port: 80, targetPort: 8080 }],
  },
});
export const POD = {
  ...object("v1", "Pod", "web", {
    spec: {
      serviceAccountName: "web",
      nodeName: "node-1",
      containers: [{ name: "app", image: "app", ports: [{ containerPort: 8080 }] }],
    },
    status: { phase: "Running", podIP: "10.1.0.1", podIPs: [{ ip: "10.1.0.1" }] },
  }),
  metadata: {
    name: "web",
    namespace: "shop",
    labels: { app: "web", "linkerd.io/control-plane-ns": "linkerd" },
  },
};
/** A cluster with our manifests and one application. */
export async function openCluster(): Promise<RealCluster> {
  const cluster = await RealCluster.start();
  for (const file of ["crds/crds", "control-plane/control-plane"]) {
    const text = await readFile(new URL(`../../k8s/${file}.yaml`, import.meta.url), "utf8");
    for (const o of objectsOf(text)) await cluster.apply(o);
  }
  // Nobody serves the webhook here.
  const labels = { "config.linkerd.io/admission-webhooks": "disabled" };
  await cluster.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", labels } });
  for (const o of [object("v1", "ServiceAccount", "web", {}), SERVICE, POD, slice("10.1.0.1")]) {
    await cluster.apply(o);
  }
  await cluster.setStatus(POD);
  return cluster;
}

function capture(lines: string[]): Logger {
  return createLogger({
    level: "debug",
    format: "plain",
    wall: Date.now,
    write: (line) => lines.push(line),
  });
}

/** Starts services of the control plane as a service account of namespace linkerd. */
export async function startAs(
  cluster: RealCluster,
  account: string,
  serve: ServiceName[],
  more: readonly string[] = [],
) {
  const tokenFile = cluster.file(`${account}.token`);
  await writeFile(tokenFile, await cluster.token("linkerd", account) + "\n", { mode: 0o600 });
  const lines: string[] = [];
  const flags = parseControlFlags([
    "--source=kubernetes",
    ...["--kubeconfig", await cluster.kubeconfig({ tokenFile }), `--serve=${serve.join(",")}`],
    ...["--state", cluster.file(`state-${account}`), ...more],
    ...["destination", "policy", "identity", "admin"].map((n) => `--${n}-listen=127.0.0.1:0`),
  ]);
  assert.ok(flags !== null);
  return { control: await startControl(flags, capture(lines)), lines, tokenFile };
}

/** gRPC to an address. */
export function connect(addr: string) {
  const baseUrl = `http://${addr}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  return {
    transport: createGrpcTransport({ baseUrl, sessionManager }),
    [Symbol.dispose]: () => sessionManager.abort(),
  };
}

export const GATEWAY = "gateway.networking.k8s.io";

/** As much of the Gateway API's definition of a kind as its reader needs. */
export const definition = (kind: string, plural: string, version = "v1"): KubeObject => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: `${plural}.${GATEWAY}`,
    annotations: { "api-approved.kubernetes.io": "unapproved, for a test" },
  },
  spec: {
    group: GATEWAY,
    names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
    scope: "Namespaced",
    versions: [{
      ...{ name: version, served: true, storage: true, subresources: { status: {} } },
      schema: {
        openAPIV3Schema: {
          type: "object",
          properties: {
            spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
            status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
          },
        },
      },
    }],
  },
});

/** Waits until a route's status says this of its one parent: reasons of all its conditions. */
export async function says(cluster: RealCluster, route: KubeObject, words: string): Promise<void> {
  const path = await cluster.path(route);
  let said = "";
  await until(async () => {
    const { status } = await cluster.api.request({ path }) as {
      status?: {
        parents: { controllerName: string; conditions: { status: string; reason: string }[] }[];
      };
    };
    const [parent] = status?.parents ?? [];
    said = (parent?.conditions ?? []).map((c) => `${c.status} ${c.reason}`).join(", ");
    return said === words && parent?.controllerName === "linkerd.io/policy-controller";
  }, `${route.kind} ${route.metadata.name} says ${words}`).catch((e) => {
    throw new Error(`${e instanceof Error ? e.message : e}, but ${said}`);
  });
}
