// Figures as people read them. Never better than they are: a success rate is rounded down, so that
// 100 % means every request.

const NONE = "–";

/**
 * @param {number | null} share
 * @returns {string}
 */
export function percent(share) {
  if (share === null) return NONE;
  if (share === 1) return "100 %";
  const hundredths = Math.floor(share * 10_000 + 1e-6) / 100;
  return `${hundredths.toFixed(hundredths >= 99 ? 2 : 1)} %`;
}

/**
 * Per second.
 * @param {number} perSecond
 * @returns {string}
 */
export function rate(perSecond) {
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.1) return "<0.1/s";
  return `${perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`;
}

/**
 * @param {number | null} ms
 * @returns {string}
 */
export function duration(ms) {
  if (ms === null) return NONE;
  if (ms >= 10_000) return `${Math.round(ms / 1000)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/**
 * @param {number} ns
 * @returns {string}
 */
export function nanoseconds(ns) {
  if (ns <= 0) return NONE;
  if (ns < 1000) return `${Math.round(ns)} ns`;
  if (ns < 1_000_000) return `${(ns / 1000).toFixed(ns < 10_000 ? 1 : 0)} µs`;
  return duration(ns / 1_000_000);
}

/**
 * With separators, as digits stay readable.
 * @param {number} n
 * @returns {string}
 */
export function count(n) {
  return Math.round(n).toLocaleString("en-US");
}

/**
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(bytes < 10_240 ? 1 : 0)} KiB`;
}

/**
 * The beginning of a digest.
 * @param {string | null | undefined} sha256
 * @returns {string}
 */
export function short(sha256) {
  return sha256 ? sha256.slice(0, 8) : "none";
}

/**
 * A moment of today.
 * @param {number} at
 * @returns {string}
 */
export function clock(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

/**
 * How long until then: `23 h`, `4 min`.
 * @param {number} ms
 * @returns {string}
 */
export function remaining(ms) {
  if (ms <= 0) return "expired";
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 72 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

/**
 * `1 proxy`, `2 proxies`.
 * @param {number} n
 * @param {string} one
 * @param {string} [many]
 * @returns {string}
 */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/**
 * How a success rate is coloured; the figure stands beside it always.
 * @param {number | null} successRate
 * @returns {"idle" | "good" | "warn" | "bad"}
 */
export function health(successRate) {
  if (successRate === null) return "idle";
  if (successRate >= 0.999) return "good";
  return successRate >= 0.95 ? "warn" : "bad";
}
