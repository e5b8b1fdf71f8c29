// What filters are of a request's CPU: theirs beside what the proxy takes without them.

import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import process from "node:process";
import { freePort } from "../../test/support/free-port.ts";
import { missingPrograms, upstream } from "./peers.ts";
import { start, type Started } from "./started.ts";
import { median } from "./table.ts";
import { load } from "./wrk.ts";

/**
 * What five filters are of a request's CPU: theirs beside that of the proxy without filters, whose
 * time the kernel counts while wrk loads it. Null where wrk or nginx is missing.
 */
export async function share(
  fiveFiltersUs: number,
): Promise<{ requestCpuUs: number | null; fiveFiltersShare: number | null }> {
  const missing = missingPrograms();
  if (missing !== null) {
    console.error(`bench: no share of the request's CPU: ${missing}`);
    return { requestCpuUs: null, fiveFiltersShare: null };
  }
  const dir = await mkdtemp(join(tmpdir(), "tulle-bench-"));
  const running: Started[] = [];
  const [core, loadCore] = availableParallelism() >= 2 ? [0, 1] : [null, null];
  try {
    const up = await start(await upstream(dir, await freePort(), loadCore));
    running.push(up);
    const port = await freePort();
    const cli = fileURLToPath(new URL("../../bin/tulle.js", import.meta.url));
    const args = ["proxy", "--listen", `127.0.0.1:${port}`, "--to", `127.0.0.1:${up.port}`];
    const proxy = await start({
      name: "tulle",
      command: process.execPath,
      args: [cli, ...args],
      cwd: dir,
      core,
      port,
    });
    running.push(proxy);
    const cpu: number[] = [];
    for (let round = 0; round < 4; round++) {
      const before = await proxy.cpuNs();
      const { requests } = await load({ port, connections: 50, seconds: 2, core: loadCore });
      proxy.check();
      if (round > 0) cpu.push((await proxy.cpuNs() - before) / 1000 / Math.max(1, requests));
    }
    const requestCpuUs = median(cpu);
    return { requestCpuUs, fiveFiltersShare: fiveFiltersUs / (requestCpuUs + fiveFiltersUs) };
  } finally {
    await Promise.all(running.map((p) => p.stop()));
    await rm(dir, { recursive: true, force: true });
  }
}
