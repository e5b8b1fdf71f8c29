// The proxy itself behind real rules: an application without configuration reaches a pod and a Service by
// addresses of both families, and what is on the wire is TLS of the mesh.

import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { spawn, spawnSync } from "node:child_process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../mesh/support/waiting.ts";
import { testUnless } from "../support/skip.ts";
import { SERVICE, withMeshedPods } from "./meshed-pods.ts";
import { namespacesMissing } from "./namespaces.ts";
import { SERVER } from "./pods.ts";

const MISSING = namespacesMissing() ??
  (spawnSync("tcpdump", ["--version"]).status === 0 ? null : "tcpdump is not installed");
const IDENTITY = "client.shop.serviceaccount.identity.linkerd.cluster.local";
/** The capture sees the first packet that is sent after this. */
const CAPTURES = "listening on";

for (const mode of ["legacy", "nft"]) {
  testUnless(
    MISSING,
    test,
    `${mode}: redirected connections are meshed, IPv4 and IPv6, by pod and by Service`,
    () =>
      withMeshedPods(mode, async ({ client, server, metrics }) => {
        const dir = await mkdtemp("/tmp/tulle-capture-");
        const dump = spawn("ip", [
          ...[
            "netns",
            "exec",
            server.name,
            "tcpdump",
            "-i",
            server.device,
            "--immediate-mode",
            "-U",
            "-s",
            "0",
          ],
          ...["-Z", "root", "-w", `${dir}/wire`, "tcp"],
        ], { stdio: ["ignore", "ignore", "pipe"] });
        const ended = once(dump, "exit");
        try {
          let said = "";
          for await (const text of dump.stderr.setEncoding("utf8")) {
            said += String(text);
            if (said.includes(CAPTURES)) break;
          }
          assert.match(said, CAPTURES);
          for (const ip of [...SERVER, ...SERVICE]) {
            assert.equal(
              client.getAll([[ip, 8080], [ip, 8081], [ip, 5432], [ip, 8080]]),
              [
                `port 8080 from ${IDENTITY}`,
                `port 8081 from ${IDENTITY}`,
                "server first",
                `port 8080 from ${IDENTITY}`,
              ],
              ip,
            );
          }
          // a ClientHello of TLS 1.3 with the mesh's protocol, and the server that it names; what is captured
          // but not written yet would be lost with the end
          await eventually("the capture has what was sent", async () => {
            const wire = await readFile(`${dir}/wire`, "latin1");
            assert.ok(wire.includes("transport.l5d.io/v1"));
            assert.ok(wire.includes("server.shop.serviceaccount.identity.linkerd.cluster.local"));
          });
        } finally {
          dump.kill("SIGINT");
          await ended;
        }
        const wire = await readFile(`${dir}/wire`, "latin1");
        await rm(dir, { recursive: true });
        for (const plain of ["GET / HTTP/1.1", "app.test", "server first", "port 808"]) {
          assert.not(wire.includes(plain), `${plain} is on the wire`);
        }
        const inbound = metrics("server");
        assert.match(
          inbound,
          new RegExp(
            `tcp_open_total\\{direction="inbound",peer="src".*tls="true",client_id="${IDENTITY}"`,
          ),
        );
        const opened = metrics("client").split("\n").filter((line) =>
          line.startsWith('tcp_open_total{direction="outbound",authority=')
        );
        for (const ip of SERVER) {
          const at = ip.includes(":") ? `[${ip}]` : ip;
          for (const authority of [`${at}:8080`, `${at}:5432`]) {
            assert.ok(opened.some((line) => line.includes(`authority="${authority}"`)), authority);
          }
        }
        assert.ok(opened.some((line) => line.includes('"server.shop.svc.cluster.local:8080"')));
        assert.ok(opened.every((line) => line.includes('tls="true"')), opened.join("\n"));
      }),
  );
}

testUnless(
  MISSING,
  test,
  "what is not redirected is not meshed: without rules the same requests are plain",
  () =>
    withMeshedPods("nft", ({ client, server }) => {
      for (const pod of [client, server]) assert.is(pod.tulle("init", "--undo").status, 0);
      for (const ip of SERVER) assert.is(client.get(ip, 8080), "port 8080");
    }),
);

test.run();
