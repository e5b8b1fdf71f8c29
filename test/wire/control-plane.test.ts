// Our control plane as Linkerd's proxy hears it: the peer calls it with Linkerd's types, reads each message
// by that crate's conversions, as strictly as Linkerd's proxy does, and says as JSON what the YAML said.

import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { sha256Hex } from "../../src/api/hex.ts";
import { importTokenKey, issueToken, TOKEN_KEY_FILE } from "../../src/api/service-account-token.ts";
import { createCsr } from "../../src/runtime/csr.ts";
import { testUnless } from "../support/skip.ts";
import { NO_PEER, type Peer, startPeer } from "./support/peer.ts";
import { identity, openShop, POD, POD_6, type Shop, TOKEN, WORKLOAD } from "./support/shop.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

let shop: Shop | null = null;
if (NO_PEER === null) {
  const module = await readFile(new URL("../../filters/build/retry.wasm", import.meta.url));
  shop = await openShop(module, await sha256Hex(Uint8Array.from(module)));
}
test.after(async () => await shop?.[Symbol.asyncDispose]());

function asking(service: "destination" | "policy" | "identity", ...call: string[]): Peer {
  return startPeer("ask", shop?.control.ready[service] ?? "", ...call);
}

/** The first message of a call. */
async function first(
  service: "destination" | "policy" | "identity",
  ...call: string[]
): Promise<Json> {
  await using peer = asking(service, ...call);
  return await peer.heard();
}

const policyOf = (target: string) => first("policy", "GetPolicy", WORKLOAD, target);

const serviceOf = (name: string, port = 80) => ({
  ...{ group: "core", kind: "Service", namespace: "shop", name, port },
});
/** A backend that is the endpoints of a Service. */
const balancer = (name: string, port = 80) => ({
  metadata: serviceOf(name, port),
  ...{ capacity: 100, failfast: 3000 },
  kind: { balancer: { path: `${name}.shop.svc.cluster.local:${port}`, rtt: 30, decay: 10_000 } },
});
const endpoint = (pod: string, addr: string) => ({
  addr,
  weight: 10_000,
  labels: {
    ...{ pod, control_plane_ns: "linkerd", deployment: "web", serviceaccount: "web" },
    zone_locality: "unknown",
  },
  identity: { server: identity("web"), dns: identity("web") },
  hint: { protocol: "h2", inboundPort: 4143 },
});

testUnless(NO_PEER, test, "Destination.Get: endpoints come, change, go", async () => {
  await using peer = asking("destination", "Get", "web.shop.svc.cluster.local:80", TOKEN);
  const labels = { namespace: "shop", service: "web" };
  assert.equal(await peer.heard(), { add: [endpoint("a", "10.1.0.1:8080")], labels });
  await shop?.pods(POD, POD_6);
  assert.equal(await peer.heard(), { add: [endpoint("b", "[fd00::7]:8080")], labels });
  await shop?.pods(POD_6);
  assert.equal(await peer.heard(), { remove: ["10.1.0.1:8080"] });
  await shop?.pods("");
  assert.equal(await peer.heard(), { remove: ["[fd00::7]:8080"] });
  await shop?.pods(POD);
  assert.equal(await peer.heard(), { add: [endpoint("a", "10.1.0.1:8080")], labels });
});

testUnless(
  NO_PEER,
  test,
  "Destination.Get: what is not there has the status of Linkerd's",
  async () => {
    const code = async (path: string) => (await first("destination", "Get", path, TOKEN)).status;
    assert.is(await code("nothing.shop.svc.cluster.local:80"), "NotFound");
    assert.is(await code("10.0.0.1:80"), "InvalidArgument");
    assert.is(await code(""), "InvalidArgument");
  },
);

testUnless(NO_PEER, test, "Destination.GetProfile: a ServiceProfile", async () => {
  assert.equal(await first("destination", "GetProfile", "10.0.0.4:80", TOKEN), {
    name: "old.shop.svc.cluster.local",
    opaque: false,
    budget: { ratio: 0.25, minPerSecond: 7, ttl: 12_000 },
    overrides: [
      { authority: "v1.shop.svc.cluster.local.:80", weight: 30_000 },
      { authority: "v2.shop.svc.cluster.local.:80", weight: 10_000 },
    ],
    routes: [{
      condition: { all: [{ method: "GET" }, { path: "/books/[^/]*" }] },
      responses: [{ condition: { min: 500, max: 599 }, isFailure: true }],
      labels: { route: "GET /books" },
      isRetryable: true,
      timeout: 1500,
    }],
  });
});

testUnless(NO_PEER, test, "Destination.GetProfile: an opaque port, a pod's address", async () => {
  const profile = (path: string) => first("destination", "GetProfile", path, TOKEN);
  const opaque = await profile("10.0.0.7:3306");
  assert.equal([opaque.name, opaque.opaque], ["mysql.shop.svc.cluster.local", true]);
  const pod = await profile("10.1.0.1:8080");
  const { labels, ...rest } = endpoint("a", "10.1.0.1:8080");
  assert.equal(pod.endpoint, { ...rest, labels: { ...labels, namespace: "shop" } });
});

