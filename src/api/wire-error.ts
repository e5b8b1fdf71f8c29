// The one error for what the other side sent and we cannot use. Raised by the conversions of this
// folder; the reader logs it, counts it and keeps its last good state.

/** Wire content that cannot be converted. `field` is its path in the message, in the proto's names. */
export class WireError extends Error {
  readonly field: string;
  constructor(field: string, problem: string) {
    super(`${field}: ${problem}`);
    this.name = "WireError";
    this.field = field;
  }
}

/** Told of an element that was left out because it cannot be used, where the rest still counts. */
export type OnSkip = (why: WireError) => void;

/** The value, or a `WireError` that names the missing field. */
export function required<T>(value: T | null | undefined, field: string): T {
  if (value === null || value === undefined) throw new WireError(field, "is missing");
  return value;
}

/** Text for a message: one line, no longer than a log line should be. */
export function shown(text: string): string {
  const short = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return JSON.stringify(short);
}
