// Why a filter stopped, in one line with a name that people can act on.

/** Raised by a host function when a filter does what it may not; ends the filter's call. */
export class HostTrap extends Error {
  constructor(message: string) {
    super(message);
    this.name = "HostTrap";
  }
}

/** Raised by `config_refuse` and turned into a `FilterRefused` by whoever started the instance. */
export class ConfigRefusal extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ConfigRefusal";
  }
}

/** What ended a call. */
export interface Trap {
  readonly reason: string;
  readonly isFuel: boolean;
}

/** Reads what was thrown out of a hook. `fuelLeft` is the fuel global's value afterwards. */
export function trapOf(thrown: unknown, hook: string, fuelLeft: number, budget: number): Trap {
  if (fuelLeft < 0) {
    return {
      reason: `${hook} used more than ${budget} instructions (out of fuel)${where(thrown)}`,
      isFuel: true,
    };
  }
  if (thrown instanceof RangeError && /call stack/i.test(thrown.message)) {
    return { reason: `${hook} recursed without end (the stack is exhausted)`, isFuel: false };
  }
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { reason: `${hook} trapped: ${printable(message)}${where(thrown)}`, isFuel: false };
}

/** One short line of ASCII: it ends in logs and in a header, and the filter may have written it. */
export function printable(text: string): string {
  return text.slice(0, 300).replace(/[^\x20-\x7e]+/g, " ");
}

/** The innermost function of the module on the stack, by the name section. */
function where(thrown: unknown): string {
  if (!(thrown instanceof Error) || thrown.stack === undefined) return "";
  const m = /at (\S+) \(wasm:\/\/[^)]*:wasm-function\[\d+\]:0x([0-9a-f]+)\)/.exec(thrown.stack);
  if (m === null) return "";
  return `, in ${printable(m[1] ?? "")} (byte 0x${m[2]} of the rewritten module)`;
}
