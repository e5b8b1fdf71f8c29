// Services and routes in YAML, and what a client of a namespace is told of them, for tests of route joins.

import { toJson } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import * as assert from "uvu/assert";
import { addrToWire } from "../../../src/api/addr.ts";
import { OutboundPolicies, OutboundPolicySchema } from "../../../src/api/gen/outbound_pb.ts";
import { Counters } from "../../../src/control/counters.ts";
import type { Mesh } from "../../../src/control/mesh.ts";
import { outboundService } from "../../../src/control/policy/policy-service.ts";
import { reading } from "./streams.ts";

/** A Service with one port, 80, unless said otherwise. */
export const service = (
  name: string,
  ip: string,
  more = "",
  port = "{ port: 80 }",
  namespace = "shop",
) => `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace}, annotations: { ${more} } }
spec: { clusterIP: ${ip}, selector: { app: ${name} }, ports: [${port}] }
`;
/** Of a route's object. */
export interface Of {
  readonly kind?: "HTTPRoute" | "GRPCRoute";
  readonly version?: string;
  readonly namespace?: string;
  readonly created?: number;
  readonly annotations?: string;
  readonly parents?: string;
}
/** The parent of most tests. */
export const WEB = "{ group: core, kind: Service, name: web, namespace: shop, port: 80 }";
/** A route's object; `created` in seconds. */
export const route = (name: string, spec: string, of: Of = {}) => `
apiVersion: ${of.version ?? "gateway.networking.k8s.io/v1"}
kind: ${of.kind ?? "HTTPRoute"}
metadata:
  name: ${name}
  namespace: ${of.namespace ?? "shop"}
  creationTimestamp: "${new Date((of.created ?? 0) * 1000).toISOString()}"
  annotations: { ${of.annotations ?? ""} }
spec: { parentRefs: [${of.parents ?? WEB}], ${spec} }
`;
/** Its name on the wire. */
export const id = (name: string, namespace = "shop", kind = "HTTPRoute") => ({
  ...{ group: "gateway.networking.k8s.io", kind, namespace, name },
});
/** Three Services. */
export const BASE = [
  service("web", "10.0.0.1"),
  service("v1", "10.0.0.2"),
  service("v2", "10.0.0.3"),
].join("---");

/** Asks for addresses, by default of the Service `web`, as a client of a namespace. */
export function clientOf(mesh: Mesh) {
  const transport = createRouterTransport((router) =>
    void router.service(OutboundPolicies, outboundService(mesh, new Counters()))
  );
  const client = createClient(OutboundPolicies, transport);
  const spec = (namespace: string, ip = "10.0.0.1", port = 80) => ({
    sourceWorkload: JSON.stringify({ ns: namespace, pod: "a" }),
    target: { case: "addr" as const, value: addrToWire({ ip, port }) },
  });
  return {
    get: (namespace = "shop", ip?: string, port?: number) => client.get(spec(namespace, ip, port)),
    watch: (namespace = "shop") => reading((signal) => client.watch(spec(namespace), { signal })),
  };
}
/** A policy on the wire. */
export type Wire = Awaited<ReturnType<ReturnType<typeof clientOf>["get"]>>;

/** The routes of a policy that finds out the protocol, which are the same for both of HTTP. */
export function httpRoutes({ protocol }: Wire) {
  const kind = protocol?.kind;
  assert.is(kind?.case, "detect");
  if (kind?.case !== "detect") return [];
  assert.equal(kind.value.http1?.routes, kind.value.http2?.routes);
  return kind.value.http1?.routes ?? [];
}
/** Names of its routes, or of defaults. */
export const names = (wire: Wire) =>
  httpRoutes(wire).map(({ metadata }) =>
    metadata?.kind.case === "resource" ? metadata.kind.value.name : metadata?.kind.value
  );
/** As JSON, to be compared. */
// deno-lint-ignore no-explicit-any
export const json = (wire: Wire): any => toJson(OutboundPolicySchema, wire);
