import { test } from "uvu";
import * as assert from "uvu/assert";
import { validate, type ValidatorName } from "../../../src/control/admission/validate.ts";

interface Answer {
  readonly apiVersion: string;
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly status?: { readonly code: number; readonly message: string };
  };
}

const object = (apiVersion: string, kind: string, spec: unknown, metadata: object = {}) => ({
  ...{ apiVersion, kind, spec },
  metadata: { name: "web", namespace: "shop", ...metadata },
});

function ask(name: ValidatorName, of: unknown, operation = "CREATE") {
  const { answer, refused } = validate(name, {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: { uid: "u-1", operation, object: of },
  });
  const { apiVersion, response } = answer as Answer;
  assert.is(apiVersion, "admission.k8s.io/v1");
  assert.is(response.uid, "u-1");
  assert.is(response.allowed, refused === null);
  assert.is(response.status?.message ?? null, refused);
  assert.is(response.status?.code ?? 400, 400);
  return refused;
}

const V = "policy.linkerd.io/v1";
const PROFILE = (spec: unknown, name = "web.shop.svc.cluster.local") =>
  object("linkerd.io/v1alpha2", "ServiceProfile", spec, { name });
const server = { podSelector: {}, port: 8080 };
const authorization = (kind: string, name: string, refs: string[]) => ({
  targetRef: { group: kind === "Namespace" ? "core" : "policy.linkerd.io", kind, name },
  requiredAuthenticationRefs: refs.map((ref) => ({
    group: ref === "ServiceAccount" ? "" : "policy.linkerd.io",
    kind: ref,
    name: "who",
  })),
});
const budget = { retryRatio: 0.2, minRetriesPerSecond: 10, ttl: "10s" };

