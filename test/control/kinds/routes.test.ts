// Rows of HTTPRoutes and GRPCRoutes: what is refused, by field, and what the rest becomes.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { parse } from "yaml";
import { Cluster } from "../../../src/control/cluster.ts";
import { FieldError } from "../../../src/control/field.ts";
import { grpcRouteRow } from "../../../src/control/kinds/grpc-route.ts";
import { httpRouteRow } from "../../../src/control/kinds/http-route.ts";
import { readResource } from "../../../src/control/resource.ts";

type Group = "policy" | "gateway";
const VERSIONS = {
  policy: "policy.linkerd.io/v1beta3",
  gateway: "gateway.networking.k8s.io/v1",
};
const PARENT = "parentRefs: [{ group: core, kind: Service, name: web, port: 80 }]";

function object(group: Group, kind: string, spec: string, annotations = "") {
  return readResource(
    parse(`
apiVersion: ${VERSIONS[group]}
kind: ${kind}
metadata:
  name: r
  namespace: shop
  creationTimestamp: "2026-01-01T00:00:00Z"
  annotations: { ${annotations} }
spec: { ${spec} }
`),
    "",
  );
}
const http = (spec: string, group: Group = "policy", annotations = "") =>
  httpRouteRow(object(group, "HTTPRoute", spec, annotations));
const rules = (of: string, group: Group = "policy", annotations = "") =>
  http(`${PARENT}, rules: [{ ${of} }]`, group, annotations)?.rules ?? [];
const grpc = (spec: string, annotations = "") =>
  grpcRouteRow(object("gateway", "GRPCRoute", spec, annotations));

function wrong(read: () => unknown): string {
  try {
    read();
  } catch (e) {
    assert.instance(e, FieldError);
    return (e as FieldError).message;
  }
  throw new Error("it was not refused");
}

