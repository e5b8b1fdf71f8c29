// Ends an accepted connection that is not served, whatever it turned out to be.

import type { Chan, CloseHow, Core, Driver } from "../../core/driver.ts";

/** Closes as soon as it is the channel's core: `reset` for who may not, `flush` for what is not spoken. */
export class Refuse implements Core {
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #how: CloseHow;

  constructor(driver: Driver, how: CloseHow = "reset") {
    this.#driver = driver;
    this.#how = how;
  }

  opened(ch: Chan): void {
    this.#driver.close(ch, this.#how);
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }

  feed(_ch: Chan, _buf: Uint8Array, from: number, to: number): number {
    return to - from;
  }

  writable(): void {}

  ended(): void {}

  closed(): void {}
}
