// The destination API: translates requests to joins and their values to messages. `Get` sends what
// changed since its last message, `GetProfile` whole profiles.

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { addUpdate, noEndpointsUpdate, removeUpdate } from "../../api/endpoint.ts";
import {
  type Destination,
  type DestinationProfile,
  DestinationProfileSchema,
  type GetDestination,
  type Update,
} from "../../api/gen/destination_pb.ts";
import { profileToWire } from "../../api/profile.ts";
import { contextFromWire } from "../../api/workload.ts";
import type { Endpoint } from "../../model/endpoint.ts";
import type { Counters } from "../counters.ts";
import { follow, JoinCache, type Lease } from "../join.ts";
import type { Mesh } from "../mesh.ts";
import { type Authority, parseAuthority } from "./authority.ts";
import { deltaOf } from "./delta.ts";
import { type EndpointsAnswer, endpointsOf } from "./endpoints.ts";
import { type ProfileAnswer, profileOf } from "./profile.ts";

/** Endpoints of one message: larger additions are sent in several. */
const MAX_ADD = 1000;

/** Both methods. Streams end in order when their signal aborts. */
export function destinationService(
  mesh: Mesh,
  counters: Counters,
): ServiceImpl<typeof Destination> {
  const endpoints = new JoinCache<EndpointsAnswer>(mesh.cluster);
  const profiles = new JoinCache<ProfileAnswer>(mesh.cluster);
  return {
    get(request: GetDestination, { signal }) {
      const target = readTarget(request, mesh);
      if (target.kind === "address") {
        throw new ConnectError("IP address queries are not supported", Code.InvalidArgument);
      }
      const { service } = target;
      const { node } = contextFromWire(request.contextToken);
      const key =
        `${service.hostname}.${service.namespace}/${service.name}:${service.port} ${node}`;
      const open = () => endpoints.lease(key, (reads) => endpointsOf(mesh, reads, service, node));
      return counters.counted("destination.Get", updates(open, request.path, signal));
    },
    getProfile(request: GetDestination, { signal }) {
      const target = readTarget(request, mesh);
      const { namespace } = contextFromWire(request.contextToken);
      const key = `${JSON.stringify(target)} ${namespace}`;
      const open = () => profiles.lease(key, (reads) => profileOf(mesh, reads, target, namespace));
      return counters.counted("destination.GetProfile", wholeProfiles(open, request.path, signal));
    },
  };
}

function readTarget(request: GetDestination, mesh: Mesh): Authority {
  const target = parseAuthority(request.path, mesh.options.clusterDomain);
  if (target !== null) return target;
  const path = JSON.stringify(request.path.slice(0, 300));
  throw new ConnectError(
    `${path} is not the name of a service: write NAME.NAMESPACE.svc.${mesh.options.clusterDomain}:PORT`,
    Code.InvalidArgument,
  );
}

async function* updates(
  open: () => Lease<EndpointsAnswer>,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<Update> {
  let sent: readonly Endpoint[] = [];
  let first = true;
  for await (const answer of follow(open, signal)) {
    if (answer.kind === "external-name") {
      throw new ConnectError(`${path} is an ExternalName service`, Code.InvalidArgument);
    }
    if (answer.kind === "no-service") {
      // Known before: the client keeps its stream and hears that it is gone.
      if (first) throw new ConnectError(`No such service: ${path}`, Code.NotFound);
      sent = [];
      yield noEndpointsUpdate(false);
      continue;
    }
    const { add, remove } = deltaOf(sent, answer.endpoints);
    if (first && add.length === 0) yield noEndpointsUpdate(true);
    // Additions first, so that the set is never empty in between; in pieces, the first replaces.
    for (let at = 0; at < add.length; at += MAX_ADD) {
      yield addUpdate(add.slice(at, at + MAX_ADD), answer.setLabels);
    }
    if (remove.length > 0) yield removeUpdate(remove);
    sent = answer.endpoints;
    first = false;
  }
}

async function* wholeProfiles(
  open: () => Lease<ProfileAnswer>,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<DestinationProfile> {
  for await (const answer of follow(open, signal)) {
    switch (answer.kind) {
      case "profile":
        yield profileToWire(answer.profile, answer.refs);
        break;
      case "undefined-port":
        yield create(DestinationProfileSchema);
        break;
      case "no-service":
        // Not NotFound: the proxy goes on asking.
        throw new ConnectError(`No such service: ${path}`, Code.Unknown);
      case "no-endpoint":
        throw new ConnectError(`No such endpoint: ${path}`, Code.NotFound);
      case "ambiguous":
        throw new ConnectError(`Several services claim ${path}`, Code.FailedPrecondition);
    }
  }
}