testUnless(NO_PEER, test, "Identity.Certify: a certificate for our CSR, until when", async () => {
  const pem = await readFile(shop?.dir.join("state", TOKEN_KEY_FILE) ?? "", "utf8");
  const of = { namespace: "shop", serviceAccount: "web", nowMs: Date.now(), lifetimeMs: 600_000 };
  const token = await issueToken(await importTokenKey(pem), of);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certify = (name: string) =>
    first(
      "identity",
      ...["Certify", name, token, Buffer.from(createCsr(privateKey, name)).toString("base64")],
    );
  const given = await certify(identity("web"));
  const leaf = new X509Certificate(Buffer.from(given.leaf, "base64"));
  assert.ok(leaf.checkPrivateKey(privateKey));
  assert.is(leaf.subjectAltName, `DNS:${identity("web")}`);
  assert.is(Math.floor(leaf.validToDate.getTime() / 1000), given.validUntil);
  const anchors = await readFile(shop?.control.ready.trustAnchors ?? "", "utf8");
  const issuers = given.intermediates.map((der: string) => Buffer.from(der, "base64"));
  const issuer = new X509Certificate(issuers[0] ?? anchors);
  assert.ok(leaf.verify(issuer.publicKey));
  const refused = await certify(identity("other"));
  assert.match(refused.status, /^(FailedPrecondition|InvalidArgument|PermissionDenied)$/);
});

const RETRY = {
  ...{ limit: 1, maxBytes: 65_536, conditions: [[500, 599]] },
  backoff: { min: 25, max: 250, jitter: 1 },
};
const SPLIT = {
  metadata: {
    ...{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: "shop", name: "split" },
  },
  hosts: [{ exact: "web.example" }, { suffix: ["example", "shop"] }],
  rules: [
    {
      matches: [{
        path: { exact: "/a" },
        headers: [{ name: "x-version", exact: "two" }, { name: "y", regex: "a.*" }],
        query: [{ name: "q", exact: "1" }],
        method: "PATCH",
      }],
      filters: [
        { requestHeaders: { add: [["b", "2"]], set: [["a", "1"]], remove: ["c"] } },
        { responseHeaders: { remove: ["server"] } },
      ],
      backends: { random: [[{ backend: balancer("v1") }, 9], [{ backend: balancer("v2") }, 1]] },
      timeouts: { request: 10_000, idle: 3000 },
      requestTimeout: 10_000,
      retry: RETRY,
    },
    {
      matches: [{ path: { prefix: "/old" } }],
      filters: [{
        redirect: {
          ...{ scheme: "https", host: "new.example", port: 8443, status: 301 },
          path: { prefix: "/new" },
        },
      }],
      backends: { first: [{ backend: balancer("web") }] },
      timeouts: { idle: 3000 },
      retry: RETRY,
    },
  ],
};

testUnless(NO_PEER, test, "OutboundPolicies: an HTTPRoute, beside filters of ours", async () => {
  const url = `http://${shop?.control.ready.admin}/api/filters`;
  const { filters }: Json = await fetch(url).then((r) => r.json());
  assert.is(filters[0].name, "retry");
  assert.ok(filters[0].served, "a filter of the Service is on the wire");
  const expected = {
    metadata: serviceOf("web"),
    protocol: {
      ...{ kind: "detect", timeout: 10_000 },
      http1: { routes: [SPLIT] },
      http2: { routes: [SPLIT] },
      opaque: [{
        metadata: "default opaq",
        rules: [{ backends: { first: [{ backend: balancer("web") }] } }],
      }],
    },
  };
  assert.equal(await policyOf("10.0.0.1:80"), expected);
  assert.equal(await policyOf("web.shop.svc.cluster.local:80"), expected);
  assert.equal(await first("policy", "Watch", WORKLOAD, "10.0.0.1:80"), expected);
});

testUnless(NO_PEER, test, "OutboundPolicies: default routes with failure accrual", async () => {
  const http = {
    routes: [{
      metadata: "default http",
      rules: [{
        matches: [{ path: { prefix: "/" } }],
        backends: { first: [{ backend: balancer("v1") }] },
      }],
    }],
    accrual: { consecutive: 5, backoff: { min: 1000, max: 60_000, jitter: 0.5 } },
  };
  const { protocol } = await policyOf("10.0.0.2:80");
  assert.equal(protocol.http1, http);
  assert.equal(protocol.http2, http);
});

