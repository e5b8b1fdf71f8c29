// The namespace, and what the control plane is configured with: the values as the injector reads them,
// trust anchors, issuer, webhook certificate, and what `upgrade` starts from.

import type { Manifest } from "../control/injector/containers.ts";
import { base64, type InstallInput, namespaced } from "./meta.ts";
import type { Values } from "./values.ts";

/** Where `upgrade` finds what was set. */
export const OVERRIDES_SECRET = "linkerd-config-overrides";
export const ISSUER_SECRET = "linkerd-identity-issuer";
export const WEBHOOK_SECRET = "linkerd-proxy-injector-k8s-tls";
export const ANCHORS_CONFIG = "linkerd-identity-trust-roots";

/** The namespace. */
export function namespaceObject(v: Values): Manifest {
  const ns = v.controlPlaneNamespace;
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name: ns,
      annotations: { "linkerd.io/inject": "disabled" },
      labels: {
        "config.linkerd.io/admission-webhooks": "disabled",
        "linkerd.io/control-plane-ns": ns,
        "linkerd.io/is-control-plane": "true",
        "pod-security.kubernetes.io/enforce": v.cniEnabled ? "restricted" : "privileged",
      },
    },
  };
}

/** ConfigMaps and Secrets. */
export function configObjects({ values: v, overrides }: InstallInput): Manifest[] {
  const { issuer } = v.identity;
  const { proxyInjector: hook } = v;
  return [
    namespaced(v, "v1", "ConfigMap", "linkerd-config", "controller", {
      // JSON is YAML, and is read without a library
      data: { values: JSON.stringify(withoutSecrets(v), null, 2) + "\n" },
    }),
    ...(v.identity.externalCA ? [] : [
      namespaced(v, "v1", "ConfigMap", ANCHORS_CONFIG, "identity", {
        data: { "ca-bundle.crt": v.identityTrustAnchorsPEM },
      }),
    ]),
    ...(issuer.scheme === "linkerd.io/tls"
      ? [
        namespaced(v, "v1", "Secret", ISSUER_SECRET, "identity", {
          type: "Opaque",
          data: { "crt.pem": base64(issuer.crtPEM), "key.pem": base64(issuer.keyPEM) },
        }),
      ]
      : []),
    ...(hook.externalSecret ? [] : [
      namespaced(v, "v1", "Secret", WEBHOOK_SECRET, "proxy-injector", {
        type: "kubernetes.io/tls",
        data: { "tls.crt": base64(hook.crtPEM), "tls.key": base64(hook.keyPEM) },
      }),
    ]),
    namespaced(v, "v1", "Secret", OVERRIDES_SECRET, "controller", {
      type: "Opaque",
      data: { "linkerd-config-overrides": base64(overrides) },
    }),
  ];
}

/** What anybody who may read ConfigMaps may see. */
function withoutSecrets(v: Values): Values {
  return {
    ...v,
    identity: { ...v.identity, issuer: { ...v.identity.issuer, keyPEM: "" } },
    proxyInjector: { ...v.proxyInjector, keyPEM: "" },
  };
}

/** The webhook's registration. */
export function webhookObject(v: Values): Manifest {
  const { proxyInjector: hook, controlPlaneNamespace: ns } = v;
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: {
      name: "linkerd-proxy-injector-webhook-config",
      ...(hook.injectCaFrom === ""
        ? {}
        : { annotations: { "cert-manager.io/inject-ca-from": hook.injectCaFrom } }),
      labels: {
        "linkerd.io/control-plane-component": "proxy-injector",
        "linkerd.io/control-plane-ns": ns,
      },
    },
    webhooks: [{
      name: "linkerd-proxy-injector.linkerd.io",
      namespaceSelector: {
        matchExpressions: [
          {
            key: "config.linkerd.io/admission-webhooks",
            operator: "NotIn",
            values: ["disabled"],
          },
          {
            key: "kubernetes.io/metadata.name",
            operator: "NotIn",
            values: ["kube-system", "cert-manager"],
          },
        ],
      },
      objectSelector: {
        matchExpressions: [
          { key: "linkerd.io/control-plane-component", operator: "DoesNotExist" },
          { key: "linkerd.io/cni-resource", operator: "DoesNotExist" },
        ],
      },
      clientConfig: {
        service: { name: "linkerd-proxy-injector", namespace: ns, path: "/" },
        ...(hook.injectCaFrom === ""
          ? { caBundle: base64(hook.caBundle === "" ? hook.crtPEM : hook.caBundle) }
          : {}),
      },
      failurePolicy: v.webhookFailurePolicy,
      admissionReviewVersions: ["v1", "v1beta1"],
      rules: [{
        operations: ["CREATE"],
        apiGroups: [""],
        apiVersions: ["v1"],
        resources: ["pods", "services"],
        scope: "Namespaced",
      }],
      sideEffects: "NoneOnDryRun",
      timeoutSeconds: hook.timeoutSeconds,
    }],
  };
}
