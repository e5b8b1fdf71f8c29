// Lists of ports as annotations and options write them: `25,587,3306-3310`, or names of container ports.

/** Ports of a list. */
export interface PortSet {
  readonly ranges: readonly (readonly [from: number, to: number])[];
  readonly names: readonly string[];
}

/** Linkerd's default list: protocols in which the server speaks first, or which are encrypted. */
export const DEFAULT_OPAQUE_PORTS: PortSet = parsePorts(
  "25,587,3306,4444,5432,6379,9300,11211",
);

/** Elements that are neither ports, ranges nor names are ignored, as in Linkerd. */
export function parsePorts(text: string): PortSet {
  const ranges: [number, number][] = [];
  const names: string[] = [];
  for (const part of text.split(",").map((p) => p.trim()).slice(0, 1024)) {
    const m = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    if (m !== null) {
      const from = Number(m[1]);
      const to = m[2] === undefined ? from : Number(m[2]);
      if (from >= 1 && from <= to && to <= 65535) ranges.push([from, to]);
    } else if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/i.test(part)) {
      names.push(part);
    }
  }
  return { ranges, names };
}

/** `names` are those of container ports, to be looked up. */
export function hasPort(
  set: PortSet,
  port: number,
  names: Readonly<Record<string, number>> = {},
): boolean {
  return set.ranges.some(([from, to]) => port >= from && port <= to) ||
    set.names.some((name) => names[name] === port);
}
