// HTTPRoutes and GRPCRoutes at a real API server: without and with the definitions of the Gateway API, what
// streams carry, what status says, and that the rights of the manifests are enough and no more.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { createClient } from "@connectrpc/connect";
import { addrToWire } from "../../src/api/addr.ts";
import { OutboundPolicies, type OutboundPolicy } from "../../src/api/gen/outbound_pb.ts";
import { KubeError } from "../../src/control/k8s/api.ts";
import { reading } from "../control/support/streams.ts";
import { testUnless } from "../support/skip.ts";
import {
  connect,
  definition,
  GATEWAY,
  object,
  openCluster,
  says,
  startAs,
} from "./control-fixture.ts";
import { type KubeObject, NO_CLUSTER } from "./real-cluster.ts";

const PARENT = { group: "core", kind: "Service", name: "web", port: 80 };
const service = (name: string) =>
  object("v1", "Service", name, { spec: { selector: { app: name }, ports: [{ port: 80 }] } });
const httpRoute = (backend: string, group = "policy.linkerd.io/v1beta3") =>
  object(group, "HTTPRoute", "by-header", {
    spec: {
      parentRefs: [PARENT],
      rules: [{
        matches: [{ headers: [{ name: "x-canary", value: "yes" }] }],
        backendRefs: [{ name: backend, port: 80 }],
      }, { backendRefs: [{ name: "web", port: 80 }] }],
    },
  });
const grpcRoute = object(`${GATEWAY}/v1`, "GRPCRoute", "calls", {
  spec: {
    parentRefs: [PARENT],
    rules: [{ matches: [{ method: { service: "shop.Cart" } }] }],
  },
});

/** What a policy's first rule leads to: `http canary.shop.svc.cluster.local:80`. */
function leads({ protocol }: OutboundPolicy): string {
  const kind = protocol?.kind;
  if (kind?.case === "grpc") {
    return `grpc ${kind.value.routes[0]?.rules[0]?.matches[0]?.rpc?.service}`;
  }
  const rule = kind?.case === "detect" ? kind.value.http1?.routes[0]?.rules[0] : undefined;
  const backends = rule?.backends?.kind;
  if (backends?.case !== "randomAvailable") return "http default";
  const backend = backends.value.backends[0]?.backend;
  const discovery = backend?.backend?.kind;
  return discovery?.case === "balancer"
    ? `http ${discovery.value.discovery?.kind.value?.path}`
    : `http nowhere ${backend?.filters.length}`;
}

testUnless(
  NO_CLUSTER,
  test,
  "routes arrive at the streams of clients, their status says so, with and without the Gateway API",
  async () => {
    await using cluster = await openCluster();
    for (const name of ["canary"]) await cluster.apply(service(name));
    const { control, lines, tokenFile } = await startAs(cluster, "linkerd-destination", ["policy"]);
    try {
      using at = connect(control.ready.policy);
      const client = createClient(OutboundPolicies, at.transport);
      const stream = reading((signal) =>
        client.watch({
          sourceWorkload: '{"ns":"shop","pod":"web"}',
          target: { case: "addr", value: addrToWire({ ip: "10.96.7.7", port: 80 }) },
        }, { signal })
      );
      const next = async (wanted: string) => {
        let got = "";
        for (let i = 0; i < 8 && got !== wanted; i++) got = leads(await stream.next());
        assert.is(got, wanted);
      };
      await next("http default");

      // Linkerd's own kind, without the Gateway API: one line for each kind that is not there.
      await cluster.apply(httpRoute("canary"));
      await next("http canary.shop.svc.cluster.local:80");
      await says(cluster, httpRoute("canary"), "True Accepted, True ResolvedRefs");
      await cluster.apply(httpRoute("gone"));
      await next("http nowhere 1");
      await says(cluster, httpRoute("gone"), "True Accepted, False BackendNotFound");
      await cluster.apply(service("gone"));
      await next("http gone.shop.svc.cluster.local:80");
      await says(cluster, httpRoute("gone"), "True Accepted, True ResolvedRefs");
      // Another route's status is written, and this one's is not again.
      const version = async (of: KubeObject) =>
        (await cluster.api.request({ path: await cluster.path(of) }) as KubeObject).metadata
          .resourceVersion;
      const before = await version(httpRoute("gone"));
      const other = object("policy.linkerd.io/v1beta3", "HTTPRoute", "other", {
        spec: { parentRefs: [{ ...PARENT, name: "canary" }], rules: [{}] },
      });
      await cluster.apply(other);
      await says(cluster, other, "True Accepted, True ResolvedRefs");
      assert.is(await version(httpRoute("gone")), before);
      const missing = () => lines.filter((l) => /does not have this kind/.test(l));
      assert.is(missing().length, 4, missing().join("\n"));
      assert.equal(control.ready.destination, "");

      // The Gateway API comes while we run.
      await cluster.apply(definition("HTTPRoute", "httproutes"));
      await cluster.apply(definition("GRPCRoute", "grpcroutes"));
      await cluster.apply(grpcRoute);
      await next("grpc shop.Cart");
      await says(cluster, grpcRoute, "True Accepted, True ResolvedRefs");
      await says(cluster, httpRoute("gone"), "False RouteReasonConflicted, True ResolvedRefs");
      await cluster.api.request({ method: "DELETE", path: await cluster.path(grpcRoute) });
      await next("http gone.shop.svc.cluster.local:80");
      await says(cluster, httpRoute("gone"), "True Accepted, True ResolvedRefs");
      const standard = httpRoute("canary", `${GATEWAY}/v1`);
      await cluster.api.request({ method: "DELETE", path: await cluster.path(httpRoute("")) });
      await next("http default");
      await cluster.apply(standard);
      await next("http canary.shop.svc.cluster.local:80");
      await says(cluster, standard, "True Accepted, True ResolvedRefs");

      // The rights are enough (nothing was refused), and no more.
      assert.not.match(lines.join("\n"), /answered 40[13]/);
      const own = await cluster.connect({ tokenFile });
      const route = await cluster.path(standard);
      for (
        const [method, path] of [
          ["GET", `/apis/${GATEWAY}/v1/gateways`],
          ["GET", `/apis/${GATEWAY}/v1beta1/referencegrants`],
          ["PATCH", route],
          ["DELETE", route],
          ["POST", route.slice(0, route.lastIndexOf("/"))],
        ] as const
      ) {
        const status = await own.request({ method, path, ...method === "GET" ? {} : { body: {} } })
          .then(() => 200, (e) => e instanceof KubeError ? e.status : 0);
        assert.is(status, 403, `${method} ${path}`);
      }
      await stream.end();
    } finally {
      await control.close();
    }
  },
);

test.run();
