// Our text of the API: the registry of everything that `src/api/gen` declares, and what of a registry is
// Linkerd's.

import { createRegistry, type DescMessage, type Registry } from "@bufbuild/protobuf";
import { file_destination } from "../../../src/api/gen/destination_pb.ts";
import { file_grpc_route } from "../../../src/api/gen/grpc_route_pb.ts";
import { file_http_route } from "../../../src/api/gen/http_route_pb.ts";
import { file_http_types } from "../../../src/api/gen/http_types_pb.ts";
import { file_identity } from "../../../src/api/gen/identity_pb.ts";
import { file_inbound } from "../../../src/api/gen/inbound_pb.ts";
import { file_meta } from "../../../src/api/gen/meta_pb.ts";
import { file_net } from "../../../src/api/gen/net_pb.ts";
import { file_opaque_route } from "../../../src/api/gen/opaque_route_pb.ts";
import { file_outbound } from "../../../src/api/gen/outbound_pb.ts";
import { file_tap } from "../../../src/api/gen/tap_pb.ts";
import { file_tls_route } from "../../../src/api/gen/tls_route_pb.ts";

const PACKAGE = "io.linkerd.proxy.";

/** Our descriptors. The transport header is not among them: the crate does not have it. */
export const OUR_API: Registry = createRegistry(
  ...[file_destination, file_grpc_route, file_http_route, file_http_types, file_identity],
  ...[file_inbound, file_meta, file_net, file_opaque_route, file_outbound, file_tap],
  file_tls_route,
);

/** Linkerd's messages of a registry, by their names' order; entries of maps are not messages of their own. */
export function messagesOf(api: Registry): DescMessage[] {
  return [...api]
    .filter((type): type is DescMessage => type.kind === "message")
    .filter((m) => m.typeName.startsWith(PACKAGE) && m.proto.options?.mapEntry !== true)
    .sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
}

/**
 * Everything of Linkerd's packages that decides about bytes and calls, a line each: fields with number,
 * type and oneof, values of enums, methods. What is ours (field 2048) is left out.
 */
export function linesOf(api: Registry, ours: number): Set<string> {
  const lines = new Set<string>();
  for (const type of api) {
    if (!type.typeName.startsWith(PACKAGE)) continue;
    if (type.kind === "enum") {
      for (const v of type.values) lines.add(`${type.typeName}: ${v.name} = ${v.number}`);
    } else if (type.kind === "service") {
      for (const m of type.methods) {
        lines.add(
          `${m.input.typeName} ${type.typeName}/${m.name} ${m.output.typeName} ${m.methodKind}`,
        );
      }
    } else if (type.kind === "message") {
      lines.add(type.typeName);
      for (const { proto: p, oneof } of type.fields) {
        if (p.number === ours) continue;
        const parts = [p.name, p.number, p.type, p.label, p.typeName, oneof?.name ?? "no oneof"];
        lines.add(`${type.typeName}: ${parts.join(" ")} ${p.options?.packed ?? ""}`);
      }
    }
  }
  return lines;
}
