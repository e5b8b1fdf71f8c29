// What routes of both directions have in common on the wire, written from objects: hosts, matches of gRPC,
// filters. The other direction is read by `http-match.ts` and `route-actions.ts`.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { GrpcMatch, RouteFilter, RouteRedirect } from "../model/attached-route.ts";
import type { HeaderAction } from "../model/route-action.ts";
import type { GrpcRouteMatchSchema } from "./gen/grpc_route_pb.ts";
import type {
  HostMatchSchema,
  RequestHeaderModifierSchema,
  RequestRedirectSchema,
} from "./gen/http_route_pb.ts";
import { Scheme_Registered } from "./gen/http_types_pb.ts";
import { httpMatchToWire } from "./http-match.ts";

/** A host name, or `*.` and the end of names. */
export function hostToWire(host: string): MessageInitShape<typeof HostMatchSchema> {
  if (!host.startsWith("*.")) return { match: { case: "exact", value: host } };
  const reverseLabels = host.slice(2).split(".").reverse();
  return { match: { case: "suffix", value: { reverseLabels } } };
}

/** Which calls. A match of any call says so by empty names. */
export function grpcMatchToWire(
  { service, method, headers }: GrpcMatch,
): MessageInitShape<typeof GrpcRouteMatchSchema> {
  return {
    rpc: { service, method },
    headers: httpMatchToWire({ kind: "all", of: headers }).headers,
  };
}

/** A filter of an HTTP route that both directions have; response headers are the outbound one's. */
export type WireHttpFilter =
  | {
    readonly case: "requestHeaderModifier";
    readonly value: MessageInitShape<typeof RequestHeaderModifierSchema>;
  }
  | { readonly case: "redirect"; readonly value: MessageInitShape<typeof RequestRedirectSchema> };

/** Null: it changes response headers. */
export function requestFilterToWire(filter: RouteFilter): WireHttpFilter | null {
  switch (filter.kind) {
    case "request-headers":
      return { case: "requestHeaderModifier", value: headersToWire(filter) };
    case "redirect":
      return { case: "redirect", value: redirectToWire(filter) };
    case "response-headers":
      return null;
  }
}

/** Fields of a header change. */
interface WireHeaders {
  headers: { name: string; value: Uint8Array }[];
}

/** Header changes of either direction. */
export function headersToWire({ set, add, remove }: HeaderAction): {
  readonly add: WireHeaders;
  readonly set: WireHeaders;
  readonly remove: string[];
} {
  const fields = (of: Readonly<Record<string, string>>) => ({
    headers: Object.entries(of).map(([name, value]) => ({
      name,
      value: Uint8Array.from(value, (c) => c.charCodeAt(0)),
    })),
  });
  return { add: fields(add), set: fields(set), remove: [...remove] };
}

function redirectToWire(
  { scheme, hostname, port, path, status }: RouteRedirect,
): MessageInitShape<typeof RequestRedirectSchema> {
  return {
    ...(scheme === "" ? {} : {
      scheme: {
        type: {
          case: "registered",
          value: scheme === "https" ? Scheme_Registered.HTTPS : Scheme_Registered.HTTP,
        },
      },
    }),
    host: hostname,
    ...(path === null ? {} : { path: { replace: { case: path.replace, value: path.by } } }),
    port,
    status,
  };
}
