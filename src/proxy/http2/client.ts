// One HTTP/2 connection to an endpoint: the way from a channel to a session, and which requests it
// takes. Belongs to an `Http2EndpointClient`, which has one or more of them; the requests themselves are
// `client-stream.ts`.

import type { Chan, ChanError, Core, Driver } from "../../core/driver.ts";
import type { ClientStream } from "./client-stream.ts";
import { Http2Session } from "./session.ts";
import type { Flood, SessionOptions, SessionOwner } from "./session-options.ts";

/** What a connection needs of its owner. */
export interface Http2ClientOwner {
  /** Sent once, first: the transport header of a mesh connection, or null. */
  readonly preface: Uint8Array | null;
  readonly session: SessionOptions;
  /** The connection is up, or has room again. */
  connected(client: Http2Client, ch: Chan): void;
  /** No connection could be made. */
  unreachable(client: Http2Client, why: ChanError | null): void;
  /** Room for streams may have come; or the connection takes no more. */
  changed(client: Http2Client): void;
  /** The endpoint ran into a bound. */
  flooded(what: Flood): void;
  /** The channel ended; after `connected`. */
  disconnected(client: Http2Client): void;
}

export class Http2Client implements Core, SessionOwner {
  readonly session: Http2Session;
  readonly #driver: Driver;
  readonly #owner: Http2ClientOwner;
  #ch: Chan = 0;
  /** Streams that it had: the first one says nothing about a peer that gave up an idle connection. */
  used = 0;
  isOpen = false;

  constructor(driver: Driver, owner: Http2ClientOwner) {
    this.#driver = driver;
    this.#owner = owner;
    this.session = new Http2Session(driver, owner.session, this);
  }

  /** Tells the connection its channel, right after `driver.connect`. */
  begin(ch: Chan): void {
    this.#ch = ch;
  }

  /** Streams that it takes now. */
  get available(): number {
    return this.isOpen ? this.session.available : 0;
  }

  /** Whether it takes the request now. */
  takes(stream: ClientStream): boolean {
    return this.available > 0 && (!stream.isUpgrade || this.session.extends !== null);
  }

  /** Sends a request; ask `takes` before. */
  take(stream: ClientStream): void {
    this.used++;
    stream.send(this);
  }

  /** Ends with its last stream; at once while it is not open. */
  drain(): void {
    if (this.isOpen) this.session.drain();
    else this.#driver.close(this.#ch, "reset");
  }

  // --- the driver says --------------------------------------------------------------------------

  opened(ch: Chan): void {
    this.#ch = ch;
    this.isOpen = true;
    this.session.onGone = () => this.#owner.disconnected(this);
    this.#driver.adopt(ch, this.session);
    const { preface } = this.#owner;
    this.#owner.connected(this, ch);
    if (preface !== null) this.#driver.send(ch, preface, 0, preface.length);
    this.session.opened(ch);
    this.#owner.changed(this);
  }

  feed(_ch: Chan, _buf: Uint8Array, _from: number, _to: number): number {
    return 0; // the session has the channel from `opened` on
  }

  writable(): void {}

  ended(): void {}

  closed(_ch: Chan, why: ChanError | null): void {
    this.#owner.unreachable(this, why);
  }

  // --- the session says -------------------------------------------------------------------------

  incoming(): null {
    return null; // a server begins no streams: push is off
  }

  settled(): void {
    this.#owner.changed(this);
  }

  goneAway(): void {
    this.#owner.changed(this);
  }

  flooded(what: Flood): void {
    this.#owner.flooded(what);
  }

  over(): void {
    this.#owner.changed(this);
  }

  gone(): void {}
}
