// The policy services over a mesh, as a proxy would ask them, for tests of the joins.

import { ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { addrToWire } from "../../../src/api/addr.ts";
import { clientPolicyFromWire } from "../../../src/api/client-policy.ts";
import { InboundServerPolicies } from "../../../src/api/gen/inbound_pb.ts";
import { OutboundPolicies } from "../../../src/api/gen/outbound_pb.ts";
import { serverPolicyFromWire } from "../../../src/api/server-policy.ts";
import { Counters } from "../../../src/control/counters.ts";
import type { Mesh } from "../../../src/control/mesh.ts";
import { inboundService, outboundService } from "../../../src/control/policy/policy-service.ts";
import { reading } from "./streams.ts";

/** Who asks, as proxies write it. */
export const WORKLOAD = '{"ns":"shop", "pod":"a"}\n';

/** Asks for pod `a` of namespace shop; targets are `IP:PORT` or a name. */
export function policyClient(mesh: Mesh) {
  const counters = new Counters();
  const transport = createRouterTransport((router) => {
    router.service(InboundServerPolicies, inboundService(mesh, counters));
    router.service(OutboundPolicies, outboundService(mesh, counters));
  });
  const inbound = createClient(InboundServerPolicies, transport);
  const outbound = createClient(OutboundPolicies, transport);
  const code = (call: Promise<unknown>) => call.then(() => null, (e) => ConnectError.from(e).code);
  return {
    port: async (port: number) =>
      serverPolicyFromWire(await inbound.getPort({ workload: WORKLOAD, port })),
    portWire: (port: number) => inbound.getPort({ workload: WORKLOAD, port }),
    portCode: (workload: string, port: number) => code(inbound.getPort({ workload, port })),
    watchPort: (port: number) =>
      reading((signal) => inbound.watchPort({ workload: WORKLOAD, port }, { signal })),
    to: async (text: string, namespace = "shop") =>
      clientPolicyFromWire(await outbound.get(spec(text, namespace))),
    toCode: (text: string, workload = WORKLOAD) =>
      code(outbound.get({ ...spec(text), sourceWorkload: workload })),
    watch: (text: string, namespace = "shop") =>
      reading((signal) => outbound.watch(spec(text, namespace), { signal })),
    wire: (text: string, namespace = "shop") => outbound.get(spec(text, namespace)),
  };
}

function spec(text: string, namespace = "shop") {
  const address = /^\[?([\d.]+|[\da-f:]+)\]?:(\d+)$/.exec(text);
  return {
    sourceWorkload: WORKLOAD.replace("shop", namespace),
    target: address === null ? { case: "authority" as const, value: text } : {
      case: "addr" as const,
      value: addrToWire({ ip: address[1] ?? "", port: Number(address[2]) }),
    },
  };
}
