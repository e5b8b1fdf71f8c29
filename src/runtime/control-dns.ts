// The runtime's resolver as `control-resolver.ts` wants it: SRV, A and AAAA over DNS, and the system's own
// look-up (hosts file, search list) for what DNS does not know. Both runtimes have the same `node:dns`.

import { promises as dns } from "node:dns";
import type { ControlDns } from "./control-resolver.ts";

/** One try of one question; with two tries a dead name server costs twice this. */
const TIMEOUT_MS = 1000;
const TRIES = 2;

/** Asks `servers` (`ip:port`), or those that the system is configured with. */
export function createControlDns(servers: readonly string[] | null = null): ControlDns {
  const resolver = new dns.Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
  if (servers !== null) resolver.setServers([...servers]);
  return {
    srv: (name) => resolver.resolveSrv(name),
    async addresses(name) {
      // At the same time, so that a name of the hosts file does not wait for a dead name server twice.
      const system = systemAddresses(name);
      system.catch(() => {}); // it may go unused
      const both = await Promise.allSettled([
        resolver.resolve4(name, { ttl: true }),
        resolver.resolve6(name, { ttl: true }),
      ]);
      const found = both.flatMap((one) => one.status === "fulfilled" ? one.value : []);
      if (found.length === 0) return { ips: await system, ttlMs: null };
      return {
        ips: found.map(({ address }) => address),
        ttlMs: Math.min(...found.map(({ ttl }) => ttl)) * 1000,
      };
    },
  };
}

async function systemAddresses(name: string): Promise<readonly string[]> {
  return (await dns.lookup(name, { all: true })).map(({ address }) => address);
}