testUnless(NO_PEER, test, "OutboundPolicies: gRPC, TLS by name, opaque bytes, a pod", async () => {
  const of = (kind: string, name: string) => ({
    ...{ group: "gateway.networking.k8s.io", kind, namespace: "shop", name },
  });
  assert.equal((await policyOf("10.0.0.5:80")).protocol, {
    kind: "grpc",
    routes: [{
      metadata: of("GRPCRoute", "calls"),
      rules: [{
        matches: [{
          rpc: { service: "shop.Books", method: "Get" },
          headers: [{ name: "tenant", exact: "a" }],
        }],
        backends: { random: [[{ backend: balancer("v1") }, 1]] },
        timeouts: { request: 2000 },
        requestTimeout: 2000,
        retry: { limit: 4, conditions: ["internal", "unavailable"] },
      }],
    }],
  });
  assert.equal((await policyOf("10.0.0.6:443")).protocol, {
    kind: "tls",
    routes: [{
      metadata: of("TLSRoute", "names"),
      snis: [{ exact: "db.example" }, { suffix: ["example", "db"] }],
      rules: [{ backends: { random: [[{ backend: balancer("v1") }, 1]] } }],
    }],
  });
  assert.equal((await policyOf("10.0.0.7:3306")).protocol, {
    kind: "opaque",
    routes: [{
      metadata: "default opaq",
      rules: [{ backends: { first: [{ backend: balancer("mysql", 3306) }] } }],
    }],
  });
  assert.is((await policyOf("10.1.0.1:8080")).status, "NotFound");
});

const POLICY = "policy.linkerd.io";

testUnless(NO_PEER, test, "OutboundPolicies: an EgressNetwork that denies", async () => {
  for (const addr of ["198.51.100.7:443", "[2001:db8::1]:443"]) {
    const metadata = {
      ...{ group: POLICY, kind: "EgressNetwork", namespace: "shop", name: "internet", port: 443 },
    };
    const kind = { forward: { addr, labels: {}, weight: 10_000 } };
    const backends = { first: [{ backend: { metadata, capacity: 100, failfast: 3000, kind } }] };
    const routes = [{
      metadata: "default http-egress-deny",
      rules: [{
        matches: [{ path: { prefix: "/" } }],
        filters: [{ failure: { status: 403, message: "traffic not allowed" } }],
        backends,
      }],
    }];
    const bytes = {
      metadata: "default tcp-egress-deny",
      rules: [{ backends, filters: ["forbidden"] }],
    };
    assert.equal(await policyOf(addr), {
      metadata,
      protocol: {
        ...{ kind: "detect", timeout: 10_000 },
        ...{ http1: { routes }, http2: { routes }, opaque: [bytes] },
      },
    });
  }
});

const READERS = {
  networks: [{ net: "10.0.0.0/8", except: ["10.9.0.0/16"] }, { net: "fd00::/8" }],
  clients: { names: [identity("reader")], suffixes: [["tools", "example"]] },
  labels: { group: POLICY, kind: "authorizationpolicy", name: "inside" },
  metadata: { group: POLICY, kind: "authorizationpolicy", namespace: "shop", name: "inside" },
};

testUnless(
  NO_PEER,
  test,
  "InboundServerPolicies: a Server, its route, who may, how often",
  async () => {
    const expected = {
      protocol: {
        kind: "http1",
        limit: {
          metadata: {
            ...{
              group: POLICY,
              kind: "HTTPLocalRateLimitPolicy",
              namespace: "shop",
              name: "limit",
            },
          },
          ...{ total: 100, identity: 20 },
          overrides: [{ rate: 50, clients: [identity("reader")] }],
        },
        routes: [{
          metadata: { group: POLICY, kind: "HTTPRoute", name: "reads" },
          authorizations: [READERS],
          rules: [{ matches: [{ path: { prefix: "/api" }, method: "GET" }] }],
        }],
      },
      authorizations: [],
      labels: { group: POLICY, kind: "server", name: "web-http" },
    };
    assert.equal(await first("policy", "GetPort", WORKLOAD, "8080"), expected);
    assert.equal(await first("policy", "WatchPort", WORKLOAD, "8080"), expected);
  },
);

testUnless(
  NO_PEER,
  test,
  "InboundServerPolicies: ports without a Server, and what is none",
  async () => {
    const anybody = {
      networks: [{ net: "0.0.0.0/0" }, { net: "::/0" }],
      clients: "anybody",
      labels: { group: "", kind: "default", name: "all-unauthenticated" },
      metadata: "default all-unauthenticated",
    };
    const port = (port: string) => first("policy", "GetPort", WORKLOAD, port);
    assert.equal(await port("3306"), {
      protocol: { kind: "opaque" },
      authorizations: [anybody],
      labels: anybody.labels,
    });
    assert.equal(await port("9000"), {
      protocol: {
        ...{ kind: "detect", timeout: 10_000 },
        routes: [{
          metadata: "default default",
          authorizations: [],
          rules: [{ matches: [{ path: { prefix: "/" } }] }],
        }],
      },
      authorizations: [anybody],
      labels: anybody.labels,
    });
    assert.is((await port("0")).status, "InvalidArgument");
    const nobody = '{"ns":"shop","pod":"nobody"}';
    assert.is((await first("policy", "GetPort", nobody, "8080")).status, "NotFound");
  },
);

test.run();
