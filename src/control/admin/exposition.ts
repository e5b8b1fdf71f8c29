// Reads the Prometheus text format of a proxy's `/metrics`. Strict in the families that are asked for,
// blind to the others, bounded in every direction: a proxy is not trusted with our memory.

/** How much of a document is read before it is refused. */
export interface ExpositionLimits {
  readonly maxSeries: number;
  readonly maxLineChars: number;
}

const DEFAULT_LIMITS: ExpositionLimits = { maxSeries: 50_000, maxLineChars: 8 * 1024 };

/** A series: its name and labels. */
export interface SeriesName {
  readonly family: string;
  readonly labels: ReadonlyMap<string, string>;
}

/**
 * Calls `sample` for each sample whose family `wanted` has, with the text of the series (name and
 * labels as they are written, the same at each scrape) and its value.
 *
 * Throws on the first malformed line of such a family, with its number. Time stamps and what follows
 * a value are ignored; comments and empty lines too.
 */
export function readExposition(
  text: string,
  wanted: ReadonlySet<string>,
  sample: (series: string, value: number) => void,
  limits: ExpositionLimits = DEFAULT_LIMITS,
): void {
  let count = 0;
  let number = 0;
  for (let from = 0; from < text.length;) {
    let to = text.indexOf("\n", from);
    if (to === -1) to = text.length;
    number++;
    const first = text.charCodeAt(from);
    if (to > from && first !== HASH) {
      if (to - from > limits.maxLineChars) {
        throw new Error(`line ${number} is longer than ${limits.maxLineChars} characters`);
      }
      const line = text.slice(from, text.charCodeAt(to - 1) === CR ? to - 1 : to);
      if (wanted.has(familyOf(line))) {
        if (++count > limits.maxSeries) throw new Error(`more than ${limits.maxSeries} series`);
        const end = endOfSeries(line);
        const value = readValue(line, end);
        if (value === null) throw new Error(`line ${number} has no value that is a number`);
        sample(line.slice(0, end), value);
      }
    }
    from = to + 1;
  }
}

/** Reads the text of a series into name and labels; null when it is malformed. */
export function readSeries(series: string): SeriesName | null {
  const family = familyOf(series);
  const labels = new Map<string, string>();
  let at = family.length;
  if (family === "") return null;
  if (at === series.length) return { family, labels };
  if (series[at++] !== "{") return null;
  while (series[at] !== "}") {
    LABEL.lastIndex = at;
    const m = LABEL.exec(series);
    const name = m?.[1];
    if (m === null || name === undefined || labels.has(name)) return null;
    labels.set(name, unescape(m[2] ?? ""));
    at = LABEL.lastIndex;
    if (m[3] === "}") {
      at--;
      break;
    }
  }
  return at === series.length - 1 ? { family, labels } : null;
}

const HASH = 0x23;
const CR = 0x0d;
const NAME = /[a-zA-Z_:][a-zA-Z0-9_:]*/y;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|\})/y;
const NUMBER = /^[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|Inf|NaN)$/;

function familyOf(line: string): string {
  NAME.lastIndex = 0;
  return NAME.exec(line)?.[0] ?? "";
}

/** Label values may hold `}` and spaces; what follows the labels may not. */
function endOfSeries(line: string): number {
  const brace = line.lastIndexOf("}");
  if (brace !== -1) return brace + 1;
  const space = line.indexOf(" ");
  return space === -1 ? line.length : space;
}

function readValue(line: string, from: number): number | null {
  const word = line.slice(from).trim().split(/\s+/, 1)[0] ?? "";
  if (!NUMBER.test(word)) return null;
  if (word.endsWith("Inf")) return word.startsWith("-") ? -Infinity : Infinity;
  return Number(word);
}

function unescape(value: string): string {
  return value.includes("\\")
    ? value.replace(/\\(["\\n])/g, (_, c: string) => (c === "n" ? "\n" : c))
    : value;
}