test("what the control plane cannot read is refused in one line that begins with the field", () => {
  const policy: [string, unknown, RegExp | null][] = [
    ["Server", server, null],
    ["Server", { podSelector: {} }, /^spec\.port: is missing$/],
    ["Server", { ...server, port: 0 }, /^spec\.port: /],
    ["Server", { ...server, proxyProtocol: "HTTP/9" }, /^spec\.proxyProtocol: .*not one of/],
    ["Server", { ...server, accessPolicy: "anybody" }, /^spec\.accessPolicy: /],
    ["NetworkAuthentication", { networks: [{ cidr: "10.0.0.0/8" }] }, null],
    ["NetworkAuthentication", { networks: [] }, /^spec\.networks: is empty$/],
    [
      "NetworkAuthentication",
      { networks: [{ cidr: "10.0.0.0/99" }] },
      /^spec\.networks\[0\]\.cidr/,
    ],
    [
      "NetworkAuthentication",
      { networks: [{ cidr: "10.0.0.0/8", except: ["11.0.0.0/16"] }] },
      /^spec\.networks\[0\]\.except\[0\]: is not inside 10\.0\.0\.0\/8$/,
    ],
    [
      "NetworkAuthentication",
      { networks: [{ cidr: "10.0.0.0/8", except: ["10.0.0.0/8"] }] },
      /^spec\.networks\[0\]\.except\[0\]: leaves nothing of 10\.0\.0\.0\/8$/,
    ],
    [
      "ServerAuthorization",
      { server: { name: "web" }, client: { meshTLS: { serviceAccounts: [{ name: "load" }] } } },
      null,
    ],
    [
      "ServerAuthorization",
      { server: { selector: {} }, client: { unauthenticated: true, meshTLS: {} } },
      /^spec\.client: has both unauthenticated and meshTLS$/,
    ],
    ["ServerAuthorization", { server: { name: "web" } }, /^spec\.client: permits nobody/],
    ["ServerAuthorization", { client: { unauthenticated: true } }, /^spec\.server: needs exactly/],
    ["MeshTLSAuthentication", { identities: ["*"] }, null],
    ["MeshTLSAuthentication", {}, /^spec/],
    ["MeshTLSAuthentication", { identities: ["spiffe://corp.example/ns/shop/web"] }, null],
    ["MeshTLSAuthentication", { identities: ["spiffe://corp.example"] }, null],
    ...[
      "spiffe://",
      "spiffe://Corp/a",
      "spiffe://corp/a//b",
      "spiffe://corp/..",
      "spiffe://corp/a/",
    ]
      .map((id): [string, unknown, RegExp] => [
        "MeshTLSAuthentication",
        { identities: [id] },
        /^spec\.identities\[0\]: is .*, not an identity$/,
      ]),
    [
      "MeshTLSAuthentication",
      { identityRefs: [{ kind: "Namespace", name: "shop", namespace: "other" }] },
      /^spec\.identityRefs\[0\]\.namespace: stands in one that names one$/,
    ],
    ["MeshTLSAuthentication", { identityRefs: [{ kind: "serviceaccount", name: "web" }] }, null],
    [
      "MeshTLSAuthentication",
      { identityRefs: [{ group: "policy.linkerd.io", kind: "ServiceAccount", name: "web" }] },
      /^spec\.identityRefs\[0\]\.group: is "policy\.linkerd\.io": write core for a ServiceAccount$/,
    ],
    [
      "HTTPLocalRateLimitPolicy",
      { targetRef: { group: "core", kind: "Server", name: "web" } },
      /^spec\.targetRef\.group: is "core": write policy\.linkerd\.io for a Server$/,
    ],
    [
      "HTTPLocalRateLimitPolicy",
      {
        targetRef: { kind: "Server", name: "web" },
        total: { requestsPerSecond: 5 },
        identity: { requestsPerSecond: 6 },
      },
      /^spec\.identity: is over the total of 5$/,
    ],
    ["AuthorizationPolicy", authorization("Server", "web", ["MeshTLSAuthentication"]), null],
    [
      "AuthorizationPolicy",
      authorization("Namespace", "other", []),
      /^spec\.targetRef\.name: is "other", not its own namespace shop$/,
    ],
    [
      "AuthorizationPolicy",
      authorization("Server", "web", ["MeshTLSAuthentication", "ServiceAccount"]),
      /^spec\.requiredAuthenticationRefs: names both/,
    ],
    ["EgressNetwork", { trafficPolicy: "Deny" }, null],
    ["EgressNetwork", { trafficPolicy: "Maybe" }, /^spec\.trafficPolicy: /],
  ];
  for (const [kind, spec, why] of policy) {
    const refused = ask("policy-validator", object(V, kind, spec));
    if (why === null) assert.is(refused, null, kind);
    else assert.match(refused ?? "", why, kind);
    assert.not.match(refused ?? "", /\n/);
  }
  const profiles: [unknown, RegExp | null][] = [
    [{}, null],
    [{ routes: [{ name: "a", condition: { pathRegex: "/a", method: "GET" } }] }, null],
    [{ routes: [null] }, /^spec\.routes\[0\]\.\w+: is missing$/],
    [{ routes: [{ condition: { method: "GET" } }] }, /^spec\.routes\[0\]\.name: is missing$/],
    [{ routes: [{ name: "a" }] }, /^spec\.routes\[0\]\.condition: is missing$/],
    [{ routes: [{ name: "a", condition: {} }] }, /^spec\.routes\[0\]\.condition: is empty/],
    [
      { routes: [{ name: "a", condition: { pathRegex: "(" } }] },
      /^spec\.routes\[0\]\.condition\.pathRegex: /,
    ],
    [
      { routes: [{ name: "a", condition: { method: "GET" }, timeout: "soon" }] },
      /^spec\.routes\[0\]\.timeout: /,
    ],
    [
      {
        routes: [{
          name: "a",
          condition: { method: "GET" },
          responseClasses: [{ condition: { status: { min: 500, max: 400 } } }],
        }],
      },
      /responseClasses\[0\]\.condition\.status: min 500 is over max 400$/,
    ],
    [{ retryBudget: budget }, null],
    [{ retryBudget: { ...budget, retryRatio: -1 } }, /^spec\.retryBudget\.retryRatio: /],
    [{ retryBudget: { ...budget, ttl: undefined } }, /^spec\.retryBudget\.ttl: is missing$/],
  ];
  for (const [spec, why] of profiles) {
    const refused = ask("sp-validator", PROFILE(spec));
    if (why === null) assert.is(refused, null, JSON.stringify(spec));
    else assert.match(refused ?? "", why, JSON.stringify(spec));
  }
  assert.match(ask("sp-validator", PROFILE({}, "Web_Shop")) ?? "", /^metadata\.name: .*not a name/);
});

