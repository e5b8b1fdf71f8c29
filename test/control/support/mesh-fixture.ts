// A mesh of a few objects in YAML, applied to a cluster, for tests of joins and services.

import { parse } from "yaml";
import type { FilterRef } from "../../../src/core/filter.ts";
import { Cluster } from "../../../src/control/cluster.ts";
import { type FilterSource, type Mesh, NO_FILTER_SOURCE } from "../../../src/control/mesh.ts";
import { DEFAULT_OPTIONS, type MeshOptions } from "../../../src/control/options.ts";
import { readResource } from "../../../src/control/resource.ts";

/** One object from YAML. */
export function resource(yaml: string) {
  return readResource(parse(yaml), "/mesh");
}

/** Applies each document, separated by `---`. */
export function apply(cluster: Cluster, yaml: string): void {
  cluster.batch(() => {
    for (const text of yaml.split(/^---$/m)) cluster.apply(resource(text));
  });
}

/** A mesh with the given objects. */
export function meshOf(
  yaml: string,
  options: Partial<MeshOptions> = {},
  filters: FilterSource = NO_FILTER_SOURCE,
): Mesh {
  const cluster = new Cluster();
  if (yaml !== "") apply(cluster, yaml);
  return { cluster, options: { ...DEFAULT_OPTIONS, ...options }, filters };
}

export const SERVICE = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  clusterIP: 10.0.0.1
  selector: { app: web }
  ports:
    - { name: http, port: 80, targetPort: http }
    - { name: db, port: 5432 }
`;

/** A ready, meshed pod. */
export function pod(name: string, ip: string, more = ""): string {
  return `
apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: shop
  labels: { app: web, linkerd.io/control-plane-ns: linkerd, linkerd.io/proxy-deployment: web }
${more === "" ? "" : `  annotations: { ${more} }\n`}spec:
  serviceAccountName: web
  nodeName: node-1
  containers:
    - name: app
      ports: [{ name: http, containerPort: 8080 }]
status:
  phase: Running
  podIP: ${ip}
`;
}

/** A reference for tests that only look at names. */
export function filterRef(name: string): FilterRef {
  return {
    name,
    sha256: "00".repeat(32),
    size: 8,
    config: new Uint8Array(),
    failurePolicy: "open",
    fuelPerHook: 0,
    memoryPages: 0,
  };
}
