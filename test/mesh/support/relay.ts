// A wire between two proxies that remembers every byte: listens where one expects the other, and
// passes everything on, from the same source address, so that neither side sees a difference.

import net from "node:net";

/** One connection over the wire. */
export interface Recording {
  readonly toServer: Uint8Array;
  readonly toClient: Uint8Array;
}

export interface Relay {
  /** Every connection so far, as far as it went. */
  recordings(): readonly Recording[];
  close(): Promise<void>;
}

/** Listens at `ip:port` and passes on to `ip:to`. */
export async function startRelay(ip: string, port: number, to: number): Promise<Relay> {
  const wires: { toServer: Uint8Array[]; toClient: Uint8Array[] }[] = [];
  const open = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    const wire = { toServer: [] as Uint8Array[], toClient: [] as Uint8Array[] };
    wires.push(wire);
    const far = net.connect({
      host: ip,
      port: to,
      allowHalfOpen: true,
      ...(near.remoteAddress === undefined ? {} : { localAddress: near.remoteAddress }),
    });
    join(near, far, wire.toServer);
    join(far, near, wire.toClient);
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: ip, port }, () => resolve());
  });
  return {
    recordings: () =>
      wires.map(({ toServer, toClient }) => ({
        toServer: Buffer.concat(toServer),
        toClient: Buffer.concat(toClient),
      })),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function join(from: net.Socket, to: net.Socket, record: Uint8Array[]): void {
  from.on("data", (bytes: Uint8Array) => {
    record.push(bytes);
    if (!to.write(bytes)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.on("end", () => to.end());
  from.on("error", () => to.destroy());
  from.on("close", () => {
    if (!from.readableEnded) to.destroy();
  });
}
