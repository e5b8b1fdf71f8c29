// What the control plane is given in `control-plane.test.ts`: a namespace with everything of which Linkerd's
// proxies are told, and the folder's control plane.

import { rename, writeFile } from "node:fs/promises";
import { SILENT } from "../../../src/core/log.ts";
import { parseControlFlags, SERVICES } from "../../../src/control/flags.ts";
import { type Control, startControl } from "../../../src/control/main.ts";
import { pod, SERVICE } from "../../control/support/mesh-fixture.ts";
import { route, service } from "../../control/support/routes.ts";
import { type TempDir, tempDir } from "../../support/temp-dir.ts";

/** Linkerd's names. */
export const identity = (account: string) =>
  `${account}.shop.serviceaccount.identity.linkerd.cluster.local`;
export const WORKLOAD = '{"ns":"shop","pod":"a"}';
/** As the injector gives it to a proxy on node 1. */
export const TOKEN = '{"ns":"shop","nodeName":"node-1","pod":"a"}';

const api = (kind: string, name: string, spec: string, group = "policy.linkerd.io/v1alpha1") => `
apiVersion: ${group}
kind: ${kind}
metadata: { name: ${name}, namespace: shop }
spec: ${spec}
`;

const PROFILE = `
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: { name: old.shop.svc.cluster.local, namespace: shop }
spec:
  retryBudget: { retryRatio: 0.25, minRetriesPerSecond: 7, ttl: 12s }
  dstOverrides:
    - { authority: v1.shop.svc.cluster.local.:80, weight: 3 }
    - { authority: v2.shop.svc.cluster.local.:80, weight: 1 }
  routes:
    - name: GET /books
      condition: { all: [{ method: GET }, { pathRegex: '/books/[^/]*' }] }
      isRetryable: true
      timeout: 1500ms
      responseClasses: [{ condition: { status: { min: 500, max: 599 } }, isFailure: true }]
`;

const ROUTE = route(
  "split",
  `
  hostnames: [web.example, '*.shop.example'],
  rules: [
    {
      matches: [{
        path: { type: Exact, value: /a },
        headers: [{ name: X-Version, value: two }, { name: y, type: RegularExpression, value: 'a.*' }],
        queryParams: [{ name: q, value: '1' }],
        method: PATCH,
      }],
      filters: [
        { type: RequestHeaderModifier, requestHeaderModifier: {
            set: [{ name: a, value: '1' }], add: [{ name: b, value: '2' }], remove: [c] } },
        { type: ResponseHeaderModifier, responseHeaderModifier: { remove: [server] } },
      ],
      backendRefs: [{ name: v1, port: 80, weight: 9 }, { name: v2, port: 80, weight: 1 }],
      timeouts: { request: 10s, backendRequest: 2500ms },
    },
    {
      matches: [{ path: { type: PathPrefix, value: /old } }],
      filters: [{ type: RequestRedirect, requestRedirect: {
          scheme: https, hostname: new.example, port: 8443, statusCode: 301,
          path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }],
    },
  ]`,
  { annotations: "retry.linkerd.io/http: 5xx, timeout.linkerd.io/idle: 3s" },
);

const CALLS = route(
  "calls",
  `rules: [{
    matches: [{ method: { service: shop.Books, method: Get }, headers: [{ name: tenant, value: a }] }],
    backendRefs: [{ name: v1, port: 80 }],
    timeouts: { request: 2s },
  }]`,
  {
    kind: "GRPCRoute",
    parents: "{ group: core, kind: Service, name: grpc, namespace: shop, port: 80 }",
    annotations: "'retry.linkerd.io/grpc': 'unavailable,internal', 'retry.linkerd.io/limit': '4'",
  },
);

const NAMES = `
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: names, namespace: shop }
spec:
  parentRefs: [{ group: core, kind: Service, name: bytes, port: 443 }]
  hostnames: [db.example, '*.db.example']
  rules: [{ backendRefs: [{ name: v1, port: 80 }] }]
`;

/** Nothing leaves the cluster. */
const INTERNET = api("EgressNetwork", "internet", "{ trafficPolicy: Deny }");

