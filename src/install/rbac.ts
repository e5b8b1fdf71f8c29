// Who may do what: a service account for each Deployment, and for each service the rights that it
// uses and no more.

import type { Manifest } from "../control/injector/containers.ts";
import { clusterWide, namespaced } from "./meta.ts";
import type { Values } from "./values.ts";

/** Verbs on resources of one group. */
interface Rule {
  readonly group: string;
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

interface Role {
  /** After `linkerd-<namespace>-`. */
  readonly name: string;
  readonly component: string;
  /** The account that has it. */
  readonly account: string;
  readonly rules: readonly Rule[];
}

const READ = ["get", "list", "watch"];
const EVENTS: Rule = { group: "", resources: ["events"], verbs: ["create", "patch"] };

/** Rights in the whole cluster. */
const CLUSTER_ROLES: readonly Role[] = [
  {
    name: "identity",
    component: "identity",
    account: "linkerd-identity",
    rules: [
      { group: "authentication.k8s.io", resources: ["tokenreviews"], verbs: ["create"] },
      EVENTS,
    ],
  },
  {
    name: "destination",
    component: "destination",
    account: "linkerd-destination",
    rules: [
      {
        group: "",
        resources: ["namespaces", "nodes", "pods", "services"],
        verbs: READ,
      },
      { group: "discovery.k8s.io", resources: ["endpointslices"], verbs: READ },
      { group: "linkerd.io", resources: ["serviceprofiles"], verbs: READ },
      { group: "workload.linkerd.io", resources: ["externalworkloads"], verbs: READ },
    ],
  },
  {
    name: "policy",
    component: "destination",
    account: "linkerd-destination",
    rules: [
      {
        group: "policy.linkerd.io",
        resources: [
          "authorizationpolicies",
          "egressnetworks",
          "httplocalratelimitpolicies",
          "httproutes",
          "meshtlsauthentications",
          "networkauthentications",
          "serverauthorizations",
          "servers",
        ],
        verbs: READ,
      },
      {
        group: "policy.linkerd.io",
        resources: [
          "egressnetworks/status",
          "httplocalratelimitpolicies/status",
          "httproutes/status",
        ],
        verbs: ["patch"],
      },
      {
        group: "gateway.networking.k8s.io",
        resources: ["grpcroutes", "httproutes", "tcproutes", "tlsroutes"],
        verbs: READ,
      },
      {
        group: "gateway.networking.k8s.io",
        resources: [
          "grpcroutes/status",
          "httproutes/status",
          "tcproutes/status",
          "tlsroutes/status",
        ],
        verbs: ["patch"],
      },
    ],
  },
  {
    name: "filters",
    component: "destination",
    account: "linkerd-destination",
    rules: [
      { group: "tulle.dev", resources: ["wasmfilters"], verbs: READ },
      { group: "tulle.dev", resources: ["wasmfilters/status"], verbs: ["patch"] },
    ],
  },
  {
    name: "proxy-injector",
    component: "proxy-injector",
    account: "linkerd-proxy-injector",
    rules: [
      { group: "", resources: ["namespaces"], verbs: ["get"] },
      { group: "apps", resources: ["replicasets"], verbs: ["get"] },
      { group: "batch", resources: ["jobs"], verbs: ["get"] },
      { group: "", resources: ["events"], verbs: ["create"] },
    ],
  },
];

/** Rights in the control plane's namespace. */
const ROLES: readonly Role[] = [
  {
    name: "leases",
    component: "destination",
    account: "linkerd-destination",
    rules: [{
      group: "coordination.k8s.io",
      resources: ["leases"],
      verbs: ["create", "get", "patch", "update"],
    }],
  },
];

/** Accounts, roles and bindings. */
export function rbac(v: Values): Manifest[] {
  const ns = v.controlPlaneNamespace;
  const subjects = (account: string) => [{ kind: "ServiceAccount", name: account, namespace: ns }];
  const roleRef = (kind: string, name: string) => ({
    apiGroup: "rbac.authorization.k8s.io",
    kind,
    name,
  });
  const RBAC = "rbac.authorization.k8s.io/v1";
  const accounts = [
    ["linkerd-identity", "identity"],
    ["linkerd-destination", "destination"],
    ["linkerd-proxy-injector", "proxy-injector"],
  ] as const;
  return [
    ...accounts.map(([name, component]) =>
      namespaced(v, "v1", "ServiceAccount", name, component, {
        automountServiceAccountToken: false,
        ...(v.imagePullSecrets.length === 0
          ? {}
          : { imagePullSecrets: v.imagePullSecrets.map((secret) => ({ name: secret })) }),
      })
    ),
    ...CLUSTER_ROLES.flatMap((role) => {
      const name = `linkerd-${ns}-${role.name}`;
      return [
        clusterWide(v, RBAC, "ClusterRole", name, role.component, { rules: rules(role) }),
        clusterWide(v, RBAC, "ClusterRoleBinding", name, role.component, {
          roleRef: roleRef("ClusterRole", name),
          subjects: subjects(role.account),
        }),
      ];
    }),
    ...ROLES.flatMap((role) => {
      const name = `linkerd-${role.name}`;
      return [
        namespaced(v, RBAC, "Role", name, role.component, { rules: rules(role) }),
        namespaced(v, RBAC, "RoleBinding", name, role.component, {
          roleRef: roleRef("Role", name),
          subjects: subjects(role.account),
        }),
      ];
    }),
  ];
}

function rules(role: Role): Manifest[] {
  return role.rules.map(({ group, resources, verbs }) => ({
    apiGroups: [group],
    resources,
    verbs,
  }));
}
