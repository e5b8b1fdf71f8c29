// Words for the schemas of custom resources (OpenAPI v3, structural), so that `crds.ts` reads as a list
// of fields.

import type { Manifest } from "../control/injector/containers.ts";

export const text: Manifest = { type: "string" };
export const bool: Manifest = { type: "boolean" };
export const int32: Manifest = { type: "integer", format: "int32" };
export const float: Manifest = { type: "number" };
export const portNumber: Manifest = { type: "integer", minimum: 1, maximum: 65535 };
/** A port by number or name. */
export const portOrName: Manifest = { "x-kubernetes-int-or-string": true };
/** Anything; kept as it is. */
export const anything: Manifest = {
  type: "object",
  "x-kubernetes-preserve-unknown-fields": true,
};

/** One of the words. */
export function words(...of: readonly string[]): Manifest {
  return { type: "string", enum: of };
}

/** A field that has a value when it is not given. */
export function or(schema: Manifest, value: unknown): Manifest {
  return { ...schema, default: value };
}

/** A list, with bounds where there are any. */
export function list(items: Manifest, bounds: { min?: number; max?: number } = {}): Manifest {
  return {
    type: "array",
    items,
    ...(bounds.min === undefined ? {} : { minItems: bounds.min }),
    ...(bounds.max === undefined ? {} : { maxItems: bounds.max }),
  };
}

/** An object; a name that ends in `*` is required. */
export function object(fields: Readonly<Record<string, Manifest>>): Manifest {
  const required = Object.keys(fields).filter((name) => name.endsWith("*"))
    .map((name) => name.slice(0, -1));
  return {
    type: "object",
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(
      Object.entries(fields).map(([name, schema]) => [name.replace(/\*$/, ""), schema]),
    ),
  };
}

/** Text by text. */
export function map(values: Manifest): Manifest {
  return { type: "object", additionalProperties: values };
}

/** Kubernetes' label selector. */
export const selector: Manifest = object({
  matchLabels: map(text),
  matchExpressions: list(object({
    "key*": text,
    "operator*": words("In", "NotIn", "Exists", "DoesNotExist"),
    values: list(text),
  })),
});

/** A network with exceptions. */
export const network: Manifest = object({ "cidr*": text, except: list(text) });

/** A reference to an object of the same namespace, or of another where it has one. */
export const reference: Manifest = object({
  group: text,
  "kind*": text,
  "name*": text,
  namespace: text,
});

/** Kubernetes' conditions, and what they are about. */
export const condition: Manifest = object({
  "type*": text,
  "status*": words("True", "False", "Unknown"),
  reason: text,
  message: text,
  lastTransitionTime: { type: "string", format: "date-time" },
  lastProbeTime: { type: "string", format: "date-time" },
  observedGeneration: { type: "integer", format: "int64" },
});
