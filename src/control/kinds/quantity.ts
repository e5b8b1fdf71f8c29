// Durations as Go writes them, and quantities as Kubernetes does.

import { MAX_DURATION_MS } from "../../api/duration.ts";
import type { Field } from "../field.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** `1m30s`, `500ms`: milliseconds. */
export function readDurationMs(field: Field): number {
  const text = field.string();
  if (text === "0") return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  const whole = parts.map((p) => p[0]).join("");
  if (parts.length === 0 || whole !== text || text.length > 64) {
    return field.fail(
      `is ${JSON.stringify(text.slice(0, 40))}, not a duration: write 500ms or 1m30s`,
    );
  }
  const ms = parts.reduce((ms, [, n, unit]) => ms + Number(n) * (UNIT_MS[unit ?? ""] ?? 0), 0);
  return ms <= MAX_DURATION_MS ? ms : field.fail(`is ${text}, which is longer than ten years`);
}

/** A quantity of at most a million: `1`, `500m`, `2k`. */
export function readQuantity(field: Field): number {
  const text = typeof field.value === "number" ? String(field.value) : field.string();
  const m = /^(\d{1,12}(?:\.\d{1,9})?)(m|k|M|)$/.exec(text);
  const factor = { m: 0.001, k: 1000, M: 1e6, "": 1 }[m?.[2] ?? ""] ?? 1;
  const n = m === null ? NaN : Number(m[1]) * factor;
  return n <= 1e6 ? n : field.fail(`is ${JSON.stringify(text.slice(0, 40))}, not a quantity`);
}
