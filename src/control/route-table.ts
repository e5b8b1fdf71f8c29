// Tables of routes: rows found by what they are attached to, and changes told in the namespaces of those
// parents too, since a route may stand in its clients' namespace and not in its Service's.

import type { RouteRow } from "./kinds/route-row.ts";
import type { ParentRef } from "./kinds/route-refs.ts";
import type { Key, Resource } from "./resource.ts";
import { Table } from "./table.ts";

/** The group of the routes of a parent. */
export function parentGroup({ kind, namespace, name }: Omit<ParentRef, "port">): string {
  return `parent ${kind} ${namespace}/${name}`;
}

/** `touch` is told each namespace in which a route was, or is, of account. */
export function routeTable<Match>(
  toRow: (resource: Resource) => RouteRow<Match> | null,
  touch: (namespace: string) => void,
): Table<Resource, RouteRow<Match>> {
  const told = new Map<Key, readonly string[]>();
  const table: Table<Resource, RouteRow<Match>> = new Table(
    toRow,
    (keys) => {
      for (const key of keys) {
        const row = table.get(key);
        const now = [
          key.slice(0, key.indexOf("/")),
          ...(row?.parents ?? []).map((p) => p.namespace),
        ];
        const namespaces = new Set([...told.get(key) ?? [], ...now]);
        if (row === null) told.delete(key);
        else told.set(key, now);
        for (const namespace of namespaces) touch(namespace);
      }
    },
    (row) => [...new Set(row.parents.map(parentGroup))],
  );
  return table;
}
