// The log filter of LINKERD2_PROXY_LOG and of `PUT /proxy-log-level`: a comma list of directives as in
// Linkerd. This proxy has one level; it is what the filter says of Linkerd's own target.

import { LOG_LEVELS, type LogLevel } from "../../core/log.ts";

/** Targets whose level is ours, the most specific first. */
const OWN_TARGETS = ["tulle", "linkerd"];

/**
 * The level that a filter such as `warn,linkerd=info,hickory=error` means here.
 *
 * A directive is `LEVEL`, `TARGET=LEVEL`, `TARGET` (everything of it), or one with a span or field
 * condition in brackets, which is understood and left aside. Throws a sentence for anything else.
 */
export function parseLogFilter(filter: string): LogLevel {
  let general: LogLevel = "warn";
  const own = new Map<string, LogLevel>();
  for (const directive of split(filter)) {
    const m = /^([\w:.-]*)(\[[^\]]*\])?(?:=(\w+))?$/.exec(directive);
    if (m === null) throw new Error(`holds ${JSON.stringify(directive)}, which is no directive`);
    const [, target = "", span, level] = m;
    if (span !== undefined) {
      levelOf(level ?? "trace");
    } else if (level === undefined && isLevel(target)) {
      general = levelOf(target);
    } else {
      own.set(target, levelOf(level ?? "trace"));
    }
  }
  return OWN_TARGETS.map((t) => own.get(t)).find((l) => l !== undefined) ?? general;
}

/** At commas outside brackets. */
function split(filter: string): readonly string[] {
  return filter.split(/,(?![^[]*\])/).map((d) => d.trim()).filter((d) => d !== "");
}

function isLevel(word: string): boolean {
  return (LOG_LEVELS as readonly string[]).includes(word.toLowerCase());
}

function levelOf(word: string): LogLevel {
  const level = LOG_LEVELS.find((l) => l === word.toLowerCase());
  if (level === undefined) {
    throw new Error(
      `holds the level ${JSON.stringify(word)}: write one of ${LOG_LEVELS.join(", ")}`,
    );
  }
  return level;
}
