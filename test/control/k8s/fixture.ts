// A Kubernetes source on a fake API server, for the tests of this folder.

import { createLogger } from "../../../src/core/log.ts";
import type { Clock } from "../../../src/core/clock.ts";
import { Cluster } from "../../../src/control/cluster.ts";
import { Counters } from "../../../src/control/counters.ts";
import { type KubeApi, kubeApi } from "../../../src/control/k8s/api.ts";
import type { Credentials } from "../../../src/control/k8s/credentials.ts";
import { KubernetesSource } from "../../../src/control/k8s/kubernetes-source.ts";
import { createHttpClient } from "../../../src/runtime/http-client.ts";
import { FakeApiServer } from "../support/fake-api-server.ts";

/** Waiting is a hundredth as long. */
export const FAST_CLOCK: Clock = {
  now: () => performance.now() * 100,
  wall: () => Date.now(),
  after(ms, fire) {
    const timer = setTimeout(fire, ms / 100);
    return () => clearTimeout(timer);
  },
};

export const TOKEN: Credentials = {
  current: () => Promise.resolve({ token: "s3cret", certificate: null }),
  refused: () => {},
};

export function apiOf(url: string, credentials: Credentials = TOKEN): KubeApi {
  const connect = () => createHttpClient({ connectionsPerOrigin: 64 });
  return kubeApi({ server: url, connect }, credentials);
}

/** Resolves when `holds`; rejects when that takes longer than any machine should. */
export async function until(holds: () => boolean, what: string, maxMs = 30_000): Promise<void> {
  const end = performance.now() + maxMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((again) => setTimeout(again, 3));
  }
}

export async function startKube(
  prepare: (server: FakeApiServer) => void = () => {},
  random: () => number = Math.random,
) {
  const server = await FakeApiServer.start();
  prepare(server);
  const api = apiOf(server.url);
  const cluster = new Cluster();
  const counters = new Counters();
  const lines: string[] = [];
  let told = 0;
  const source = new KubernetesSource({
    api,
    cluster,
    clock: FAST_CLOCK,
    random,
    counters,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: () => 0,
      write: (line) => lines.push(line.slice(25)),
    }),
    onProblems: () => told++,
  });
  return {
    server,
    api,
    cluster,
    counters,
    lines,
    source,
    told: () => told,
    names: () => [...cluster.services.rows.keys()].sort(),
    problems: () => source.problems.map((p) => `${p.source}: ${p.message}`),
    async close() {
      source.close();
      await api.close();
      await server.close();
    },
  };
}

export const SERVICES = "/api/v1/services";

export const service = (name: string, port: number | string = 80) => ({
  metadata: { name, namespace: "shop" },
  spec: { clusterIP: "10.0.0.1", ports: [{ port }] },
});
