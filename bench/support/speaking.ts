// A server that speaks first, or answers, and a client that measures its first byte; both in this
// process. It answers HTTP, too, so that a proxy before it can be asked whether it is there.

import net from "node:net";

/** What the server says, first or when it is spoken to. */
export const BANNER = "220 bench\r\n";
const HTTP = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const WITHIN_MS = 30_000;

export interface SpeakingServer {
  readonly port: number;
  /** Who speaks first on connections from now on. */
  speak(first: "serverFirst" | "clientFirst"): void;
  close(): Promise<void>;
}

/** Listens on 127.0.0.1; answers until `speak` says otherwise. */
export async function speakingServer(): Promise<SpeakingServer> {
  let first: "serverFirst" | "clientFirst" = "clientFirst";
  const open = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    if (first === "serverFirst") socket.write(BANNER);
    socket.once("data", (bytes: Uint8Array) => {
      if (String.fromCharCode(...bytes.subarray(0, 4)) === "GET ") socket.end(HTTP);
      else if (first === "clientFirst") socket.write(BANNER);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as net.AddressInfo).port,
    speak: (who) => void (first = who),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/**
 * From the begin of a connection to its first byte, in ms. `say` is what the client says when it is
 * connected; null: nothing. Rejects when what comes is not the begin of `expected`.
 */
export function firstByteMs(port: number, say: string | null, expected: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const beganMs = performance.now();
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true });
    const timer = setTimeout(() => fail("nothing came"), WITHIN_MS);
    const fail = (why: string) => {
      clearTimeout(timer);
      socket.destroy();
      reject(new Error(`port ${port}: ${why}`));
    };
    socket.once("connect", () => {
      if (say !== null) socket.write(say);
    });
    socket.once("data", (bytes: Uint8Array) => {
      const ms = performance.now() - beganMs;
      const text = new TextDecoder().decode(bytes);
      if (!expected.startsWith(text)) return fail(`the server said ${JSON.stringify(text)}`);
      clearTimeout(timer);
      socket.destroy();
      resolve(ms);
    });
    socket.once("error", (e) => fail(e.message));
    socket.once("end", () => fail("the connection ended"));
  });
}