test("a rule of an HTTPRoute that cannot be read is named by its field", () => {
  const at = (of: string, group: Group = "policy") => wrong(() => rules(of, group));
  const match = (of: string) => at(`matches: [{ ${of} }]`);
  const cases: readonly [string, RegExp][] = [
    [
      match("path: { type: Suffix }"),
      /^spec\.rules\[0\]\.matches\[0\]\.path\.type: .*not one of Exact/,
    ],
    [match("path: { value: api }"), /path\.value: is "api", not a path that begins with \//],
    [match("path: { type: Exact, value: '/a b' }"), /path\.value: is "\/a b"/],
    [match("path: { type: RegularExpression, value: '(a+)+' }"), /path\.value: .*"\(a\+\)\+"/],
    [match("path: { type: RegularExpression, value: '(?=x)' }"), /path\.value: /],
    [match("path: /api"), /matches\[0\]\.path: is not an object/],
    [match("headers: [{ name: 'a b', value: x }]"), /headers\[0\]\.name: .*not a header name/],
    [match("headers: [{ name: a }]"), /headers\[0\]\.value: is missing/],
    [match("headers: [{ name: a, value: 'ü' }]"), /headers\[0\]\.value: is not a header value/],
    [match("headers: [{ type: Prefix, name: a, value: b }]"), /headers\[0\]\.type: /],
    [match("headers: [{ type: RegularExpression, name: a, value: '[' }]"), /headers\[0\]\.value: /],
    [match("queryParams: [{ name: '', value: b }]"), /queryParams\[0\]\.name: /],
    [match("method: get"), /matches\[0\]\.method: is "get", not one of GET/],
    [at("matches: {}"), /matches: is not a list/],
    [
      at("filters: [{ type: URLRewrite, urlRewrite: {} }]"),
      /filters\[0\]\.type: is "URLRewrite": only/,
    ],
    [at("filters: [{ type: RequestMirror }]", "gateway"), /filters\[0\]\.type: is "RequestMirror"/],
    [at("filters: [{ type: ExtensionRef }]", "gateway"), /filters\[0\]\.type: is "ExtensionRef"/],
    [at("filters: [{ type: RequestRedirect }]"), /filters\[0\]\.requestRedirect: is missing/],
    [
      at("filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: ['x y'] } }]"),
      /remove\[0\]: /,
    ],
    [
      at(
        'filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: "b\\r\\nc" }] } }]',
      ),
      /set\[0\]\.value: is not a header value/,
    ],
    [
      at("filters: [{ type: RequestRedirect, requestRedirect: { scheme: ftp } }]"),
      /requestRedirect\.scheme: /,
    ],
    [
      at("filters: [{ type: RequestRedirect, requestRedirect: { statusCode: 304 } }]"),
      /requestRedirect\.statusCode: is 304/,
    ],
    [
      at(
        "matches: [{ path: { type: Exact, value: /a } }], filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } } }]",
      ),
      /filters: replace the prefix of a path in a rule that matches no prefix/,
    ],
    [at("backendRefs: [{ name: a, port: 70000 }]"), /backendRefs\[0\]\.port: /],
    [at("backendRefs: [{ name: a, port: 80, weight: -1 }]"), /backendRefs\[0\]\.weight: /],
    [at("backendRefs: [{ port: 80 }]"), /backendRefs\[0\]\.name: is missing/],
    [
      at("backendRefs: [{ name: a }]", "gateway"),
      /backendRefs\[0\]\.port: is missing: a Service is led to by port/,
    ],
    [at("timeouts: { request: soon }"), /timeouts\.request: is "soon", not a duration/],
    [at("timeouts: { request: 1s, backendRequest: 2s }"), /timeouts\.backendRequest: is longer/],
    [
      at("timeouts: { request: 100000h }"),
      /timeouts\.request: is 100000h, which is longer than ten years/,
    ],
  ];
  for (const [said, expected] of cases) assert.match(said, expected);
});

test("parents and hosts that cannot be read are named too", () => {
  const parent = (of: string, group: Group = "policy") =>
    wrong(() => http(`parentRefs: [{ ${of} }]`, group));
  assert.match(
    parent("kind: Service, name: web"),
    /parentRefs\[0\]\.group: .*write core for a Service/,
  );
  assert.match(parent("kind: Service, name: web", "gateway"), /parentRefs\[0\]\.group: /);
  assert.match(
    parent("kind: Server, name: s, namespace: other"),
    /namespace: is other, not the route's own/,
  );
  assert.match(parent("kind: Server, name: s, port: 80"), /port: is set/);
  assert.match(parent("kind: Server, name: s, sectionName: x"), /sectionName: is set/);
  assert.match(parent("kind: EgressNetwork, name: e"), /port: is missing: an EgressNetwork/);
  assert.match(parent("group: core, kind: Service"), /parentRefs\[0\]\.name: is missing/);
  assert.match(wrong(() => http(`${PARENT}, hostnames: ['*.*.x']`)), /hostnames\[0\]: /);
  assert.match(wrong(() => http(`${PARENT}, hostnames: ['x:80']`)), /hostnames\[0\]: /);
  const many = "{ matches: [" + "{ method: GET },".repeat(60) + "] },";
  const hosts = `hostnames: [${Array.from({ length: 16 }, (_, i) => `h${i}`).join(", ")}]`;
  assert.match(
    wrong(() => http(`${PARENT}, ${hosts}, rules: [${many.repeat(2)}]`)),
    /spec\.rules: has 1920 matches, each host counted: more than 1024/,
  );
});

test("annotations of a route are read where clients go to its parent", () => {
  const bad = "retry.linkerd.io/http: 6xx";
  assert.match(wrong(() => rules("", "policy", bad)), /retry\.linkerd\.io\/http/);
  assert.match(
    wrong(() => rules("", "policy", "timeout.linkerd.io/idle: 9999d")),
    /timeout\.linkerd\.io\/idle: is 9999d, which is longer than ten years/,
  );
  assert.ok(http("parentRefs: [{ kind: Server, name: s }]", "policy", bad));
  const row = http(PARENT, "gateway", "retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: '3'");
  assert.is(row?.retry?.maxRetries, 3);
  assert.is(http(PARENT, "policy", "retry.linkerd.io/grpc: internal")?.retry, null);
  assert.equal(grpc(PARENT, "retry.linkerd.io/grpc: internal")?.retry?.grpc, ["internal"]);
});

test("the annotation's time for a request counts over the rule's, and 0 in a rule is none", () => {
  const limits = (of: string, annotations = "") => rules(of, "gateway", annotations)[0]?.limits;
  assert.is(limits(""), null);
  assert.is(limits("timeouts: { request: 0s }"), null);
  assert.equal(limits("timeouts: { request: 1m30s, backendRequest: 1s }"), {
    requestMs: 90_000,
    responseMs: 0,
    idleMs: 0,
  });
  assert.equal(
    limits(
      "timeouts: { request: 5s }",
      "timeout.linkerd.io/request: 2s, timeout.linkerd.io/idle: 1s",
    ),
    { requestMs: 2000, responseMs: 0, idleMs: 1000 },
  );
  assert.equal(limits("timeouts: { request: 5s }", "timeout.linkerd.io/response: 1s"), {
    requestMs: 5000,
    responseMs: 1000,
    idleMs: 0,
  });
});

test("what an HTTPRoute leaves out has the defaults of its CRD", () => {
  const row = http("parentRefs: [{ kind: Server, name: s }]");
  assert.equal(row?.parents, [{ kind: "Server", namespace: "shop", name: "s", port: 0 }]);
  assert.equal(row?.rules, [{
    matches: [{ kind: "path-prefix", prefix: "/" }],
    filters: [],
    backends: [],
    limits: null,
  }]);
  assert.equal(rules("matches: []")[0]?.matches, []);
  assert.equal(http(`${PARENT}, rules: []`)?.rules, []);
  const [redirect] =
    rules("filters: [{ type: RequestRedirect, requestRedirect: {} }]")[0]?.filters ?? [];
  assert.equal(redirect, {
    ...{ kind: "redirect", scheme: "", hostname: "", port: 0, path: null },
    status: 302,
  });
});

test("an HTTPRoute in full", () => {
  const row = http(
    `
    parentRefs: [
      { group: core, kind: Service, name: web, namespace: other, port: 80 },
      { group: policy.linkerd.io, kind: EgressNetwork, name: out, port: 443 },
      { group: gateway.networking.k8s.io, kind: Gateway, name: edge },
    ],
    hostnames: [Web.example, '*.example'],
    rules: [{
      matches: [
        {
          path: { type: Exact, value: /a },
          headers: [{ name: X-User, value: me }, { type: RegularExpression, name: y, value: 'a.*' }],
          queryParams: [{ name: Q, value: '1' }],
          method: POST,
        },
        { path: { type: RegularExpression, value: '/b/.*' } },
      ],
      filters: [
        { type: RequestHeaderModifier, requestHeaderModifier: {
            set: [{ name: A, value: '1' }, { name: a, value: '2' }], add: [{ name: b, value: x }], remove: [C] } },
        { type: ResponseHeaderModifier, responseHeaderModifier: { remove: [server] } },
      ],
      backendRefs: [
        { name: v1, port: 8080, weight: 9 },
        { name: v2, namespace: other, port: 8081 },
        { group: policy.linkerd.io, kind: EgressNetwork, name: out },
        { kind: Bucket, group: s3.example, name: x, weight: 0 },
        { name: portless },
      ],
    }]`,
  );
  assert.equal(row?.parents.map((p) => `${p.kind} ${p.namespace}/${p.name}:${p.port}`), [
    "Service other/web:80",
    "EgressNetwork shop/out:443",
  ]);
  assert.equal(row?.hosts, ["web.example", "*.example"]);
  const [rule] = row?.rules ?? [];
  assert.equal(rule?.matches, [
    {
      kind: "all",
      of: [
        { kind: "path-exact", path: "/a" },
        { kind: "header", name: "x-user", exact: "me", regex: null },
        { kind: "header", name: "y", exact: null, regex: /^(?:a.*)$/ },
        { kind: "query", name: "Q", exact: "1", regex: null },
        { kind: "method", method: "POST" },
      ],
    },
    { kind: "path-regex", regex: /^(?:\/b\/.*)$/ },
  ]);
  assert.equal(rule?.filters, [
    { kind: "request-headers", set: { a: "1" }, add: { b: "x" }, remove: ["c"] },
    { kind: "response-headers", set: {}, add: {}, remove: ["server"] },
  ]);
  assert.equal(rule?.backends, [
    { name: "v1", namespace: "", weight: 9, filters: [], to: { kind: "Service", port: 8080 } },
    { name: "v2", namespace: "other", weight: 1, filters: [], to: { kind: "Service", port: 8081 } },
    { name: "out", namespace: "", weight: 1, filters: [], to: { kind: "EgressNetwork", port: 0 } },
    {
      ...{ name: "x", namespace: "", weight: 0, filters: [] },
      to: { kind: "invalid", message: "unsupported backend type s3.example Bucket", isKind: false },
    },
    {
      ...{ name: "portless", namespace: "", weight: 1, filters: [] },
      to: { kind: "invalid", message: "missing port for backend Service portless", isKind: true },
    },
  ]);
});

test("a GRPCRoute has services, methods and headers, and expressions for names are refused", () => {
  const of = (match: string) =>
    grpc(`${PARENT}, rules: [{ matches: [{ ${match} }] }]`)?.rules[0]?.matches;
  assert.equal(
    of("method: { service: shop.Cart, method: Add }, headers: [{ name: a, value: b }]"),
    [{
      service: "shop.Cart",
      method: "Add",
      headers: [{ kind: "header", name: "a", exact: "b", regex: null }],
    }],
  );
  assert.equal(of("method: { type: Exact, method: Add }")?.[0]?.service, "");
  assert.equal(grpc(`${PARENT}, rules: [{}]`)?.rules[0]?.matches, []);
  assert.equal(grpc(PARENT)?.rules, []);
  const refused = (rule: string) => wrong(() => grpc(`${PARENT}, rules: [{ ${rule} }]`));
  assert.match(
    refused("matches: [{ method: { type: RegularExpression, service: 'a.*' } }]"),
    /matches\[0\]\.method\.type: is RegularExpression/,
  );
  assert.match(refused("matches: [{ method: { service: a/b } }]"), /method\.service: /);
  assert.match(
    refused("filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: {} }]"),
    /filters\[0\]\.type: is "ResponseHeaderModifier": only RequestHeaderModifier/,
  );
  assert.match(refused("backendRefs: [{ name: a }]"), /backendRefs\[0\]\.port: is missing/);
});

test("routes of Gateways alone are another controller's, whatever they say", () => {
  const edge = "parentRefs: [{ name: edge }], rules: [{ filters: [{ type: CORS }] }]";
  assert.is(http(edge, "gateway"), null);
  assert.is(http(edge, "policy"), null);
  assert.is(http("rules: [{ filters: [{ type: CORS }] }]", "gateway"), null);
  // One that was the mesh's still has our word in its status, which is to be taken back.
  const left = (status: string) =>
    httpRouteRow(object("gateway", "HTTPRoute", `${edge} }\nstatus: { ${status}`))?.parents;
  assert.equal(left("parents: [null, { controllerName: linkerd.io/policy-controller }]"), []);
  assert.is(left("parents: [{ controllerName: example.com/gateway }]"), undefined);
  assert.is(left("parents: no list"), undefined);
  assert.is(grpc(edge), null);
});

test("a bad version leaves the last good row, and the groups' routes of one name are apart", () => {
  const cluster = new Cluster();
  cluster.apply(object("policy", "HTTPRoute", `${PARENT}, hostnames: [a]`));
  cluster.apply(object("gateway", "HTTPRoute", `${PARENT}, hostnames: [b]`));
  assert.throws(
    () => cluster.apply(object("policy", "HTTPRoute", `${PARENT}, hostnames: ['!']`)),
    /hostnames\[0\]/,
  );
  assert.equal(cluster.httpRoutes.get("shop/r")?.hosts, ["a"]);
  assert.equal(cluster.gatewayHttpRoutes.get("shop/r")?.hosts, ["b"]);
  const of = { group: "policy.linkerd.io", kind: "HTTPRoute", namespace: "shop", name: "r" };
  cluster.remove(of);
  assert.is(cluster.httpRoutes.rows.size, 0);
  assert.is(cluster.gatewayHttpRoutes.rows.size, 1);
});

test("a change is told in the namespaces of the parents before and after it", () => {
  const cluster = new Cluster();
  const told: string[][] = [];
  cluster.subscribe((dirty) => told.push([...dirty].sort()));
  const to = (namespace: string) =>
    object(
      "policy",
      "HTTPRoute",
      `parentRefs: [{ group: core, kind: Service, name: web, namespace: ${namespace} }]`,
    );
  cluster.apply(to("a"));
  cluster.apply(to("b"));
  cluster.remove(to("b"));
  assert.equal(told, [["a", "shop"], ["a", "b", "shop"], ["b", "shop"]]);
});

test.run();