const SERVER = api(
  "Server",
  "web-http",
  "{ podSelector: { matchLabels: { app: web } }, port: http, proxyProtocol: HTTP/1 }",
  "policy.linkerd.io/v1beta3",
);
const READS = route("reads", "rules: [{ matches: [{ path: { value: /api }, method: GET }] }]", {
  version: "policy.linkerd.io/v1beta3",
  parents: "{ group: policy.linkerd.io, kind: Server, name: web-http }",
});
const POLICIES = [
  api(
    "AuthorizationPolicy",
    "inside",
    `{ targetRef: { group: policy.linkerd.io, kind: HTTPRoute, name: reads }, requiredAuthenticationRefs: [
      { group: policy.linkerd.io, kind: MeshTLSAuthentication, name: readers },
      { group: policy.linkerd.io, kind: NetworkAuthentication, name: inside } ] }`,
  ),
  api(
    "MeshTLSAuthentication",
    "readers",
    `{ identities: [${identity("reader")}, '*.tools.example'] }`,
  ),
  api(
    "NetworkAuthentication",
    "inside",
    "{ networks: [{ cidr: 10.0.0.0/8, except: [10.9.0.0/16] }, { cidr: 'fd00::/8' }] }",
  ),
  api(
    "HTTPLocalRateLimitPolicy",
    "limit",
    `{ targetRef: { group: policy.linkerd.io, kind: Server, name: web-http },
       total: { requestsPerSecond: 100 }, identity: { requestsPerSecond: 20 },
       overrides: [{ requestsPerSecond: 50, clientRefs: [{ kind: ServiceAccount, name: reader }] }] }`,
  ),
];

/** Filters of ours: what they add to messages is in field 2048, which the peer skips. */
const FILTER = (sha256: string) => `
apiVersion: tulle.dev/v1alpha1
kind: WasmFilter
metadata: { name: retry, namespace: shop }
spec: { targetRef: { kind: Service, name: web }, module: { sha256: ${sha256}, file: retry.wasm } }
`;

/** A control plane over a folder that a test may change. */
export interface Shop extends AsyncDisposable {
  readonly control: Control;
  readonly dir: TempDir;
  /** Writes the pods of the Service web anew. */
  pods(...texts: readonly string[]): Promise<void>;
}

export const POD = pod("a", "10.1.0.1");
/** A pod with IPv6, whose proxy takes TLS of another port. */
export const POD_6 = pod("b", "fd00::7");

export async function openShop(module: Uint8Array, sha256: string): Promise<Shop> {
  const dir = await tempDir("wire");
  // At once, as editors do it: a file that is half written would be read.
  const pods = async (...texts: readonly string[]) => {
    await writeFile(dir.join("pods.new"), texts.join("---"));
    await rename(dir.join("pods.new"), dir.join("pods.yaml"));
  };
  try {
    await writeFile(dir.join("retry.wasm"), module);
    const accrual = "'balancer.linkerd.io/failure-accrual': consecutive, " +
      "'balancer.linkerd.io/failure-accrual-consecutive-max-failures': '5'";
    await writeFile(
      dir.join("shop.yaml"),
      [
        SERVICE,
        service("v1", "10.0.0.2", accrual),
        service("v2", "10.0.0.3"),
        service("old", "10.0.0.4"),
        service("grpc", "10.0.0.5"),
        service("bytes", "10.0.0.6", "", "{ port: 443 }"),
        service("mysql", "10.0.0.7", "config.linkerd.io/opaque-ports: '3306'", "{ port: 3306 }"),
        ...[PROFILE, ROUTE, CALLS, NAMES, INTERNET, SERVER, READS, ...POLICIES, FILTER(sha256)],
      ].join("---"),
    );
    await pods(POD);
    const flags = parseControlFlags([
      ...["--folder", dir.path, "--state", dir.join("state")],
      ...[...SERVICES, "admin"].flatMap((name) => [`--${name}-listen`, "127.0.0.1:0"]),
    ]);
    if (flags === null) throw new Error("flags");
    const control = await startControl(flags, SILENT);
    return {
      control,
      dir,
      pods,
      async [Symbol.asyncDispose]() {
        await control.close();
        await dir[Symbol.asyncDispose]();
      },
    };
  } catch (e) {
    await dir[Symbol.asyncDispose]();
    throw e;
  }
}
