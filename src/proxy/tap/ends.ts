// What an observer is told of both ends of a request: labels of source, destination and route, as the
// reference names them. Computed only while somebody looks.

import type { ConnInfo, Exchange } from "../../core/exchange.ts";
import type { SocketAddr } from "../../core/addr.ts";
import type { Labels } from "../../core/sheet.ts";
import type { Endpoint } from "../../model/endpoint.ts";
import type { TapEnds } from "./tapped.ts";

/** An attempt on its way to an endpoint. `serverId`: who must answer there; null: no mesh TLS. */
export function outboundEnds(
  endpoint: Endpoint,
  serverId: string | null,
  routeLabels: Labels,
): TapEnds {
  return {
    sourceLabels: { tls: "loopback" },
    destination: endpoint.addr,
    destinationLabels: {
      ...endpoint.labels,
      ...(serverId === null
        ? { tls: "not_provided_by_service_discovery" }
        : { tls: "true", server_id: serverId }),
    },
    routeLabels,
  };
}

/** A request on its way to the application. `decided`: labels of the policy's decision. */
export function inboundEnds(
  x: Exchange,
  application: SocketAddr,
  decided: Labels,
  routeLabels: Labels,
): TapEnds {
  const policy = Object.entries(decided).filter(([key]) => /^(srv|authz|route)_/.test(key));
  return {
    sourceLabels: clientLabels(x.conn),
    destination: application,
    destinationLabels: {
      ...Object.fromEntries(policy),
      ...(x.routeName === "" ? {} : { route_name: x.routeName }),
      tls: "loopback",
    },
    routeLabels,
  };
}

function clientLabels({ tls }: ConnInfo): Labels {
  if (tls === null) return { tls: "no_tls_from_remote" };
  return { tls: "true", client_id: tls.identity ?? "" };
}
