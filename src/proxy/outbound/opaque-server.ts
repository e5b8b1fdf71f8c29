// A client's connection whose bytes are not HTTP: the stack sees it as the tunnel of a CONNECT, so that
// waiting for endpoints, balancing, mesh TLS and the filters of the default route are the same. A
// target that only the request names has none here, and the connection ends.

import type { Chan, ChanError, Core, Driver } from "../../core/driver.ts";
import { MeshError } from "../../core/errors.ts";
import { type ConnInfo, Exchange, type Reply, type Sink } from "../../core/exchange.ts";
import type { ResponseHead } from "../../core/head.ts";
import { formatSocketAddr } from "../../core/addr.ts";
import type { ServerOptions } from "../http1/server-options.ts";
import { parseRequest } from "../http1/parse.ts";
import type { TcpRouteSeries } from "../tcp/route-metrics.ts";

/** The request's form is HTTP's; nothing of it is sent. */
function connectTo(x: Exchange, authority: string): void {
  const text = `CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n\r\n`;
  const bytes = new TextEncoder().encode(text);
  parseRequest(x.request, bytes, 0, bytes.length, bytes.length);
}

/** The accepted side of an opaque connection. */
export class OpaqueServer implements Core, Reply {
  wake: (() => void) | null = null;
  /** Called once when the connection is gone, whoever ended it. */
  onGone: (() => void) | null = null;
  readonly #driver: Driver;
  readonly #options: ServerOptions;
  readonly #x: Exchange;
  readonly #series: TcpRouteSeries | null;
  /** It is opaque for certain: one of its route, and what a drain waits for. */
  #counted = false;
  #ch: Chan = 0;
  #sink: Sink | null = null;
  #open = false;
  #fin = false;
  #replyEnded = false;
  #over = false;
  /** What the upstream said while it was not decided that the connection is opaque. */
  #early: Uint8Array[] | null = null;
  #spoke: (() => void) | null = null;
  #lost: (() => void) | null = null;
  readonly #resume = () => {
    if (this.#early === null) this.#driver.resume(this.#ch);
  };

  constructor(
    driver: Driver,
    conn: ConnInfo,
    options: ServerOptions,
    series: TcpRouteSeries | null = null,
  ) {
    this.#driver = driver;
    this.#options = options;
    this.#x = new Exchange(conn);
    this.#series = series;
  }

  /** As `Forward.beginEarly`: nothing reaches the client before `release`. */
  beginEarly(near: Chan, spoke: () => void, lost: () => void): void {
    this.#early = [];
    this.#spoke = spoke;
    this.#lost = lost;
    this.opened(near);
  }

  release(): void {
    const early = this.#early ?? [];
    this.#early = null;
    this.#spoke = this.#lost = null;
    this.#count();
    let ready = true;
    for (const piece of early) ready = this.#driver.send(this.#ch, piece, 0, piece.length);
    if (this.#replyEnded) this.#driver.shutdown(this.#ch);
    if (ready) this.wake?.();
    this.#driver.resume(this.#ch);
  }

  discard(): void {
    if (this.#over) return;
    this.#early = null;
    this.#spoke = this.#lost = null;
    this.#leave(new MeshError("client-gone", "the client spoke HTTP"));
  }

  opened(ch: Chan): void {
    this.#ch = ch;
    if (this.#early === null) this.#count();
    const x = this.#x;
    x.begin(this.#driver.now);
    connectTo(x, formatSocketAddr(x.conn.target));
    const sink = this.#options.service(x, this);
    if (this.#over) return;
    this.#sink = sink;
    sink.wake = this.#resume;
    sink.end();
    if (this.#open) this.#driver.resume(ch);
  }

  feed(ch: Chan, buf: Uint8Array, from: number, to: number): number {
    if (this.#over) return to - from;
    if (!this.#open || this.#sink === null) {
      this.#driver.pause(ch); // the driver keeps what came
      return 0;
    }
    if (!this.#sink.data(buf, from, to)) this.#driver.pause(ch);
    return to - from;
  }

  writable(): void {
    this.wake?.();
  }

  ended(): void {
    this.#fin = true;
    if (this.#open) this.#sink?.end();
    if (this.#replyEnded) this.#finish("flush");
  }

  closed(_ch: Chan, why: ChanError | null): void {
    this.#leave(new MeshError("client-gone", `the client went away (${why?.message ?? "closed"})`));
    this.#gone();
  }

  informational(): void {}

  head(head: ResponseHead): void {
    this.#x.status = head.status;
    this.#open = true;
    if (this.#early === null) this.#driver.resume(this.#ch);
    if (this.#fin) this.#sink?.end();
  }

  data(buf: Uint8Array, from: number, to: number): boolean {
    if (this.#early === null) return this.#driver.send(this.#ch, buf, from, to);
    this.#early.push(buf.slice(from, to));
    this.#tellSpoke();
    return this.#early === null;
  }

  end(): void {
    this.#replyEnded = true;
    if (this.#early !== null) return this.#tellSpoke();
    if (this.#fin) this.#finish("flush");
    else this.#driver.shutdown(this.#ch);
  }

  abort(why: MeshError): void {
    this.fail(why);
  }

  fail(why: MeshError): void {
    if (this.#over) return;
    this.#x.error = why;
    this.#sink = null;
    if (this.#lost !== null) {
      const lost = this.#lost;
      this.discard();
      return lost();
    }
    this.#finish("reset");
  }

  #count(): void {
    if (this.#over || this.#counted) return;
    this.#counted = true;
    this.#options.inFlight.count++;
    this.#series?.opened();
  }

  #tellSpoke(): void {
    const spoke = this.#spoke;
    this.#spoke = null;
    spoke?.();
  }

  /** The exchange is over; the connection may live on. */
  #leave(why: MeshError | null): void {
    if (this.#over) return;
    this.#over = true;
    const sink = this.#sink;
    this.#sink = null;
    if (why !== null) {
      this.#x.error ??= why;
      sink?.abort(why);
    }
    if (this.#counted) {
      this.#options.inFlight.count--;
      this.#series?.closed(this.#x.error);
    }
    this.#x.finish();
  }

  #finish(how: "flush" | "reset"): void {
    this.#leave(null);
    this.#driver.close(this.#ch, how);
    this.#gone();
  }

  #gone(): void {
    const tell = this.onGone;
    this.onGone = null;
    tell?.();
  }
}
