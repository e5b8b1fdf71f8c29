// Two pods with proxies and an application, in namespaces with a wire between them: what each proxy saw
// is told by its addresses.

import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { join, Namespace } from "./namespaces.ts";

/** The user and group of the proxies. */
export const UID = 2102;
/** What the application of the server listens on. */
export const PORTS = [8080, 8081, 8082, 5432] as const;
/** Addresses by family. */
export const CLIENT = ["10.77.0.1", "fd77::1"] as const;
export const SERVER = ["10.77.0.2", "fd77::2"] as const;

/** As proxies tell it. */
export const at = (ip: string, port: number) =>
  ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;

/** What the application at a port answers. */
export const answerOf = (port: number) => port === 5432 ? "server first" : `port ${port}`;

/** Two pods, without rules yet. */
export interface Pods {
  readonly client: Namespace;
  readonly server: Namespace;
  /** Original destinations that the client's proxy saw since the last call: `outbound IP:PORT`. */
  outbound(): string[];
  /** The same of the server's proxy: `inbound IP:PORT`. */
  inbound(): string[];
}

/** Makes them, and takes them away again. */
export async function withPods(body: (pods: Pods) => void | Promise<void>): Promise<void> {
  const client = new Namespace(`tulle-a-${process.pid}`);
  const server = new Namespace(`tulle-b-${process.pid}`);
  let dir = "";
  try {
    join(client, server);
    // Not below TMPDIR, which may be closed to the proxy's user.
    dir = await mkdtemp("/tmp/tulle-netns-");
    await chmod(dir, 0o755);
    const files = [`${dir}/outbound`, `${dir}/inbound`] as const;
    for (const file of files) {
      await writeFile(file, "");
      await chown(file, UID, UID); // Deno appends to its own files only
    }
    await client.start(UID, "test/netns/proxy-process.ts", files[0], ...CLIENT);
    await server.start(UID, "test/netns/proxy-process.ts", files[1], ...SERVER);
    await server.start(0, "test/netns/app-process.ts", "serve", ...PORTS.map(String));
    await body({
      client,
      server,
      outbound: () => taken(files[0]),
      inbound: () => taken(files[1]),
    });
  } finally {
    await client.remove();
    await server.remove();
    if (dir !== "") await rm(dir, { recursive: true, force: true });
  }
}

/** The lines of a file, which is empty afterwards. */
function taken(file: string): string[] {
  const lines = readFileSync(file, "utf8").split("\n").filter((line) => line !== "");
  writeFileSync(file, "");
  return lines;
}
