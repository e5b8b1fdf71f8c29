// Policies against a real API server: ServerAuthorizations and EgressNetworks, read as the control plane's
// own account, and what the custom resources themselves refuse.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { createClient } from "@connectrpc/connect";
import { addrToWire } from "../../src/api/addr.ts";
import { clientPolicyFromWire } from "../../src/api/client-policy.ts";
import { InboundServerPolicies } from "../../src/api/gen/inbound_pb.ts";
import { OutboundPolicies } from "../../src/api/gen/outbound_pb.ts";
import { serverPolicyFromWire } from "../../src/api/server-policy.ts";
import { KubeError } from "../../src/control/k8s/api.ts";
import { authorize } from "../../src/model/policy.ts";
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

const POLICY = "policy.linkerd.io/v1alpha1";
const sourceWorkload = '{"ns":"shop","pod":"web"}';
const server = (labels: Record<string, string>) => {
  const web = object("policy.linkerd.io/v1beta3", "Server", "web", {
    spec: { podSelector: { matchLabels: { app: "web" } }, port: 8080 },
  });
  return { ...web, metadata: { ...web.metadata, labels } };
};
const authorization = (name: string, of: object, client: object) =>
  object("policy.linkerd.io/v1beta1", "ServerAuthorization", name, {
    spec: { server: of, client },
  });
const network = (name: string, trafficPolicy: string, ...cidrs: string[]) =>
  object(POLICY, "EgressNetwork", name, {
    spec: {
      trafficPolicy,
      ...(cidrs.length === 0 ? {} : { networks: cidrs.map((cidr) => ({ cidr })) }),
    },
  });

testUnless(
  NO_CLUSTER,
  test,
  "ServerAuthorizations and EgressNetworks of a real cluster reach the streams that they are about",
  async () => {
    await using cluster = await openCluster();
    for (const kind of ["TLSRoute", "TCPRoute"]) {
      await cluster.apply(definition(kind, `${kind.toLowerCase()}s`, "v1alpha2"));
    }
    const { control, lines } = await startAs(cluster, "linkerd-destination", ["policy"]);
    try {
      using at = connect(control.ready.policy);
      const inbound = createClient(InboundServerPolicies, at.transport);
      const port = reading((signal) =>
        inbound.watchPort({ workload: sourceWorkload, port: 8080 }, { signal })
      );
      const outbound = createClient(OutboundPolicies, at.transport);
      const addr = addrToWire({ ip: "203.0.113.7", port: 443 });
      const out = reading((signal) =>
        outbound.watch({ sourceWorkload, target: { case: "addr", value: addr } }, { signal })
      );
      const client = {
        ip: "10.1.2.3",
        meshed: true,
        identity: "load.shop.serviceaccount.identity.linkerd.cluster.local",
      };
      const permits = async () => {
        const by = authorize(serverPolicyFromWire(await port.next()), client)?.origin;
        return `${by?.kind} ${by?.name}`;
      };
      const covered = async () => {
        const { origin, routes } = clientPolicyFromWire(await out.next());
        return `${origin.name} ${routes[0]?.name}`;
      };
      assert.is(await permits(), "default all-unauthenticated");
      assert.is(await covered(), "egress-fallback egress-fallback");

      await cluster.apply(server({ tier: "front" }));
      assert.is(await permits(), "undefined undefined");
      const load = { meshTLS: { serviceAccounts: [{ name: "load" }] } };
      const front = { selector: { matchLabels: { tier: "front" } } };
      await cluster.apply(authorization("load", front, load));
      assert.is(await permits(), "serverauthorization load");
      await cluster.apply(server({ tier: "back" }));
      assert.is(await permits(), "undefined undefined");
      // The API server converts what is written in an older version.
      const old = authorization("any", { name: "web" }, { unauthenticated: true });
      await cluster.apply({ ...old, apiVersion: "policy.linkerd.io/v1alpha1" });
      assert.is(await permits(), "serverauthorization any");

      await cluster.apply(network("internet", "Deny"));
      assert.is(await covered(), "internet http-egress-deny");
      await cluster.apply(network("example", "Allow", "203.0.113.0/24"));
      assert.is(await covered(), "example http-egress-allow");
      await cluster.api.request({
        method: "DELETE",
        path: await cluster.path(network("example", "Allow")),
      });
      assert.is(await covered(), "internet http-egress-deny");

      // Routes of bytes, and what becomes of them.
      const routes = ["TCPRoute", "TLSRoute"].map((kind) =>
        object(`${GATEWAY}/v1alpha2`, kind, kind.toLowerCase(), {
          spec: {
            parentRefs: [
              { group: "policy.linkerd.io", kind: "EgressNetwork", name: "internet", port: 443 },
            ],
            rules: [{
              backendRefs: [
                { group: "policy.linkerd.io", kind: "EgressNetwork", name: "internet" },
              ],
            }],
          },
        })
      );
      const [tcp, tls] = routes as [KubeObject, KubeObject];
      await cluster.apply(tcp);
      assert.is(clientPolicyFromWire(await out.next()).protocol, "opaque");
      await says(cluster, tcp, "True Accepted, True ResolvedRefs");
      await cluster.apply(tls);
      assert.is(await covered(), "internet tlsroute");
      await says(cluster, tcp, "False RouteReasonConflicted, True ResolvedRefs");
      await says(cluster, tls, "True Accepted, True ResolvedRefs");
      for (const route of [tls, tcp]) {
        await cluster.api.request({ method: "DELETE", path: await cluster.path(route) });
        await out.next();
      }

      // What the custom resource refuses is refused without a webhook.
      for (const servers of [{}, { name: "web", selector: {} }]) {
        const refused = await cluster.apply(authorization("bad", servers, load)).then(
          () => 0,
          (e) => e instanceof KubeError ? e.status : String(e),
        );
        assert.is(refused, 422, JSON.stringify(servers));
      }
      // What it lets in and nobody can read is one line, and the last good version stays.
      await cluster.apply(network("internet", "Deny", "203.0.113.0/99"));
      await cluster.apply(network("later", "Allow", "203.0.113.0/24"));
      assert.is(await covered(), "later http-egress-allow");
      const said = lines.filter((l) => /internet/.test(l) && /spec\.networks\[0\]\.cidr/.test(l));
      assert.is(said.length, 1, said.join("\n"));
      assert.not.match(lines.join("\n"), /answered 40[13]/);
      await port.end();
      await out.end();
    } finally {
      await control.close();
    }
  },
);

test.run();
