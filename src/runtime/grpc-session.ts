// One HTTP/2 connection to a control-plane service, made when a call needs it and again after it was
// lost. Connect's own manager is not used: a server that speaks something else ends the process there,
// by an error event that nobody hears.

import { Code, ConnectError } from "@connectrpc/connect";
import http2 from "node:http2";
import type net from "node:net";
import { errorText } from "../core/errors.ts";

/** A silent connection with calls is asked for a sign of life this often, and given up without one. */
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 3000;

/** What `createGrpcTransport` wants of a session manager. */
export class GrpcSession {
  /** The origin of the base URL. */
  readonly authority: string;
  readonly #open: () => net.Socket;
  /** Takes new calls. */
  #current: Promise<http2.ClientHttp2Session> | null = null;
  /** Every session that is not yet closed, those that only finish their calls too. */
  readonly #all = new Set<http2.ClientHttp2Session>();
  #closed = false;

  /** `open` begins a connection, or throws; errors of its socket end the session. */
  constructor(baseUrl: string, open: () => net.Socket) {
    this.authority = new URL(baseUrl).origin;
    this.#open = open;
  }

  /** Begins a call. Rejects with `Unavailable` when there is no connection to be had. */
  async request(
    method: string,
    path: string,
    headers: http2.OutgoingHttpHeaders,
    options: Omit<http2.ClientSessionRequestOptions, "signal">,
  ): Promise<http2.ClientHttp2Stream> {
    if (this.#closed) throw new ConnectError("the client is closed", Code.Canceled);
    const held = this.#current ??= this.#connect();
    let session = await held;
    if (session.closed || session.destroyed) {
      // A call hears of a lost connection before the connection does.
      if (this.#current === held) this.#current = null;
      session = await (this.#current ??= this.#connect());
    }
    try {
      return session.request({ ...headers, ":method": method, ":path": path }, options);
    } catch (e) {
      throw unavailable(e);
    }
  }

  /** Signs of life are taken from pings alone. */
  notifyResponseByteRead(): void {}

  /** Ends every connection and call, for good. */
  close(): void {
    this.#closed = true;
    this.#current = null;
    for (const session of this.#all) {
      session.destroy(new ConnectError("the client is closed", Code.Canceled));
    }
  }

  #connect(): Promise<http2.ClientHttp2Session> {
    let socket: net.Socket;
    try {
      socket = this.#open();
    } catch (e) {
      return Promise.reject(unavailable(e)).finally(() => this.#current = null);
    }
    const ready = new Promise<http2.ClientHttp2Session>((resolve, reject) => {
      const session = http2.connect(this.authority, {
        createConnection: () => socket,
        // Many long streams share the connection; Node's default of 10 MB would end some of them.
        maxSessionMemory: 100,
      });
      this.#all.add(session);
      let why: unknown = new Error("the connection closed before it was ready");
      // From the first to the last moment, so that no error of a session is ever unheard.
      session.on("error", (e) => {
        why = e;
        forget();
        reject(unavailable(e));
      });
      const stopPings = this.#keepAlive(session);
      const forget = () => {
        if (this.#current === ready) this.#current = null;
      };
      session.once("connect", () => resolve(session));
      // Calls on it go on; new ones get a new connection. The server ends this one when they are done:
      // closing it here sends a GOAWAY too, on which Deno's HTTP/2 aborts the process when a stream
      // closes at that moment.
      session.once("goaway", forget);
      session.once("close", () => {
        stopPings();
        this.#all.delete(session);
        forget();
        reject(unavailable(why));
      });
    });
    return ready;
  }

  #keepAlive(session: http2.ClientHttp2Session): () => void {
    let deadline: ReturnType<typeof setTimeout> | undefined;
    const interval = setInterval(() => {
      if (session.destroyed || session.connecting || deadline !== undefined) return;
      deadline = setTimeout(() => {
        const text = `no sign of life for ${PING_TIMEOUT_MS} ms`;
        session.destroy(new ConnectError(text, Code.Unavailable));
      }, PING_TIMEOUT_MS);
      session.ping(() => {
        clearTimeout(deadline);
        deadline = undefined;
      });
    }, PING_INTERVAL_MS);
    return () => {
      clearInterval(interval);
      clearTimeout(deadline);
    };
  }
}

function unavailable(e: unknown): ConnectError {
  if (e instanceof ConnectError) return e;
  return new ConnectError(errorText(e), Code.Unavailable, undefined, undefined, e);
}
