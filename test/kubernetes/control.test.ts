// The control plane against a real API server: its services as their own accounts with the rights that
// the manifests give them, a pod's token certified, and an API server that goes away and forgets.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { EndpointFold } from "../../src/api/endpoint.ts";
import { Destination } from "../../src/api/gen/destination_pb.ts";
import { Identity } from "../../src/api/gen/identity_pb.ts";
import { InboundServerPolicies } from "../../src/api/gen/inbound_pb.ts";
import { profileFromWire } from "../../src/api/profile.ts";
import { TOKEN_AUDIENCE } from "../../src/api/service-account-token.ts";
import { KubeError } from "../../src/control/k8s/api.ts";
import { reading } from "../control/support/streams.ts";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";
import { createClusterCa, csrFor } from "./certificates.ts";
import { connect, object, openCluster, slice, startAs, until } from "./control-fixture.ts";
import { type KubeObject, NO_CLUSTER } from "./real-cluster.ts";

const never = (why: Error) => assert.unreachable(why.message);

const SERVER = (protocol: string) =>
  object("policy.linkerd.io/v1beta3", "Server", "web", {
    spec: { podSelector: { matchLabels: { app: "web" } }, port: 8080, proxyProtocol: protocol },
  });

testUnless(
  NO_CLUSTER,
  test,
  "destination and policy follow a real cluster as their own account, through an API server that forgets",
  async () => {
    await using cluster = await openCluster();
    const { control, lines, tokenFile } = await startAs(cluster, "linkerd-destination", [
      "destination",
      "policy",
    ]);
    try {
      assert.is(control.ready.identity, "");
      using destinationAt = connect(control.ready.destination);
      using policyAt = connect(control.ready.policy);
      const destination = createClient(Destination, destinationAt.transport);
      const path = "web.shop.svc.cluster.local:80";
      const get = reading((signal) => destination.get({ path }, { signal }));
      const fold = new EndpointFold(never);
      const ips = async () => {
        const set = fold.apply(await get.next());
        return set?.endpoints.map((e) => e.addr.ip).sort();
      };
      assert.equal(await ips(), ["10.1.0.1"]);
      const profiles = reading((signal) =>
        destination.getProfile({ path: "10.96.7.7:80" }, { signal })
      );
      const routes = async () =>
        profileFromWire(await profiles.next(), never).routes.map((r) => r.name);
      assert.equal(await routes(), []);
      const inbound = createClient(InboundServerPolicies, policyAt.transport);
      const watch = reading((signal) =>
        inbound.watchPort({ workload: '{"ns":"shop","pod":"web"}', port: 8080 }, { signal })
      );
      assert.is((await watch.next()).labels["name"], "all-unauthenticated");

      // Each kind of change arrives at the stream that is about it.
      await cluster.apply(slice("10.1.0.1", "10.1.0.2"));
      assert.equal(await ips(), ["10.1.0.1", "10.1.0.2"]);
      await cluster.apply(
        object("linkerd.io/v1alpha2", "ServiceProfile", "web.shop.svc.cluster.local", {
          spec: { routes: [{ name: "cart", condition: { pathRegex: "/cart" } }] },
        }),
      );
      assert.equal(await routes(), ["cart"]);
      await cluster.apply(SERVER("HTTP/1"));
      assert.is((await watch.next()).labels["name"], "web");

      // The status says what became of each, written under the Lease.
      const filter = object("tulle.dev/v1alpha1", "WasmFilter", "retry", {
        spec: { targetRef: { kind: "Service", name: "web" }, module: { sha256: "00".repeat(32) } },
      });
      await cluster.apply(filter);
      const policy = "policy.linkerd.io/v1alpha1";
      const limit = (name: string, server: string) =>
        object(policy, "HTTPLocalRateLimitPolicy", name, {
          spec: {
            targetRef: { group: "policy.linkerd.io", kind: "Server", name: server },
            total: { requestsPerSecond: 100 },
          },
        });
      const egress = object(policy, "EgressNetwork", "inside", {
        spec: { trafficPolicy: "Deny", networks: [{ cidr: "10.0.0.0/16" }] },
      });
      const wanted: [KubeObject, string][] = [
        [limit("calm", "web"), "True Accepted"],
        [limit("lost", "nobody"), "False NoMatchingTarget"],
        [egress, "False EgressReasonNetworkOverlap"],
      ];
      for (const [o] of wanted) await cluster.apply(o);
      for (const [o, words] of [...wanted, [filter, "False Refused"] as const]) {
        const path = await cluster.path(o);
        let said = "";
        await until(async () => {
          const { status } = await cluster.api.request({ path }) as {
            status?: { conditions: { type: string; status: string; reason: string }[] };
          };
          const accepted = status?.conditions.find((c) => c.type === "Accepted");
          return (said = `${accepted?.status} ${accepted?.reason}`) === words;
        }, `${o.kind} ${o.metadata.name} says ${words}`).catch((e) => {
          throw new Error(`${e instanceof Error ? e.message : e}, but ${said}`);
        });
      }
      const leases = await cluster.api.request({
        path: "/apis/coordination.k8s.io/v1/namespaces/linkerd/leases/policy-controller-write",
      }) as { spec: { holderIdentity: string } };
      assert.ok(leases.spec.holderIdentity.length > 30);

      // The rights are enough (nothing was refused), and no more.
      assert.not.match(lines.join("\n"), /answered 40[13]/);
      const own = await cluster.connect({ tokenFile });
      for (
        const [method, path] of [
          ["GET", "/api/v1/secrets"],
          ["GET", "/api/v1/namespaces/linkerd/secrets"],
          ["GET", "/api/v1/configmaps"],
          ["POST", "/api/v1/namespaces/shop/pods"],
          ["POST", "/apis/authentication.k8s.io/v1/tokenreviews"],
          ["PATCH", "/api/v1/namespaces/shop/services/web"],
        ] as const
      ) {
        const status = await own.request({ method, path, ...method === "GET" ? {} : { body: {} } })
          .then(() => 200, (e) => e instanceof KubeError ? e.status : 0);
        assert.is(status, 403, `${method} ${path}`);
      }

      // The API server dies: what is known stays, and new streams are answered from it.
      const pods = await cluster.api.request({ path: "/api/v1/pods" }) as {
        metadata: { resourceVersion: string };
      };
      const old = pods.metadata.resourceVersion;
      await cluster.stopServer();
      await until(
        () => lines.some((l) => /Kubernetes endpointslices: .*failed/.test(l)),
        "it is said",
      );
      const again = reading((signal) => destination.get({ path }, { signal }));
      assert.is(new EndpointFold(never).apply(await again.next())?.endpoints.length, 2);
      await again.end();

      // Meanwhile the cluster goes on by another API server, and its past is forgotten.
      const other = await freePort();
      await cluster.startServer(other);
      const there = await cluster.connectTo(other);
      await cluster.apply(slice("10.1.0.3"), there);
      await there.request({
        method: "PATCH",
        path: `${await cluster.path(SERVER(""))}`,
        contentType: "application/merge-patch+json",
        body: {
          metadata: { labels: { changed: "yes" } },
          spec: { accessPolicy: "all-authenticated" },
        },
      });
      await cluster.compact();
      await cluster.stopServer();
      await cluster.startServer();
      // What is new may come before what is gone.
      while (String(await ips()) !== "10.1.0.3");
      assert.is((await watch.next()).labels["name"], "web");
      await until(
        () => lines.some((l) => /no longer: Kubernetes endpointslices/.test(l)),
        "all is well",
      );
      // That was a 410: from the version of before, nobody can watch any more.
      const gone = new AbortController();
      const expired = async () => {
        const query = `watch=true&resourceVersion=${old}&timeoutSeconds=5`;
        const seen: unknown[] = [];
        for await (
          const events of cluster.api.watch(`/api/v1/pods?${query}`, 10_000, gone.signal)
        ) {
          seen.push(...events);
        }
        return JSON.stringify(seen);
      };
      assert.match(await expired().catch((e) => `"code":${(e as KubeError).status}`), /"code":410/);

      assert.not.match(
        lines.join("\n"),
        new RegExp(await readFile(tokenFile, "utf8").then((t) => t.trim())),
      );
      await get.end();
      await profiles.end();
      await watch.end();
    } finally {
      await control.close();
    }
  },
);

