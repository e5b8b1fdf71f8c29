// What happened between two views: filters swapped, endpoints that came and went, new errors. Only the
// event stream speaks in differences; everything before it is whole values.

import type { AdminEvent, FilterView, ServiceView, Snapshot } from "../../api/admin.ts";

/** Events that tell how `before` became `after`, in a fixed order. */
export function changesBetween(before: Snapshot, after: Snapshot): AdminEvent[] {
  return [
    ...pairs(before.filters, after.filters, (f) => f.name)
      .flatMap(([old, now]) => filterChanges(old, now, after.at)),
    ...pairs(before.services, after.services, (s) => s.id)
      .flatMap(([old, now]) => endpointChanges(old, now, after.at)),
    ...newErrors(before, after),
  ];
}

function filterChanges(old: FilterView | null, now: FilterView | null, at: number): AdminEvent[] {
  if (now === null) return [];
  const events: AdminEvent[] = [];
  const swap = (proxy: string | null, from: string | null, to: string) =>
    events.push({ type: "swap", data: { at, filter: now.name, proxy, from, to } });
  const [from, to] = [old?.served?.sha256 ?? null, now.served?.sha256 ?? null];
  if (to !== null && to !== from) swap(null, from, to);
  for (const load of now.running.filter(({ current }) => current)) {
    const past = old?.running.filter((p) => p.current && p.proxy === load.proxy) ?? [];
    if (past.some(({ sha256 }) => sha256 === load.sha256)) continue;
    const last = past.at(-1);
    // A proxy that is new, and loads what it is told at its start, swapped nothing.
    if (last !== undefined) swap(load.proxy, last.sha256, load.sha256);
  }
  return events;
}

function endpointChanges(
  old: ServiceView | null,
  now: ServiceView | null,
  at: number,
): AdminEvent[] {
  const before = new Map(old?.endpoints.map((e) => [e.addr, e.ready]));
  const after = new Map(now?.endpoints.map((e) => [e.addr, e.ready]));
  const added = [...after.keys()].filter((addr) => !before.has(addr));
  const removed = [...before.keys()].filter((addr) => !after.has(addr));
  const turned = (to: boolean) =>
    [...after].filter(([addr, is]) => is === to && before.get(addr) === !to).map(([addr]) => addr);
  const [ready, notReady] = [turned(true), turned(false)];
  const service = now?.id ?? old?.id ?? "";
  return added.length + removed.length + ready.length + notReady.length === 0
    ? []
    : [{ type: "endpoints", data: { at, service, added, removed, ready, notReady } }];
}

function newErrors(before: Snapshot, after: Snapshot): AdminEvent[] {
  const known = new Set(errors(before).map(([source, message]) => `${source}\n${message}`));
  return errors(after)
    .filter(([source, message]) => !known.has(`${source}\n${message}`))
    .map(([source, message]) => ({ type: "failure", data: { at: after.at, source, message } }));
}

function errors(view: Snapshot): (readonly [source: string, message: string])[] {
  return [
    ...view.problems.map((p) => [p.source, p.message] as const),
    ...view.proxies.filter((p) => p.state === "away")
      .map((p) => [`proxy ${p.id}`, p.why] as const),
    // A control plane may name it as a problem too: then it is told once.
    ...view.filters.filter((f) =>
      f.state === "refused" && !view.problems.some(({ message }) => message === f.reason)
    )
      .map((f) => [`filter ${f.name}`, f.reason] as const),
    ...view.filters.flatMap((f) =>
      f.running.filter((r) => r.current && r.lastError !== "")
        .map((r) => [`filter ${f.name} in ${r.proxy}`, r.lastError] as const)
    ),
  ];
}

function pairs<T>(
  before: readonly T[],
  after: readonly T[],
  key: (item: T) => string,
): (readonly [old: T | null, now: T | null])[] {
  const old = new Map(before.map((item) => [key(item), item]));
  const now = new Map(after.map((item) => [key(item), item]));
  return [...new Set([...now.keys(), ...old.keys()])]
    .map((k) => [old.get(k) ?? null, now.get(k) ?? null]);
}
