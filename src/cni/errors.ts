// What a CNI plugin says when it cannot go on: codes of the specification and our own, and how they are
// written. One line each; no token or key is ever in one.

/** Codes of the CNI specification (section 5, Error), and ours from 100 on. */
export const CODES = {
  /** The configuration's version is not spoken here. */
  version: 1,
  /** A variable of the environment is missing or cannot be used. */
  environment: 4,
  /** Standard input, or a file, cannot be read. */
  io: 5,
  /** Standard input is not JSON. */
  decode: 6,
  /** The network configuration cannot be used. */
  config: 7,
  /** What is missing may come: the runtime asks again. */
  tryAgain: 11,
  /** STATUS: an ADD would fail now. */
  notAvailable: 50,
  /** The rules could not be written. */
  rules: 100,
  /** CHECK: the rules are not what they should be. */
  changed: 101,
  /** The pod, or an annotation of it, cannot be used. */
  pod: 102,
} as const;

/** A failure as the runtime reads it. `message` is the CNI error's `msg`. */
export class CniError extends Error {
  readonly code: number;
  readonly details: string;

  constructor(code: number, message: string, details = "") {
    super(message);
    this.name = "CniError";
    this.code = code;
    this.details = details;
  }
}

/** The error object of the specification, as one line of JSON. */
export function errorJson(e: CniError, cniVersion: string): string {
  return JSON.stringify({
    cniVersion,
    code: e.code,
    msg: e.message,
    ...(e.details === "" ? {} : { details: e.details }),
  }) + "\n";
}
