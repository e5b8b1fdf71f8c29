// The custom resources: Linkerd's, and our WasmFilter. Several versions of a kind have one schema, so
// that no conversion is needed.

import type { Manifest } from "../control/injector/containers.ts";
import {
  anything,
  bool,
  condition,
  float,
  int32,
  list,
  map,
  network,
  object,
  or,
  portNumber,
  portOrName,
  reference,
  selector,
  text,
  words,
} from "./crd-schema.ts";
import { routeSchema } from "./route-schema.ts";

interface Kind {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  /** Names of versions; the stored one last, deprecated ones first, as many as `deprecated` says. */
  readonly versions: readonly string[];
  readonly deprecated?: number;
  readonly status?: Manifest;
  readonly spec: Manifest;
  /** `spec` need not be there. */
  readonly specOptional?: boolean;
  readonly columns?: readonly (readonly [name: string, path: string])[];
}

const POLICY = "policy.linkerd.io";
const conditions = object({ conditions: list(condition) });
/** Matches that hold matches: below the first level they are checked by whoever reads them. */
const requestMatch = object({
  all: list(anything),
  any: list(anything),
  not: anything,
  pathRegex: text,
  method: text,
});
const responseMatch = object({
  all: list(anything),
  any: list(anything),
  not: anything,
  status: object({ min: int32, max: int32 }),
});
const perSecond = object({ "requestsPerSecond*": { type: "integer", format: "int64" } });

const KINDS: readonly Kind[] = [
  {
    group: "linkerd.io",
    kind: "ServiceProfile",
    plural: "serviceprofiles",
    shortNames: ["sp"],
    versions: ["v1alpha1", "v1alpha2"],
    spec: object({
      dstOverrides: list(object({ "authority*": text, "weight*": portOrName })),
      opaquePorts: list(text),
      retryBudget: object({
        "minRetriesPerSecond*": int32,
        "retryRatio*": float,
        "ttl*": text,
      }),
      routes: list(object({
        "name*": text,
        "condition*": requestMatch,
        isRetryable: bool,
        timeout: text,
        responseClasses: list(object({ "condition*": responseMatch, isFailure: bool })),
      })),
    }),
  },
  {
    group: POLICY,
    kind: "Server",
    plural: "servers",
    shortNames: ["srv"],
    versions: ["v1alpha1", "v1beta1", "v1beta2", "v1beta3"],
    deprecated: 2,
    columns: [
      ["Port", ".spec.port"],
      ["Protocol", ".spec.proxyProtocol"],
      ["Access Policy", ".spec.accessPolicy"],
    ],
    spec: object({
      podSelector: selector,
      externalWorkloadSelector: selector,
      "port*": portOrName,
      proxyProtocol: or(
        words("unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS"),
        "unknown",
      ),
      accessPolicy: or(text, "deny"),
    }),
  },
  {
    group: POLICY,
    kind: "ServerAuthorization",
    plural: "serverauthorizations",
    shortNames: ["saz", "serverauthz", "srvauthz"],
    versions: ["v1alpha1", "v1beta1"],
    deprecated: 1,
    spec: object({
      "server*": {
        ...object({ name: text, selector }),
        oneOf: [{ required: ["name"] }, { required: ["selector"] }],
      },
      "client*": object({
        networks: list(network),
        unauthenticated: bool,
        meshTLS: object({
          unauthenticatedTLS: bool,
          identities: list(text),
          serviceAccounts: list(object({ "name*": text, namespace: text })),
        }),
      }),
    }),
  },
  {
    group: POLICY,
    kind: "AuthorizationPolicy",
    plural: "authorizationpolicies",
    shortNames: ["authzpolicy"],
    versions: ["v1alpha1"],
    spec: object({
      "targetRef*": object({ group: text, "kind*": text, "name*": text }),
      "requiredAuthenticationRefs*": list(reference),
    }),
  },
  {
    group: POLICY,
    kind: "MeshTLSAuthentication",
    plural: "meshtlsauthentications",
    shortNames: ["meshtlsauthn"],
    versions: ["v1alpha1"],
    spec: {
      ...object({
        identities: list(text, { min: 1 }),
        identityRefs: list(
          object({ group: text, "kind*": text, name: text, namespace: text }),
          { min: 1 },
        ),
      }),
      oneOf: [{ required: ["identities"] }, { required: ["identityRefs"] }],
    },
  },
  {
    group: POLICY,
    kind: "NetworkAuthentication",
    plural: "networkauthentications",
    shortNames: ["netauthn", "networkauthn"],
    versions: ["v1alpha1"],
    spec: object({ "networks*": list(network) }),
  },
  {
    group: POLICY,
    kind: "HTTPRoute",
    plural: "httproutes",
    versions: ["v1alpha1", "v1beta1", "v1beta2", "v1beta3"],
    spec: routeSchema,
    status: object({
      "parents*": list(
        object({
          "controllerName*": text,
          "parentRef*": object({
            group: text,
            kind: text,
            "name*": text,
            namespace: text,
            port: portNumber,
            sectionName: text,
          }),
          conditions: list(condition, { max: 8 }),
        }),
        { max: 32 },
      ),
    }),
    columns: [["Hostnames", ".spec.hostnames"]],
  },
  {
    group: POLICY,
    kind: "HTTPLocalRateLimitPolicy",
    plural: "httplocalratelimitpolicies",
    versions: ["v1alpha1"],
    columns: [
      ["Target_kind", ".spec.targetRef.kind"],
      ["Target_name", ".spec.targetRef.name"],
      ["Total_RPS", ".spec.total.requestsPerSecond"],
      ["Identity_RPS", ".spec.identity.requestsPerSecond"],
    ],
    spec: object({
      "targetRef*": object({ group: text, "kind*": text, "name*": text }),
      total: perSecond,
      identity: perSecond,
      overrides: list(object({
        "requestsPerSecond*": { type: "integer", format: "int64" },
        "clientRefs*": list(reference),
      })),
    }),
    status: object({
      targetRef: object({ group: text, kind: text, name: text }),
      conditions: list(condition),
    }),
  },
  {
    group: POLICY,
    kind: "EgressNetwork",
    plural: "egressnetworks",
    categories: ["policy"],
    versions: ["v1alpha1"],
    spec: object({
      "trafficPolicy*": words("Allow", "Deny"),
      networks: list(network, { min: 1 }),
    }),
    status: conditions,
  },
  {
    group: "workload.linkerd.io",
    kind: "ExternalWorkload",
    plural: "externalworkloads",
    categories: ["external"],
    versions: ["v1beta1"],
    columns: [["Identity", ".spec.meshTLS.identity"]],
    spec: object({
      "meshTLS*": object({ "identity*": text, "serverName*": text }),
      ports: list(object({
        name: text,
        "port*": portNumber,
        protocol: or(text, "TCP"),
      })),
      workloadIPs: list(object({ "ip*": text }), { max: 2 }),
    }),
    status: conditions,
  },
  {
    group: "tulle.dev",
    kind: "WasmFilter",
    plural: "wasmfilters",
    versions: ["v1alpha1"],
    columns: [
      ["Target", ".spec.targetRef.name"],
      ["Order", ".spec.order"],
      ["Module", ".spec.module.sha256"],
    ],
    spec: object({
      "targetRef*": object({ "kind*": words("Service", "EgressNetwork", "Server"), "name*": text }),
      routes: list(text, { max: 256 }),
      "module*": object({
        "sha256*": { type: "string", pattern: "^[0-9a-fA-F]{64}$" },
        file: text,
        signature: text,
      }),
      config: anything,
      order: { type: "integer", minimum: -1000000, maximum: 1000000 },
      failurePolicy: words("Open", "Closed"),
      limits: object({
        fuelPerHook: { type: "integer", format: "int64", minimum: 1 },
        memoryPages: { type: "integer", minimum: 1, maximum: 65536 },
        cpuPercent: { type: "integer", minimum: 1, maximum: 100 },
      }),
      callouts: map({ type: "string", pattern: "^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$" }),
    }),
    status: conditions,
  },
];

