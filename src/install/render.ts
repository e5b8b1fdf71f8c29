// Values to manifests, and manifests to text. Pure: the CLI, the files in `k8s/` and the tests all get
// theirs here.

import { stringify } from "yaml";
import type { Manifest } from "../control/injector/containers.ts";
import { configObjects, namespaceObject, webhookObjects } from "./config.ts";
import { controlPlane } from "./control-plane.ts";
import { monitors, networkPolicies } from "./extras.ts";
import type { InstallInput } from "./meta.ts";
import { rbac } from "./rbac.ts";

/** Everything but the custom resources, in an order in which it can be applied. */
export function controlPlaneObjects(input: InstallInput): Manifest[] {
  const v = input.values;
  return [
    namespaceObject(v),
    ...rbac(v),
    ...configObjects(input),
    ...controlPlane(input),
    ...networkPolicies(v),
    ...monitors(v),
    // last: from here on pods and policies are asked about
    ...webhookObjects(v),
  ];
}

/** YAML documents. */
export function toYaml(objects: readonly Manifest[]): string {
  return objects.map((object) =>
    "---\n" + stringify(object, { lineWidth: 0, aliasDuplicateObjects: false, version: "1.1" })
  ).join("");
}

/** One JSON list. */
export function toJson(objects: readonly Manifest[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }, null, 2) + "\n";
}
