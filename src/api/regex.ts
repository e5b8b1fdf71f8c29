// Regular expressions of routes. The wire's are RE2: linear, without look-around. JavaScript's
// backtrack, so that what could take long is refused here, with a reason, before it meets a request.

/** Longer expressions are refused. */
export const MAX_REGEX_LENGTH = 1024;
/** With two repeats that can overlap the cost is quadratic: such an expression matches no longer values. */
const MAX_QUADRATIC_VALUE = 2048;
/** Optional parts and short ranges, each of which may double the work. */
const MAX_CHOICES = 12;

/**
 * Compiles an expression that matches the whole value.
 *
 * A leading `(?i)` is understood. Raises an error with a reason for what RE2 and JavaScript read
 * differently, for what RE2 has not (look-around, back references), for repeats of groups that
 * themselves repeat or choose, and for more than two repeats that can overlap.
 */
export function compileRegex(source: string): RegExp {
  if (source.length > MAX_REGEX_LENGTH) {
    throw new Error(`is longer than ${MAX_REGEX_LENGTH} characters`);
  }
  const ignoreCase = source.startsWith("(?i)");
  const body = (ignoreCase ? source.slice(4) : source).replaceAll("(?P<", "(?<");
  const overlapping = inspect(body);
  const bound = overlapping < 2 ? "" : `(?=[^]{0,${MAX_QUADRATIC_VALUE}}$)`;
  try {
    return new RegExp(`^${bound}(?:${body})$`, ignoreCase ? "i" : "");
  } catch {
    throw new Error("is not a regular expression");
  }
}

/** The text between the anchors that `compileRegex` added: what goes back on the wire. */
export function regexSource(regex: RegExp): string {
  // `source` escapes the slashes; whoever wrote one did not.
  const plain = regex.source.replace(/\\(.)/gs, (pair, c) => c === "/" ? c : pair);
  const body = plain.replace(/^\^(?:\(\?=\[\^\]\{0,\d+\}\$\))?\(\?:(.*)\)\$$/s, "$1");
  return regex.ignoreCase ? `(?i)${body}` : body;
}

/** Walks the expression once; returns how many of its repeats can overlap with their surroundings. */
function inspect(body: string): number {
  // For each open group: does it, so far, repeat or choose?
  const groups: boolean[] = [false];
  const varies = () => groups[groups.length - 1] = true;
  let overlapping = 0;
  let choices = 0;
  let before: string | null = null;

  for (let at = 0; at < body.length;) {
    const from = at;
    let closedGroupVaries = false;
    const c = body[at] as string;
    if (c === "(") {
      at += openLength(body, at);
      groups.push(false);
      continue;
    }
    if (c === "|") {
      varies();
      before = null;
      at++;
      continue;
    }
    if (c === ")") {
      if (groups.length === 1) throw new Error("has a ) without a (");
      closedGroupVaries = groups.pop() as boolean;
      if (closedGroupVaries) varies();
      at++;
    } else if (c === "\\") at += escapeLength(body, at);
    else if (c === "[") at = classEnd(body, at) + 1;
    else at++;
    const atom = body.slice(from, at);

    const repeat = /^(?:[*+?]|\{(\d+)(,(\d*))?\})\??/.exec(body.slice(at, at + 32));
    if (repeat === null) {
      before = literal(body, from)?.char ?? null;
      continue;
    }
    at += repeat[0].length;
    const [min, max] = bounds(repeat);
    if (max > 1 && closedGroupVaries) {
      throw new Error("repeats a group that itself repeats or chooses: write it without nesting");
    }
    if (max > 1000 && max !== Infinity) throw new Error("repeats more than 1000 times");
    if (min !== max) varies();
    if (max - min > 1) {
      const apart = c !== ")" && isApart(atom, after(body, at)) &&
        (overlapping === 0 || isApart(atom, before));
      if (!apart) overlapping++;
    } else if (min !== max) {
      choices++;
    }
    before = null;
  }
  if (groups.length > 1) throw new Error("has a ( without a )");
  if (overlapping > 2) {
    throw new Error(
      "has more than two repeats that can overlap: separate them, as [^/]* does before a slash",
    );
  }
  if (choices > MAX_CHOICES) throw new Error(`has more than ${MAX_CHOICES} optional parts`);
  return overlapping;
}

/** Whether what `atom` repeats ends where `neighbour` is: the end of the value, or a foreign character. */
function isApart(atom: string, neighbour: string | null): boolean {
  return neighbour === "" || (neighbour !== null && !new RegExp(`^${atom}$`).test(neighbour));
}

/** The character after a repeat; empty at the end of the expression, null where it may be anything. */
function after(body: string, at: number): string | null {
  while (body[at] === ")") at++;
  if (at === body.length || (at === body.length - 1 && body[at] === "$")) return "";
  const next = literal(body, at);
  // A neighbour that may be absent separates nothing.
  return next === null || /[*?{]/.test(body[next.end] ?? "") ? null : next.char;
}

/** The literal character that begins at `at`, or null for anything else. */
function literal(body: string, at: number): { char: string; end: number } | null {
  const c = body[at] ?? "";
  if (c === "\\") {
    const escaped = body[at + 1] ?? "";
    return /[^a-zA-Z0-9]/.test(escaped) ? { char: escaped, end: at + 2 } : null;
  }
  return c === "" || "()[]{}|^$.*+?".includes(c) ? null : { char: c, end: at + 1 };
}

function bounds(repeat: RegExpExecArray): [min: number, max: number] {
  const [text, least, range, most] = repeat;
  if (text.startsWith("?")) return [0, 1];
  if (least === undefined) return [0, Infinity];
  if (range === undefined) return [Number(least), Number(least)];
  return [Number(least), most === "" ? Infinity : Number(most)];
}

/** Escapes that both dialects read alike. */
function escapeLength(body: string, at: number): number {
  const next = body[at + 1];
  if (next === undefined) throw new Error("ends with a backslash");
  if (/[1-9k]/.test(next)) throw new Error("has a back reference");
  if (/[a-zA-Z]/.test(next) && !/[dDwWsSbBnrtfvx]/.test(next)) {
    throw new Error(`has the escape \\${next}, which is not supported`);
  }
  return 2;
}

function openLength(body: string, at: number): number {
  if (body[at + 1] !== "?") return 1;
  const named = /^\(\?<[A-Za-z_]\w*>/.exec(body.slice(at, at + 64));
  if (named !== null) return named[0].length;
  if (body.startsWith("(?:", at)) return 3;
  throw new Error(
    "has a group that is neither plain, (?:…) nor named: look-around is not supported",
  );
}

function classEnd(body: string, open: number): number {
  let at = open + 1;
  if (body[at] === "^") at++;
  // In RE2 a ] in first place is a literal, in JavaScript it closes.
  if (body[at] === "]") throw new Error("has a class that begins with ]: write \\]");
  for (; at < body.length; at++) {
    if (body[at] === "\\") at += escapeLength(body, at) - 1;
    else if (body.startsWith("[:", at)) throw new Error("has a [:class:], which is not supported");
    else if (body[at] === "]") return at;
  }
  throw new Error("has a [ without a ]");
}
