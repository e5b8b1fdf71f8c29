// The policy API, inbound and outbound: translates requests to joins and their values to messages,
// each of which is whole.

import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { addrFromWire } from "../../api/addr.ts";
import { clientPolicyToWire } from "../../api/client-policy.ts";
import type { InboundServerPolicies, PortSpec, Server } from "../../api/gen/inbound_pb.ts";
import type { OutboundPolicies, OutboundPolicy, TrafficSpec } from "../../api/gen/outbound_pb.ts";
import { serverPolicyToWire } from "../../api/server-policy.ts";
import { workloadFromWire } from "../../api/workload.ts";
import { errorText } from "../../core/errors.ts";
import type { ServerPolicy } from "../../model/policy.ts";
import type { Counters } from "../counters.ts";
import { parsePolicyAuthority, type ServiceTarget } from "../destination/authority.ts";
import { follow, JoinCache, type Lease, now } from "../join.ts";
import type { Mesh } from "../mesh.ts";
import { serverPolicyOf } from "./inbound.ts";
import { clientPolicyOf, type OutboundTarget, type PolicyAnswer } from "./outbound.ts";

/** Streams end in order when their signal aborts, and with `NotFound` when the pod is gone. */
export function inboundService(
  mesh: Mesh,
  counters: Counters,
): ServiceImpl<typeof InboundServerPolicies> {
  const policies = new JoinCache<ServerPolicy | null>(mesh.cluster);
  const open = ({ workload: text, port }: PortSpec) => {
    const workload = workloadFromWire(text);
    if (workload === null) {
      throw new ConnectError("The workload is not JSON with ns and pod", Code.InvalidArgument);
    }
    if (port === 0 || port > 65535) {
      throw new ConnectError(`${port} is not a port`, Code.InvalidArgument);
    }
    const { namespace, pod } = workload;
    return () =>
      policies.lease(
        `${namespace}/${pod}:${port}`,
        (reads) => serverPolicyOf(mesh, reads, workload, port),
      );
  };
  const toWire = (policy: ServerPolicy | null): Server => {
    if (policy === null) throw new ConnectError("unknown server", Code.NotFound);
    return serverPolicyToWire(policy);
  };
  return {
    getPort: (request) => toWire(now(open(request)())),
    watchPort: (request, { signal }) =>
      counters.counted("inbound.WatchPort", mapped(open(request), signal, toWire)),
  };
}

/** A stream whose target is no service any more ends in order, so that the client looks up again. */
export function outboundService(
  mesh: Mesh,
  counters: Counters,
): ServiceImpl<typeof OutboundPolicies> {
  const policies = new JoinCache<PolicyAnswer>(mesh.cluster);
  const open = (request: TrafficSpec) => {
    const workload = workloadFromWire(request.sourceWorkload);
    if (workload === null) {
      throw new ConnectError(
        "The source workload is not JSON with ns and pod",
        Code.InvalidArgument,
      );
    }
    const target = readTarget(request);
    const { namespace } = workload;
    return () =>
      policies.lease(
        `${namespace} ${JSON.stringify(target)}`,
        (reads) => clientPolicyOf(mesh, reads, target, namespace),
      );
  };
  const toWire = (answer: PolicyAnswer): OutboundPolicy => {
    if (answer.kind === "none") throw new ConnectError("No such service", Code.NotFound);
    return clientPolicyToWire(answer.policy, mesh.options.detectMs, answer.h2c);
  };
  return {
    get: (request) => toWire(now(open(request)())),
    watch: (request, { signal }) =>
      counters.counted("outbound.Watch", watched(open(request), signal, toWire)),
  };
}

function readTarget({ target }: TrafficSpec): OutboundTarget {
  try {
    switch (target.case) {
      case "addr":
        return { kind: "address", addr: addrFromWire(target.value, "addr") };
      case "authority":
        return { kind: "service", service: readAuthority(target.value) };
    }
  } catch (e) {
    if (e instanceof ConnectError) throw e;
    throw new ConnectError(errorText(e), Code.InvalidArgument);
  }
  throw new ConnectError("The target is missing", Code.InvalidArgument);
}

function readAuthority(text: string): ServiceTarget {
  const service = parsePolicyAuthority(text);
  if (service !== null) return service;
  const shown = JSON.stringify(text.slice(0, 300));
  throw new ConnectError(`${shown} is not the name of a service`, Code.NotFound);
}

async function* mapped<T, M>(
  open: () => Lease<T>,
  signal: AbortSignal,
  toWire: (value: T) => M,
): AsyncGenerator<M> {
  for await (const value of follow(open, signal)) yield toWire(value);
}

async function* watched(
  open: () => Lease<PolicyAnswer>,
  signal: AbortSignal,
  toWire: (answer: PolicyAnswer) => OutboundPolicy,
): AsyncGenerator<OutboundPolicy> {
  let first = true;
  for await (const answer of follow(open, signal)) {
    if (answer.kind === "none" && !first) return;
    yield toWire(answer);
    first = false;
  }
}
