// Serves a webhook in TLS by the certificate of a mounted Secret, which is followed: a kubelet replaces
// its files, and new connections get what is there then.

import type { SocketAddr } from "../../core/addr.ts";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import { Reloaded } from "../injector/settings.ts";

/** Certificate chain and key. PEM. */
interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

interface Server {
  readonly addr: SocketAddr;
  setTls(pair: TlsPair): void;
  close(graceMs?: number): Promise<void>;
}

type Handler = (request: Request) => Response | Promise<Response>;

/** Between the two files of what one `Reloaded` reads. */
const CUT = "\u0000";
const MAX_CONNECTIONS = 1024;

export interface ServeWebhookOptions {
  readonly listen: SocketAddr;
  /** Folder of `tls.crt` and `tls.key`. */
  readonly tls: string;
  readonly handler: Handler;
  readonly read: (path: string) => Promise<string>;
  /** The runtime's `serveHttp`. */
  readonly serve: (
    at: SocketAddr,
    handler: Handler,
    limits: { readonly maxConnections: number },
    tls: TlsPair,
  ) => Promise<Server>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Listens, or rejects with one line. */
export async function serveWebhook(options: ServeWebhookOptions): Promise<{
  readonly addr: SocketAddr;
  close(graceMs: number): Promise<void>;
}> {
  const { listen, tls: folder, read, clock, log } = options;
  let server: Server | null = null;
  const tls = await Reloaded.open({
    what: "The webhook's certificate",
    read: async () => await read(`${folder}/tls.crt`) + CUT + await read(`${folder}/tls.key`),
    make: (text) => {
      const [cert = "", key = ""] = text.split(CUT);
      server?.setTls({ cert, key });
      return { cert, key };
    },
    clock,
    log,
  });
  try {
    const open = server = await options.serve(
      listen,
      options.handler,
      { maxConnections: MAX_CONNECTIONS },
      tls.value,
    );
    return {
      addr: open.addr,
      close: async (graceMs) => {
        tls.close();
        await open.close(graceMs);
      },
    };
  } catch (e) {
    tls.close();
    throw e;
  }
}
