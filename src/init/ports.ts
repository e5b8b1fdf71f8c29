// Ports and ranges as Linkerd's proxy-init takes them, and how they fit into multiport matches.
// Pure; what is wrong in a list is said, not guessed.

/** Inclusive; one port has both ends equal. */
export interface PortRange {
  readonly lo: number;
  readonly hi: number;
}

/** The multiport match holds this many references; a range counts twice (xt_multiport). */
const MAX_REFERENCES = 15;

/**
 * Reads `80`, `8000-8010`. Returns null for anything else: a port is 0 to 65535, and a range begins
 * with its lower end.
 */
export function parsePortRange(text: string): PortRange | null {
  const m = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (m === null) return null;
  const lo = Number(m[1]);
  const hi = m[2] === undefined ? lo : Number(m[2]);
  return lo <= hi && hi <= 65535 ? { lo, hi } : null;
}

/**
 * Reads a list of ports and ranges. As in proxy-init, an element that is not one is left out and told
 * to `wrong`; the others stay.
 */
export function parsePortRanges(
  texts: readonly string[],
  wrong: (element: string) => void,
): PortRange[] {
  const ranges: PortRange[] = [];
  for (const text of texts) {
    const range = parsePortRange(text.trim());
    if (range === null) wrong(text);
    else ranges.push(range);
  }
  return ranges;
}

/** The lists of multiport matches that hold all ranges, in order: `80,443`, `8000:8010`. */
export function multiportLists(ranges: readonly PortRange[]): string[] {
  const lists: string[] = [];
  let list: string[] = [];
  let used = 0;
  for (const { lo, hi } of ranges) {
    const references = lo === hi ? 1 : 2;
    if (used + references > MAX_REFERENCES) {
      lists.push(list.join(","));
      list = [];
      used = 0;
    }
    list.push(lo === hi ? String(lo) : `${lo}:${hi}`);
    used += references;
  }
  if (list.length > 0) lists.push(list.join(","));
  return lists;
}
