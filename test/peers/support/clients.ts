// Clients over a bare socket, for protocols of lines.

import { once } from "node:events";
import net from "node:net";

/** An open connection that remembers everything that it was told. */
export interface Talk {
  readonly socket: net.Socket;
  /** All that came so far, one code unit for a byte. */
  heard(): string;
  /** Resolves with all that came as soon as it has `text` in it; rejects when the connection ends before. */
  until(text: string): Promise<string>;
  /** Resolves with all that came when the other side has ended. */
  end(): Promise<string>;
}

const WITHIN_MS = 60_000;

/** Connects to 127.0.0.1; says nothing. */
export async function talk(port: number): Promise<Talk> {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  const pieces: Uint8Array[] = [];
  let ended = false;
  const wake = new Set<() => void>();
  const tell = () => {
    for (const one of wake) one();
  };
  socket.on("data", (bytes: Uint8Array) => {
    pieces.push(bytes);
    tell();
  });
  for (const event of ["end", "error", "close"]) {
    socket.on(event, () => {
      ended = true;
      tell();
    });
  }
  const heard = () => Buffer.concat(pieces).toString("latin1");
  const when = (what: string, done: () => boolean | Error) =>
    new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => {
        wake.delete(look);
        reject(new Error(`${what}: not within ${WITHIN_MS} ms; heard ${heard().slice(0, 200)}`));
      }, WITHIN_MS);
      const look = () => {
        const is = done();
        if (is === false) return;
        wake.delete(look);
        clearTimeout(timer);
        if (is === true) resolve(heard());
        else reject(is);
      };
      wake.add(look);
      look();
    });
  await once(socket, "connect");
  return {
    socket,
    heard,
    until: (text) =>
      when(text, () => {
        if (heard().includes(text)) return true;
        return ended ? new Error(`ended before ${text}; heard ${heard().slice(0, 200)}`) : false;
      }),
    end: () => when("the end", () => ended),
  };
}
