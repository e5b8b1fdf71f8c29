// `npm run build:manifests`: the plain manifests in k8s/, from the same values and functions as
// `tulle install`. A test renders them again and compares. They hold no key: certificates are
// cert-manager's, or the Secrets that docs/OPERATIONS.md names.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import process from "node:process";
import { chart } from "./build-chart.ts";
import { crds } from "../src/install/crds.ts";
import { cniObjects } from "../src/install/cni.ts";
import { WEBHOOKS } from "../src/install/config.ts";
import { CREATED_BY } from "../src/install/meta.ts";
import { controlPlaneObjects, toYaml } from "../src/install/render.ts";
import { DEFAULT_VALUES, HA_OVERRIDES, type Values } from "../src/install/values.ts";

/** Whose certificates are somebody else's. */
const PLAIN: Values = {
  ...DEFAULT_VALUES,
  identity: {
    ...DEFAULT_VALUES.identity,
    externalCA: true,
    issuer: { ...DEFAULT_VALUES.identity.issuer, scheme: "kubernetes.io/tls" },
  },
  proxyInjector: { ...DEFAULT_VALUES.proxyInjector, ...external("linkerd-proxy-injector") },
  profileValidator: { ...DEFAULT_VALUES.profileValidator, ...external("linkerd-sp-validator") },
  policyValidator: { ...DEFAULT_VALUES.policyValidator, ...external("linkerd-policy-validator") },
};

/** cert-manager's Certificate has the name of the webhook's Service. */
function external(service: string) {
  return { externalSecret: true, injectCaFrom: `linkerd/${service}` };
}

const HA: Values = {
  ...PLAIN,
  ...HA_OVERRIDES,
  proxy: {
    ...PLAIN.proxy,
    resources: { ...PLAIN.proxy.resources, ...HA_OVERRIDES.proxy.resources },
  },
};

/** Text by path below k8s/. */
export function manifests(): Readonly<Record<string, string>> {
  const head = (what: string) =>
    `# ${what} Made by npm run build:manifests from the defaults of tulle install: do not edit.\n`;
  const plane = (values: Values, overrides: unknown) =>
    toYaml(controlPlaneObjects({
      values,
      // nobody's anchors are known here; a pod's annotation says so
      anchorsSha256: "",
      overrides: JSON.stringify(overrides, null, 2) + "\n",
    }));
  const others = {
    identity: { externalCA: true, issuer: { scheme: "kubernetes.io/tls" } },
    ...Object.fromEntries(
      WEBHOOKS.map(({ values, service }) => [values, external(service)]),
    ),
  };
  return {
    "crds/crds.yaml": head("Custom resources.") + toYaml(crds("linkerd", CREATED_BY)),
    "crds/kustomization.yaml": kustomization(["crds.yaml"]),
    "control-plane/control-plane.yaml": head("The control plane.") + plane(PLAIN, others),
    "control-plane/kustomization.yaml": kustomization(["control-plane.yaml"]),
    "control-plane-ha/control-plane.yaml": head("The control plane, highly available.") +
      plane(HA, { ...HA_OVERRIDES, ...others }),
    "control-plane-ha/kustomization.yaml": kustomization(["control-plane.yaml"]),
    "cni/cni.yaml": head("The CNI plugin.") + toYaml(cniObjects(DEFAULT_VALUES)),
    "cni/kustomization.yaml": kustomization(["cni.yaml"]),
    "kustomization.yaml": kustomization(["crds", "control-plane"]),
    ...chart(),
  };
}

function kustomization(resources: readonly string[]): string {
  return [
    "apiVersion: kustomize.config.k8s.io/v1beta1",
    "kind: Kustomization",
    "resources:",
    ...resources.map((r) => `  - ${r}`),
    "",
  ].join("\n");
}

if (import.meta.main) {
  const root = fileURLToPath(new URL("../k8s/", import.meta.url));
  for (const [path, text] of Object.entries(manifests())) {
    const before = await readFile(join(root, path), "utf8").catch(() => null);
    if (before === text) continue;
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
    process.stdout.write(`k8s/${path}\n`);
  }
}
