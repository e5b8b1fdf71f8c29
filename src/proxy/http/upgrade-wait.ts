// An upgrade that waits until it is known whether its endpoint takes extended CONNECT (RFC 8441), and
// then takes HTTP/2 or HTTP/1. Made by `endpoint-clients.ts` once a connection is missing to know it by.

import type { MeshError } from "../../core/errors.ts";
import type { Sink } from "../../core/exchange.ts";

export class UpgradeWait implements Sink {
  /** Set by whoever sends the request; called when the endpoint can take more. */
  wake: (() => void) | null = null;
  #inner: Sink | null = null;
  #ended = false;
  #over = false;

  /** The way is known: `dispatch` goes it. Once. */
  go(dispatch: () => Sink): void {
    if (this.#over) return;
    const inner = dispatch();
    this.#inner = inner;
    inner.wake = () => this.wake?.();
    if (this.#ended) inner.end();
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    // An upgrade has no body, and its tunnel opens after the answer only.
    return this.#inner?.data(buf, from, to) ?? true;
  }

  end(): void {
    this.#ended = true;
    this.#inner?.end();
  }

  abort(why: MeshError): void {
    this.#over = true;
    this.#inner?.abort(why);
  }
}
