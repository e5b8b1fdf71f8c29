// Ports that nobody listens on, for the processes that a test starts. Inside one process, listen on
// port 0 instead: that cannot collide.

import { createServer } from "node:net";

const given = new Set<string>();

/**
 * A TCP port that was free a moment ago on `ip`, and that this process has not been given before.
 * Another process may still take it: who starts a server there must report that clearly.
 */
export async function freePort(ip = "127.0.0.1"): Promise<number> {
  for (;;) {
    const port = await probe(ip);
    const key = `${ip}|${port}`;
    if (given.has(key)) continue;
    given.add(key);
    return port;
  }
}

/** Several different ones. */
export async function freePorts(count: number, ip = "127.0.0.1"): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort(ip));
  return ports;
}

function probe(ip: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host: ip, port: 0 }, () => {
      const at = server.address();
      server.close(() => {
        if (at === null || typeof at === "string") reject(new Error(`No port on ${ip}`));
        else resolve(at.port);
      });
    });
  });
}
