// A Kubernetes object as a source hands it over: identified, not yet understood. `cluster.ts` turns it
// into a row of its kind.

import { Field } from "./field.ts";

/** An object with its identity read. */
export interface Resource {
  /** Without the version: `policy.linkerd.io`; empty for the core group. */
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch; Infinity when it is not said, so that it sorts last. */
  readonly createdMs: number;
  /** The whole object, to be read by field. */
  readonly body: Field;
  /** The folder that relative paths in the object mean; empty: there is none. */
  readonly folder: string;
}

/** `shop/web`: unique within a kind. */
export type Key = string;

export function keyOf(of: { readonly namespace: string; readonly name: string }): Key {
  return `${of.namespace}/${of.name}`;
}

/** Reads identity and metadata. Raises a `FieldError`. */
export function readResource(value: unknown, folder: string): Resource {
  const body = new Field(value, []);
  const apiVersion = body.at("apiVersion").string();
  const kind = body.at("kind").string();
  const metadata = body.at("metadata");
  const name = metadata.at("name");
  const created = metadata.at("creationTimestamp");
  const createdMs = created.isAbsent ? Infinity : Date.parse(created.string());
  if (Number.isNaN(createdMs)) created.fail("is not a time");
  return {
    group: apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "",
    kind,
    namespace: kind === "Namespace" ? "" : objectName(metadata.at("namespace"), "default"),
    name: objectName(name, null),
    labels: metadata.at("labels").strings(),
    annotations: metadata.at("annotations").strings(),
    createdMs,
    body,
    folder,
  };
}

function objectName(field: Field, absent: string | null): string {
  const name = absent === null ? field.string() : field.stringOr(absent);
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(name)) {
    field.fail(
      `is ${JSON.stringify(name.slice(0, 60))}, not a name (lower-case letters, digits, - and .)`,
    );
  }
  return name;
}

/** Oldest first, then by name: who wins where only one can. */
export function byAge<T extends { readonly createdMs: number; readonly name: string }>(
  a: T,
  b: T,
): number {
  if (a.createdMs !== b.createdMs) return a.createdMs < b.createdMs ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
