// The sockets of the network validator: a listener that gives everybody the token, and one connection
// that must get it. Bounded in time and bytes.

import { randomBytes } from "node:crypto";
import net from "node:net";
import { formatSocketAddr, type SocketAddr } from "../core/addr.ts";

/** Random bytes for the token. */
export const secureRandom = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes));

/**
 * Listens on `at`, answers every connection with `token`, connects to `to`, and resolves with what was
 * read there, at most one byte more than the token. Rejects with one line when listening or connecting
 * fails or `timeoutMs` are over.
 */
export function readThrough(
  at: SocketAddr,
  to: SocketAddr,
  token: string,
  timeoutMs: number,
): Promise<string> {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.end(token);
  });
  const client = new net.Socket();
  return new Promise<string>((resolve, reject) => {
    const fail = (what: string) => (e: Error & { code?: string }) =>
      reject(new Error(`${what}: ${e.code ?? e.message}`));
    const timer = setTimeout(
      () => reject(new Error(`no answer from ${formatSocketAddr(to)} within ${timeoutMs} ms`)),
      timeoutMs,
    );
    let read = "";
    const done = () => {
      clearTimeout(timer);
      resolve(read);
    };
    client.setEncoding("latin1");
    client.on("data", (text: string) => {
      read = (read + text).slice(0, token.length + 1);
      if (read.length > token.length) done();
    });
    client.on("end", done);
    client.on("error", fail(`connect to ${formatSocketAddr(to)}`));
    server.on("error", fail(`listen on ${formatSocketAddr(at)}`));
    server.listen(at.port, at.ip, () => client.connect(to.port, to.ip));
    void closed(client).then(() => clearTimeout(timer));
  }).finally(() => {
    client.destroy();
    server.close();
  });
}

function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}
