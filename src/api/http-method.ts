// HTTP methods ↔ http_types.proto.

import { create } from "@bufbuild/protobuf";
import { type HttpMethod, HttpMethod_Registered, HttpMethodSchema } from "./gen/http_types_pb.ts";
import { required, shown, WireError } from "./wire-error.ts";

const NAMES = Object.entries(HttpMethod_Registered) as [string, HttpMethod_Registered][];

export function methodToWire(method: string): HttpMethod {
  const known = NAMES.find(([name]) => name === method);
  return create(HttpMethodSchema, {
    type: known === undefined
      ? { case: "unregistered", value: method }
      : { case: "registered", value: known[1] },
  });
}

export function methodFromWire(wire: HttpMethod | undefined, field: string): string {
  const { type } = required(wire, field);
  if (type.case === "unregistered") {
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/.test(type.value)) {
      throw new WireError(field, `${shown(type.value)} is not a method`);
    }
    return type.value;
  }
  const name = NAMES.find(([, value]) => value === type.value)?.[0];
  return required(type.case === "registered" ? name : undefined, field);
}