testUnless(
  NO_CLUSTER,
  test,
  "identity certifies what the API server vouches for, by the issuer that is mounted",
  async () => {
    await using cluster = await openCluster();
    const roots = await createClusterCa("root.linkerd.cluster.local");
    const [first, second] = [await roots.issuer("issuer-1"), await roots.issuer("issuer-2")];
    const dir = cluster.file("issuer");
    await mkdir(dir);
    const put = (name: string, text: string) => writeFile(`${dir}/${name}`, text, { mode: 0o600 });
    await put("crt.pem", first.cert);
    await put("key.pem", first.key);
    await writeFile(cluster.file("ca-bundle.crt"), roots.cert);
    const { control, lines, tokenFile } = await startAs(cluster, "linkerd-identity", ["identity"], [
      ...["--issuer", dir, "--trust-anchors", cluster.file("ca-bundle.crt")],
    ]);
    try {
      assert.is(control.ready.destination, "");
      using at = connect(control.ready.identity);
      const identity = createClient(Identity, at.transport);
      const WEB = "web.shop.serviceaccount.identity.linkerd.cluster.local";
      const certify = async (token: string, name = WEB) =>
        await identity.certify({
          identity: name,
          token: new TextEncoder().encode(token),
          certificateSigningRequest: await csrFor(name),
        });
      const refusal = async (token: string, name = WEB): Promise<[Code, string]> => {
        try {
          await certify(token, name);
        } catch (e) {
          return [ConnectError.from(e).code, ConnectError.from(e).rawMessage];
        }
        throw new Error("a certificate was issued");
      };
      const token = await cluster.token("shop", "web", TOKEN_AUDIENCE);
      const issued = await certify(token);
      assert.is(issued.intermediateCertificates.length, 1);
      assert.equal(
        btoa(String.fromCharCode(...issued.intermediateCertificates[0] ?? [])),
        first.cert.replace(/-----[^-]+-----|\s/g, ""),
      );

      // For another audience, forged, and somebody else's.
      const other = await cluster.token("shop", "web", "vault");
      assert.is((await refusal(other))[0], Code.InvalidArgument);
      assert.is((await refusal(await cluster.token("shop", "web")))[0], Code.InvalidArgument);
      const forged = token.slice(0, -8) + "AAAAAAAA";
      assert.is((await refusal(forged))[0], Code.InvalidArgument);
      assert.is(
        (await refusal(token, WEB.replace("web", "admin")))[0],
        Code.FailedPrecondition,
      );

      // A new issuer signs without a restart; one that cannot be used is said, and the last goes on.
      await put("key.pem", second.key);
      await put("crt.pem", second.cert);
      await until(async () => {
        const { intermediateCertificates: [der] } = await certify(token);
        return btoa(String.fromCharCode(...der ?? [])) ===
          second.cert.replace(/-----[^-]+-----|\s/g, "");
      }, "the second issuer signs");
      await put("key.pem", "broken");
      await until(() => lines.some((l) => /key\.pem cannot be read/.test(l)), "it is said");
      await certify(token);

      // Without the API server nobody is certified, and everybody hears why.
      await cluster.stopServer();
      const [code, why] = await refusal(token);
      assert.is(code, Code.Unavailable);
      assert.match(why, /^the token cannot be reviewed: POST .*refused$/);

      const log = lines.join("\n");
      for (
        const secret of [
          token,
          other,
          forged,
          await readFile(tokenFile, "utf8").then((t) => t.trim()),
        ]
      ) {
        assert.not.ok(log.includes(secret), "a token is in the log");
      }
      assert.not.match(log, /answered 403/);
    } finally {
      await control.close();
    }
  },
);

test.run();
