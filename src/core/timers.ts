// A hashed timer wheel: arming and cancelling cost a few stores, since most time-outs never fire.
// The driver owns one and turns it; entries live inside the objects that they belong to.

const SLOTS = 512;
const TICK_MS = 16;

/** A timer that lives in its owner. `at` is Infinity while it is not armed. */
export interface Timer {
  at: number;
  /** The wheel's own: the slot and place where it is linked. */
  slot: number;
  prev: Timer | null;
  next: Timer | null;
  /** Called once, in the wheel's turn, at or after `at`. */
  fire(): void;
}

/** Makes a timer that is not armed. */
export function createTimer(fire: () => void): Timer {
  return { at: Infinity, slot: -1, prev: null, next: null, fire };
}

/** 512 slots of 16 ms: a timer fires up to one tick late, never early. */
export class TimerWheel {
  readonly #heads: (Timer | null)[] = new Array(SLOTS).fill(null);
  #tick: number;
  #armed = 0;
  /** Called when a timer is linked that is due before `at`, so that the owner wakes in time. */
  onEarlier: ((at: number) => void) | null = null;
  /** The owner's next planned turn. */
  planned = Infinity;

  constructor(now: number) {
    this.#tick = Math.floor(now / TICK_MS);
  }

  /** Linked timers, those cancelled lazily included. */
  get armed(): number {
    return this.#armed;
  }

  /** Arms or moves. A later `at` for a linked timer is only stored: it is looked at when its slot comes. */
  arm(timer: Timer, at: number): void {
    const due = Math.max(this.#tick + 1, Math.ceil(at / TICK_MS));
    if (timer.slot >= 0) {
      if (at >= timer.at && timer.at !== Infinity) {
        timer.at = at;
        return;
      }
      this.#unlink(timer);
    }
    timer.at = at;
    this.#link(timer, due % SLOTS);
  }

  /** Cancels; idempotent. */
  cancel(timer: Timer): void {
    timer.at = Infinity;
    if (timer.slot >= 0) this.#unlink(timer);
  }

  /** Turns to `now` and fires what is due. */
  turn(now: number): void {
    const target = Math.floor(now / TICK_MS);
    // After a long stall one round over all slots sees everything.
    if (target - this.#tick > SLOTS) this.#tick = target - SLOTS;
    while (this.#tick < target) {
      this.#tick++;
      const slot = this.#tick % SLOTS;
      let timer = this.#heads[slot] ?? null;
      this.#heads[slot] = null;
      // Detach the whole slot first: `fire` may arm and cancel at will.
      const due: Timer[] = [];
      while (timer !== null) {
        const next: Timer | null = timer.next;
        timer.slot = -1;
        timer.prev = timer.next = null;
        this.#armed--;
        due.push(timer);
        timer = next;
      }
      for (const entry of due) {
        if (entry.slot >= 0 || entry.at === Infinity) continue; // re-armed or cancelled meanwhile
        if (entry.at <= now) {
          entry.at = Infinity;
          entry.fire();
        } else {
          this.#link(entry, Math.max(this.#tick + 1, Math.ceil(entry.at / TICK_MS)) % SLOTS);
        }
      }
    }
  }

  /** The start of the first slot that holds a timer; Infinity when none does. */
  nextAt(): number {
    if (this.#armed === 0) return Infinity;
    for (let i = 1; i <= SLOTS; i++) {
      const tick = this.#tick + i;
      if (this.#heads[tick % SLOTS] !== null) return tick * TICK_MS;
    }
    return Infinity;
  }

  #link(timer: Timer, slot: number): void {
    const head = this.#heads[slot] ?? null;
    timer.slot = slot;
    timer.prev = null;
    timer.next = head;
    if (head !== null) head.prev = timer;
    this.#heads[slot] = timer;
    this.#armed++;
    const due = (this.#tick + ((slot - this.#tick) % SLOTS + SLOTS) % SLOTS) * TICK_MS;
    if (due < this.planned) this.onEarlier?.(due);
  }

  #unlink(timer: Timer): void {
    if (timer.prev !== null) timer.prev.next = timer.next;
    else this.#heads[timer.slot] = timer.next;
    if (timer.next !== null) timer.next.prev = timer.prev;
    timer.slot = -1;
    timer.prev = timer.next = null;
    this.#armed--;
  }
}
