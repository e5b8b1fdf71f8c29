// Where something came from ↔ meta.proto. A built-in default has kind `default` and only a name.

import { create } from "@bufbuild/protobuf";
import type { Origin } from "../model/profile.ts";
import { type Metadata, MetadataSchema } from "./gen/meta_pb.ts";
import { required, WireError } from "./wire-error.ts";

/** The origin of a built-in default, such as `all-unauthenticated`. */
export function defaultOrigin(name: string): Origin {
  return { group: "", kind: "default", namespace: "", name, port: 0 };
}

export function originToWire(origin: Origin): Metadata {
  if (origin.kind === "default") {
    return create(MetadataSchema, { kind: { case: "default", value: origin.name } });
  }
  const { group, kind, namespace, name, port, section = "" } = origin;
  return create(MetadataSchema, {
    kind: { case: "resource", value: { group, kind, namespace, name, port, section } },
  });
}

export function originFromWire(wire: Metadata | undefined, field: string): Origin {
  const { kind } = required(wire, field);
  if (kind.case === "default") return defaultOrigin(kind.value);
  if (kind.case === undefined) throw new WireError(field, "names neither a default nor a resource");
  const { group, kind: resourceKind, namespace, name, port, section } = kind.value;
  const origin = { group, kind: resourceKind, namespace, name, port };
  return section === "" ? origin : { ...origin, section };
}
