// How many threads serve: Linkerd's variables for the worker threads of its proxy, and what they mean on
// a machine with so many CPUs.

import { parseCount } from "./grammar.ts";
import type { EnvReader } from "./reader.ts";

/** As configured; nothing configured is one thread. */
export interface CoresConfig {
  readonly min: number;
  /** Null: not set. */
  readonly max: number | null;
  /** A share of the machine's CPUs, counted where there is no `max`; null: not set. */
  readonly maxRatio: number | null;
}

/** More than any machine has; a typing mistake. */
const MAX_CORES = 1024;

/** `LINKERD2_PROXY_CORES` and its kin. */
export function coresConfig(read: EnvReader): CoresConfig {
  const cores = read.get("LINKERD2_PROXY_CORES", parseCores, 1);
  return {
    min: read.get("LINKERD2_PROXY_CORES_MIN", parseCores, cores),
    max: read.get<number | null>("LINKERD2_PROXY_CORES_MAX", parseCores, null),
    maxRatio: read.get<number | null>("LINKERD2_PROXY_CORES_MAX_RATIO", parseRatio, null),
  };
}

/** Threads that serve on a machine with `available` CPUs: never more than those, at least one. */
export function workerCount(cores: CoresConfig, available: number): number {
  const { min, max, maxRatio } = cores;
  const most = max ?? (maxRatio === null ? 1 : Math.round(available * maxRatio));
  return Math.max(1, Math.min(available, Math.max(min, most)));
}

function parseCores(text: string): number {
  const cores = parseCount(text);
  if (cores >= 1 && cores <= MAX_CORES) return cores;
  throw new Error(`is ${text}: must be from 1 to ${MAX_CORES}`);
}

function parseRatio(text: string): number {
  const ratio = /^(0|1)?(\.[0-9]{1,6})?$/.test(text) ? Number(text) : NaN;
  if (ratio > 0 && ratio <= 1) return ratio;
  throw new Error(`is ${JSON.stringify(text)}: must be a share above 0 and at most 1, such as 0.5`);
}