/** Every CustomResourceDefinition. `by` is the annotation that says who made them. */
export function crds(controlPlaneNamespace: string, by: string): Manifest[] {
  return KINDS.map((kind) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${kind.plural}.${kind.group}`,
      annotations: { "linkerd.io/created-by": by },
      labels: { "linkerd.io/control-plane-ns": controlPlaneNamespace },
    },
    spec: {
      group: kind.group,
      names: {
        ...(kind.categories === undefined ? {} : { categories: kind.categories }),
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        ...(kind.shortNames === undefined ? {} : { shortNames: kind.shortNames }),
        singular: kind.kind.toLowerCase(),
      },
      scope: "Namespaced",
      versions: kind.versions.map((name, i) => version(kind, name, i)),
    },
  }));
}

function version(kind: Kind, name: string, i: number): Manifest {
  const stored = i === kind.versions.length - 1;
  return {
    name,
    served: true,
    storage: stored,
    ...(i < (kind.deprecated ?? 0) ? { deprecated: true } : {}),
    schema: {
      openAPIV3Schema: {
        type: "object",
        required: ["spec"],
        properties: {
          apiVersion: text,
          kind: text,
          metadata: { type: "object" },
          spec: kind.spec,
          ...(kind.status === undefined ? {} : { status: kind.status }),
        },
      },
    },
    ...(kind.status === undefined ? {} : { subresources: { status: {} } }),
    ...(kind.columns === undefined ? {} : {
      additionalPrinterColumns: kind.columns.map(([column, jsonPath]) => ({
        name: column,
        type: /RPS|Order/.test(column) ? "integer" : "string",
        jsonPath,
      })),
    }),
  };
}
