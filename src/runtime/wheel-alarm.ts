// Turns a timer wheel with the runtime's timers: it sleeps until the wheel's next slot that holds
// something, so that an idle process is not woken.

import type { TimerWheel } from "../core/timers.ts";

/**
 * Turns `wheel` when it has something due, inside `run`, which hands in the time. Returns what stops
 * it.
 */
export function turnWheel(
  wheel: TimerWheel,
  run: (turn: (now: number) => void) => void,
): () => void {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const plan = (at: number) => {
    if (at >= wheel.planned) return;
    wheel.planned = at;
    if (timer !== null) clearTimeout(timer);
    timer = setTimeout(wake, Math.max(1, at - performance.now()));
  };
  const wake = () => {
    timer = null;
    wheel.planned = Infinity;
    run((now) => wheel.turn(now));
    const next = wheel.nextAt();
    if (next !== Infinity) plan(next);
  };
  wheel.onEarlier = plan;
  return () => {
    wheel.onEarlier = null;
    if (timer !== null) clearTimeout(timer);
  };
}
