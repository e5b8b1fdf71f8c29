// What a hook may have changed of a request before it failed, to be put back. One for each filter and
// used again: hooks of one filter never overlap.

import type { EndpointChoice, Exchange } from "../../src/core/exchange.ts";

export class RequestUndo {
  #edits = 0;
  #newPath: string | null = null;
  #newAuthority: string | null = null;
  #timeoutMs = 0;
  #exchangeLimitMs = 0;
  #responseLimitMs = 0;
  #idleLimitMs = 0;
  #attemptTimeoutMs = 0;
  #choice: EndpointChoice | null = null;

  /** Before the hook. */
  take(x: Exchange): void {
    const { request } = x;
    this.#edits = request.edits.length;
    this.#newPath = request.newPath;
    this.#newAuthority = request.newAuthority;
    this.#timeoutMs = x.timeoutMs;
    this.#exchangeLimitMs = x.exchangeLimitMs;
    this.#responseLimitMs = x.responseLimitMs;
    this.#idleLimitMs = x.idleLimitMs;
    this.#attemptTimeoutMs = x.attemptTimeoutMs;
    this.#choice = x.choice;
  }

  /** After it failed. What was prepared as an answer or asked is dropped, too. */
  apply(x: Exchange): void {
    const { request } = x;
    request.edits.length = this.#edits;
    request.newPath = this.#newPath;
    request.newAuthority = this.#newAuthority;
    x.timeoutMs = this.#timeoutMs;
    x.exchangeLimitMs = this.#exchangeLimitMs;
    x.responseLimitMs = this.#responseLimitMs;
    x.idleLimitMs = this.#idleLimitMs;
    x.attemptTimeoutMs = this.#attemptTimeoutMs;
    x.choice = this.#choice;
    x.local = null;
    x.callout = null;
  }
}
