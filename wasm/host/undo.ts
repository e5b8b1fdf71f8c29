// What a hook may have changed of a request before it failed, to be put back. One for each filter and
// used again: hooks of one filter never overlap.

import type { EndpointChoice, Exchange } from "../../src/core/exchange.ts";

export class RequestUndo {
  #edits = 0;
  #newPath: string | null = null;
  #newAuthority: string | null = null;
  #timeoutMs = 0;
  #attemptTimeoutMs = 0;
  #choice: EndpointChoice | null = null;

  /** Before the hook. */
  take(x: Exchange): void {
    const { request } = x;
    this.#edits = request.edits.length;
    this.#newPath = request.newPath;
    this.#newAuthority = request.newAuthority;
    this.#timeoutMs = x.timeoutMs;
    this.#attemptTimeoutMs = x.attemptTimeoutMs;
    this.#choice = x.choice;
  }

  /** After it failed. */
  apply(x: Exchange): void {
    putBack(
      x,
      this.#edits,
      this.#newPath,
      this.#newAuthority,
      this.#timeoutMs,
      this.#attemptTimeoutMs,
      this.#choice,
    );
  }
}

/** Puts a request's state back. What was prepared as an answer or asked is dropped, too. */
export function putBack(
  x: Exchange,
  edits: number,
  newPath: string | null,
  newAuthority: string | null,
  timeoutMs: number,
  attemptTimeoutMs: number,
  choice: EndpointChoice | null,
): void {
  const { request } = x;
  request.edits.length = edits;
  request.newPath = newPath;
  request.newAuthority = newAuthority;
  x.timeoutMs = timeoutMs;
  x.attemptTimeoutMs = attemptTimeoutMs;
  x.choice = choice;
  x.local = null;
  x.callout = null;
}
