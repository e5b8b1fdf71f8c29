// What every object of an installation has in common: names, labels, who made it, and the two things
// that are made outside of the values (certificates, digests).

import type { Manifest } from "../control/injector/containers.ts";
import { VERSION } from "../control/injector/values.ts";
import type { Values } from "./values.ts";

/** All that a rendering depends on. */
export interface InstallInput {
  /** With certificates filled in: see `cli/install-certificates.ts`. */
  readonly values: Values;
  /** Hex; of `values.identityTrustAnchorsPEM`. */
  readonly anchorsSha256: string;
  /** What was set besides the defaults, as text; kept for `upgrade`. */
  readonly overrides: string;
}

/** For `linkerd.io/created-by`. */
export const CREATED_BY = `linkerd/cli ${VERSION}`;

/** An object of the control plane's namespace. */
export function namespaced(
  v: Values,
  apiVersion: string,
  kind: string,
  name: string,
  component: string | null,
  rest: Manifest,
): Manifest {
  const place = { name, namespace: v.controlPlaneNamespace };
  return { apiVersion, kind, metadata: { ...place, ...marks(v, component) }, ...rest };
}

/** An object of the cluster. */
export function clusterWide(
  v: Values,
  apiVersion: string,
  kind: string,
  name: string,
  component: string | null,
  rest: Manifest,
): Manifest {
  return { apiVersion, kind, metadata: { name, ...marks(v, component) }, ...rest };
}

/** By which `prune` and people find what an installation made. */
function marks(v: Values, component: string | null) {
  return {
    annotations: { "linkerd.io/created-by": CREATED_BY },
    labels: labels(v, component),
  };
}

/** Labels of an object of the control plane. */
export function labels(v: Values, component: string | null): Manifest {
  return {
    "app.kubernetes.io/part-of": "Linkerd",
    ...(component === null ? {} : { "linkerd.io/control-plane-component": component }),
    "linkerd.io/control-plane-ns": v.controlPlaneNamespace,
  };
}

/** Bytes of text as base64: what a Secret's `data` has. */
export function base64(text: string): string {
  let binary = "";
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}
