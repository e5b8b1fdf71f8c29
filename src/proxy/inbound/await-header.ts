// The beginning of a connection between two proxies: a transport header that says what it is for. Only
// read here; who accepted decides.

import type { Chan, ChanError, Core, Driver } from "../../core/driver.ts";
import { decodeTransportHeader, type TransportHeader } from "../../api/transport-header.ts";
import { errorText } from "../../core/errors.ts";

/** Reads the transport header, then hands the channel to what it asks for. */
export class AwaitHeader implements Core {
  readonly #driver: Driver;
  readonly #next: (header: TransportHeader | string) => Core;

  /** `next` gives the core of what the header asks for, or of what was wrong with it. */
  constructor(driver: Driver, next: (header: TransportHeader | string) => Core) {
    this.#driver = driver;
    this.#next = next;
  }

  opened(): void {}

  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number {
    let found: ReturnType<typeof decodeTransportHeader>;
    let wrong = "";
    try {
      found = decodeTransportHeader(buf, from, to);
    } catch (e) {
      found = null;
      wrong = `transport header: ${errorText(e)}`;
    }
    if (found === null && wrong === "") return 0;
    const core = this.#next(found === null ? wrong : found.header);
    this.#driver.adopt(ch, core);
    core.opened(ch);
    return found === null ? to - from : found.bytes;
  }

  writable(): void {}

  ended(ch: Chan): void {
    this.#driver.close(ch, "flush");
  }

  closed(_ch: Chan, _why: ChanError | null): void {}
}
