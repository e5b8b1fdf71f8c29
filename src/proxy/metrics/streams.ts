// What the registry families of both directions have in common: cells by status and error, and
// histograms of times and of frames. Made at target rate; a request adds to cells that are known.

import type { Family, Labels, Sheet } from "../../core/sheet.ts";

/** Linkerd's buckets, in seconds and bytes. */
export const FEW_SECONDS = [0.05, 0.5, 1, 10];
export const MORE_SECONDS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 10];
export const FRAME_BYTES = [128, 1024, 10240];

/** A label for each code of gRPC, in its order; what is none of them is `UNKNOWN`. */
export const GRPC_CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** The code that a peer's number is. */
export function grpcCode(status: number): number {
  return status >= 0 && status < GRPC_CODES.length ? status : 2;
}

/** Makes a family of both kinds of requests: `<direction>_<http|grpc>_<name>`. */
export function streamFamily(
  sheet: Sheet,
  direction: "inbound" | "outbound",
  isGrpc: boolean,
  name: string,
  type: Family["type"],
  help: string,
  bounds: readonly number[] = [],
): Family {
  return sheet.family(`${direction}_${isGrpc ? "grpc" : "http"}_${name}`, type, help, bounds);
}

/** Cells of one family by a small number; -1 until there is one. */
export class CellsBy {
  readonly #cells: Int32Array;
  readonly #make: (key: number) => number;

  constructor(size: number, make: (key: number) => number) {
    this.#cells = new Int32Array(size).fill(-1);
    this.#make = make;
  }

  at(key: number): number {
    let cell = this.#cells[key] as number;
    if (cell < 0) {
      cell = this.#make(key);
      this.#cells[key] = cell;
    }
    return cell;
  }

  /** What they point at is gone. */
  forget(): void {
    this.#cells.fill(-1);
  }
}

/** Labels of how a stream of a route or backend ended. */
export function outcomeLabels(isGrpc: boolean, status: number, error: string): Labels {
  return isGrpc
    ? { grpc_status: GRPC_CODES[status] ?? "UNKNOWN", error }
    : { http_status: status === 0 ? "" : String(status), error };
}
