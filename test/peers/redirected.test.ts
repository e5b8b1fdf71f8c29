// Real servers in a pod and real clients in another, neither of which knows of a proxy: kernel rules
// redirect both, the control plane knows none of the ports, and nothing is marked as opaque.

import { rm } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseSamples } from "../../src/cli/demo-scrape.ts";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { type MeshedPods, withMeshedPods } from "../netns/meshed-pods.ts";
import { namespacesMissing, RUNTIME } from "../netns/namespaces.ts";
import { SERVER, UID } from "../netns/pods.ts";
import { testUnless } from "../support/skip.ts";
import { ownFolder, program, programsMissing } from "./support/programs.ts";

const MISSING = namespacesMissing() ??
  programsMissing("nats-server", "redis-server", "redis-cli");
const NATS = 4222;
const REDIS = 6379;
const NOBODY = 65534;
const CLIENT = [...RUNTIME, "test/peers/nats-client.ts"];
const IDENTITY = "client.shop.serviceaccount.identity.linkerd.cluster.local";

/** A command of a user whose connections the rules leave alone, as if it had no proxy. */
const unmeshed = (...command: readonly string[]) => [
  ...["setpriv", `--reuid=${UID}`, `--regid=${UID}`, "--clear-groups"],
  ...["env", "DENO_DIR=/tmp/none", "HOME=/tmp", ...command],
];

async function startServers({ server }: MeshedPods, dir: string): Promise<void> {
  const nats = ["-a", "::", "-p", String(NATS)];
  server.launch(NOBODY, {}, program("nats-server") ?? "", ...nats);
  const redis = [
    "--port",
    String(REDIS),
    "--bind",
    "*",
    "::*",
    "--protected-mode",
    "no",
    "--save",
    "",
  ];
  server.launch(NOBODY, {}, program("redis-server") ?? "", ...redis, "--dir", dir);
  // Asked on the pod's own loopback, which no rule redirects.
  await eventually("both servers answer", () => {
    assert.is(server.run(...CLIENT, "127.0.0.1", String(NATS)).stdout, "INFO PONG\n");
    assert.is(server.run("redis-cli", "-p", String(REDIS), "PING").stdout, "PONG\n");
  }, 60_000);
}

const folder = MISSING === null ? await ownFolder() : "";
test.after(async () => {
  if (folder !== "") await rm(folder, { recursive: true, force: true });
});

testUnless(
  MISSING,
  test,
  "servers and clients that speak first need no annotation, meshed or from outside",
  () =>
    withMeshedPods("nft", async (pods) => {
      const { client } = pods;
      await startServers(pods, folder);
      const count = (of: "client" | "server", name: string, labels: Record<string, string>) =>
        sum(parseSamples(pods.metrics(of), () => true), name, labels);
      const redis = (
        ip: string,
        ...args: string[]
      ) => ["redis-cli", "-h", ip, "-p", String(REDIS), ...args];
      const value = "0123456789".repeat(200_000);
      for (const ip of SERVER) {
        assert.is(client.run(...CLIENT, ip, String(NATS)).stdout, "INFO PONG\n", ip);
        assert.is(client.pipe(value, ...redis(ip, "-x", "SET", ip)).stdout, "OK\n", ip);
        assert.is(client.run(...redis(ip, "--raw", "STRLEN", ip)).stdout, `${value.length}\n`);
      }
      const results = "outbound_tcp_detect_http_results_total";
      assert.is(count("client", results, { result: "server_first" }), SERVER.length);
      assert.is(count("client", results, { result: "not_http" }), 2 * SERVER.length);
      assert.is(count("client", results, { result: "read_timeout" }), 0);
      const headers = "inbound_tcp_transport_header_connections_total";
      const opaque = { session_protocol: "", client_id: IDENTITY };
      assert.is(count("server", headers, { ...opaque, target_port: String(NATS) }), SERVER.length);
      assert.is(
        count("server", headers, { ...opaque, target_port: String(REDIS) }),
        2 * SERVER.length,
      );
      // Without a proxy of its own, a client comes in plain text to where TLS of the mesh may come.
      for (const ip of SERVER) {
        const run = (...command: readonly string[]) => {
          const { stdout, stderr } = client.run(...unmeshed(...command));
          return stdout + stderr;
        };
        assert.is(run(...CLIENT, ip, String(NATS)), "INFO PONG\n", ip);
        assert.is(run(...redis(ip, "--raw", "STRLEN", ip)), `${value.length}\n`);
      }
      const inbound = "inbound_tcp_detect_http_results_total";
      assert.is(count("server", inbound, { result: "server_first" }), SERVER.length);
      assert.is(count("server", inbound, { result: "not_http" }), SERVER.length);
      const seconds = "inbound_tcp_detect_http_duration_seconds_bucket";
      assert.is(count("server", seconds, { le: "5" }), 2 * SERVER.length);
    }),
);

test.run();
