// Before anything starts: are the demo's addresses there and free? So that a second demo, or another
// server, is one clear line and not twelve processes that fail.

import { createServer } from "node:net";
import { formatSocketAddr, type SocketAddr } from "../core/addr.ts";
import { CliError } from "./failure.ts";

/** Binds each address for a moment. Throws a `CliError` for the first that cannot be had. */
export async function checkFree(addresses: readonly SocketAddr[], hint: string): Promise<void> {
  for (const [i, error] of (await Promise.all(addresses.map(tryListen))).entries()) {
    const at = addresses[i];
    if (error === null || at === undefined) continue;
    throw new CliError(`${formatSocketAddr(at)} ${reason(error)}`, { hint, cause: error });
  }
}

function tryListen(at: SocketAddr): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (e: NodeJS.ErrnoException) => resolve(e));
    server.listen({ host: at.ip, port: at.port }, () => server.close(() => resolve(null)));
  });
}

function reason(e: NodeJS.ErrnoException): string {
  switch (e.code) {
    case "EADDRINUSE":
      return "is taken by another process";
    case "EADDRNOTAVAIL":
    case "EINVAL": // what Deno says of it
      return "is not an address of this machine";
    case "EACCES":
      return "may not be used by this user";
    default:
      return `cannot be used: ${e.message}`;
  }
}
