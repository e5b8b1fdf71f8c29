// Logging: one line an event, plain or JSON, with fields instead of sentences built for nothing.

/** From most to least talkative. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "off"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Values that may be logged. Never a header value, a token or a key. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

/** From which level on lines are written; shared by a logger and all that were made from it. */
export interface LogThreshold {
  level: LogLevel;
}

/** Says things. `with` adds a name in front, such as `outbound`. */
export interface Logger {
  readonly level: LogLevel;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  with(name: string): Logger;
}

/** Writes lines to `write`, at `level` and above; a threshold may change while the logger is used. */
export function createLogger(options: {
  level: LogLevel | LogThreshold;
  format: "plain" | "json";
  wall: () => number;
  write: (line: string) => void;
  name?: string;
}): Logger {
  const { format, wall, write, name = "" } = options;
  const threshold = typeof options.level === "string" ? { level: options.level } : options.level;
  const say = (at: LogLevel) => (message: string, fields?: LogFields) => {
    if (LOG_LEVELS.indexOf(at) < LOG_LEVELS.indexOf(threshold.level)) return;
    const time = new Date(wall()).toISOString();
    if (format === "json") {
      write(JSON.stringify({ time, level: at, name, message, ...fields }));
      return;
    }
    const tail = Object.entries(fields ?? {}).map(([k, v]) => ` ${k}=${quote(v)}`).join("");
    write(
      `${time} ${at.toUpperCase().padEnd(5)} ${name === "" ? "" : name + ": "}${
        oneLine(message)
      }${tail}`,
    );
  };
  return {
    get level() {
      return threshold.level;
    },
    debug: say("debug"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    with: (more) => createLogger({ ...options, name: name === "" ? more : `${name}/${more}` }),
  };
}

/** Says nothing. For tests. */
export const SILENT: Logger = createLogger({
  level: "off",
  format: "plain",
  wall: () => 0,
  write: () => {},
});

function oneLine(text: string): string {
  return text.replace(
    // deno-lint-ignore no-control-regex -- what a peer sent must not forge a log line
    /[\x00-\x1f\x7f]/g,
    (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
  );
}

function quote(value: string | number | boolean | null): string {
  const text = oneLine(String(value));
  return /[\s"=]/.test(text) || text === "" ? JSON.stringify(text) : text;
}