test("what is none of its business passes a webhook", () => {
  const bad = object(V, "Server", {});
  assert.match(ask("policy-validator", bad) ?? "", /^spec\.podSelector/);
  assert.is(ask("sp-validator", bad), null);
  assert.is(ask("policy-validator", null, "DELETE"), null);
  assert.is(ask("policy-validator", object(V, "Unheard", {})), null);
  assert.is(ask("policy-validator", object("v1", "Service", { ports: 7 })), null);
  // Its finalizers come off by an update.
  const going = object(V, "Server", {}, { deletionTimestamp: "2030-01-01T00:00:00Z" });
  assert.is(ask("policy-validator", going, "UPDATE"), null);
  // A Gateway's routes are another controller's.
  const route = object("gateway.networking.k8s.io/v1", "HTTPRoute", {
    parentRefs: [{ kind: "Gateway", name: "edge" }],
    rules: [{ filters: [{ type: "ExtensionRef" }] }],
  });
  assert.is(ask("policy-validator", route), null);
});

test("a route of the mesh is refused by the field that nobody could read, of either group", () => {
  const web = { group: "core", kind: "Service", name: "web", port: 80 };
  const asked = (
    version: string,
    kind: string,
    rule: unknown,
    metadata = {},
    parent: unknown = web,
  ) =>
    ask(
      "policy-validator",
      object(version, kind, { parentRefs: [parent], rules: [rule] }, metadata),
    );
  const gateway = "gateway.networking.k8s.io/v1";
  assert.is(asked(V, "HTTPRoute", { backendRefs: [{ name: "web", port: 80 }] }), null);
  const rewrite = { filters: [{ type: "URLRewrite" }] };
  for (const version of [V, gateway]) {
    assert.match(
      asked(version, "HTTPRoute", rewrite) ?? "",
      /^spec\.rules\[0\]\.filters\[0\]\.type: is "URLRewrite"/,
    );
  }
  assert.match(
    asked(gateway, "GRPCRoute", { backendRefs: [{ name: "web" }] }) ?? "",
    /^spec\.rules\[0\]\.backendRefs\[0\]\.port: is missing/,
  );
  assert.match(
    asked(gateway, "HTTPRoute", {}, { annotations: { "retry.linkerd.io/http": "sometimes" } }) ??
      "",
    /retry\.linkerd\.io\/http: holds "sometimes": write 5xx/,
  );
  const egress = { group: "policy.linkerd.io", kind: "EgressNetwork", name: "out" };
  assert.match(
    asked(V, "HTTPRoute", {}, {}, egress) ?? "",
    /^spec\.parentRefs\[0\]\.port: is missing: an EgressNetwork/,
  );
});

test("routes of bytes have one rule, and name the port of an EgressNetwork", () => {
  const version = "gateway.networking.k8s.io/v1alpha2";
  const out = { group: "policy.linkerd.io", kind: "EgressNetwork", name: "out" };
  for (const kind of ["TLSRoute", "TCPRoute"]) {
    const asked = (parent: object, rules: unknown) =>
      ask("policy-validator", object(version, kind, { parentRefs: [parent], rules }));
    const backend = { ...out };
    assert.is(asked({ ...out, port: 443 }, [{ backendRefs: [backend] }]), null);
    assert.match(asked(out, [{ backendRefs: [backend] }]) ?? "", /port: is missing: an EgressNet/);
    for (const [rules, count] of [[[], 0], [[{}, {}], 2], [undefined, 0]] as const) {
      const why = `spec.rules: has ${count} elements: a ${kind} has one`;
      assert.is(asked({ ...out, port: 443 }, rules), why);
    }
    assert.is(asked({ kind: "Gateway", name: "edge" }, []), null, "another controller's");
  }
});

test.run();
