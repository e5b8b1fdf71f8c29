// The namespace, and what the control plane is configured with: the values as the injector reads them,
// trust anchors, issuer, webhook certificate, and what `upgrade` starts from.

import type { Manifest } from "../control/injector/containers.ts";
import { base64, type InstallInput, namespaced } from "./meta.ts";
import type { Values } from "./values.ts";

/** Where `upgrade` finds what was set. */
export const OVERRIDES_SECRET = "linkerd-config-overrides";
export const ISSUER_SECRET = "linkerd-identity-issuer";
/** The webhooks: the group of values that has the certificate, whose Secret and Service they are. */
export const WEBHOOKS = [
  { values: "proxyInjector", service: "linkerd-proxy-injector", component: "proxy-injector" },
  { values: "profileValidator", service: "linkerd-sp-validator", component: "destination" },
  { values: "policyValidator", service: "linkerd-policy-validator", component: "destination" },
] as const;
export const ANCHORS_CONFIG = "linkerd-identity-trust-roots";

/** The Secret of a webhook's certificate, by its Service. */
export function webhookSecret(service: string): string {
  return `${service}-k8s-tls`;
}

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
    ...WEBHOOKS.filter((hook) => !v[hook.values].externalSecret).map((hook) => {
      const { crtPEM, keyPEM } = v[hook.values];
      return namespaced(v, "v1", "Secret", webhookSecret(hook.service), hook.component, {
        type: "kubernetes.io/tls",
        data: { "tls.crt": base64(crtPEM), "tls.key": base64(keyPEM) },
      });
    }),
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
    profileValidator: { ...v.profileValidator, keyPEM: "" },
    policyValidator: { ...v.policyValidator, keyPEM: "" },
  };
}

/** Registrations of the webhooks. */
export function webhookObjects(v: Values): Manifest[] {
  const every = (resources: readonly string[], apiGroup: string) => ({
    operations: ["CREATE", "UPDATE"],
    apiGroups: [apiGroup],
    apiVersions: ["*"],
    resources,
    scope: "Namespaced",
  });
  return [
    validator(v, "profileValidator", [
      { ...every(["serviceprofiles"], "linkerd.io"), apiVersions: ["v1alpha1", "v1alpha2"] },
    ]),
    validator(v, "policyValidator", [
      every([
        "authorizationpolicies",
        "egressnetworks",
        "httplocalratelimitpolicies",
        "httproutes",
        "meshtlsauthentications",
        "networkauthentications",
        "serverauthorizations",
        "servers",
      ], "policy.linkerd.io"),
      every(["grpcroutes", "httproutes", "tcproutes", "tlsroutes"], "gateway.networking.k8s.io"),
      every(["wasmfilters"], "tulle.dev"),
    ]),
    injector(v),
  ];
}

type WebhookOf = (typeof WEBHOOKS)[number];

function validator(v: Values, values: WebhookOf["values"], rules: readonly Manifest[]): Manifest {
  return registration(v, "ValidatingWebhookConfiguration", values, {
    namespaceSelector: { matchExpressions: [NOT_DISABLED] },
    failurePolicy: v.webhookFailurePolicy,
    admissionReviewVersions: ["v1", "v1beta1"],
    rules,
    sideEffects: "None",
  });
}

function injector(v: Values): Manifest {
  return registration(v, "MutatingWebhookConfiguration", "proxyInjector", {
    namespaceSelector: {
      matchExpressions: [
        NOT_DISABLED,
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
    timeoutSeconds: v.proxyInjector.timeoutSeconds,
  });
}

const NOT_DISABLED: Manifest = {
  key: "config.linkerd.io/admission-webhooks",
  operator: "NotIn",
  values: ["disabled"],
};

/** One webhook, with where it is and what the API server trusts there. */
function registration(
  v: Values,
  kind: string,
  values: WebhookOf["values"],
  webhook: Manifest,
): Manifest {
  const { controlPlaneNamespace: namespace } = v;
  const { service, component } = WEBHOOKS.find((w) => w.values === values) ?? WEBHOOKS[0];
  const { crtPEM, caBundle, injectCaFrom } = v[values];
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind,
    metadata: {
      name: `${service}-webhook-config`,
      ...(injectCaFrom === ""
        ? {}
        : { annotations: { "cert-manager.io/inject-ca-from": injectCaFrom } }),
      labels: {
        "linkerd.io/control-plane-component": component,
        "linkerd.io/control-plane-ns": namespace,
      },
    },
    webhooks: [{
      name: `${service}.linkerd.io`,
      clientConfig: {
        service: { name: service, namespace, path: "/" },
        ...(injectCaFrom === "" ? { caBundle: base64(caBundle === "" ? crtPEM : caBundle) } : {}),
      },
      ...webhook,
    }],
  };
}
