// Redis, whose client speaks first, in lines or in its own framing: neither is taken for HTTP, on any
// way, and values, pipelines, many connections and a half-close pass unchanged.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";
import { talk } from "./support/clients.ts";
import { ownFolder, programsMissing, run, type Server, startServer } from "./support/programs.ts";
import { type Way, type Ways, waysTo } from "./support/ways.ts";

const MISSING = programsMissing("redis-server", "redis-cli", "redis-benchmark");
/** Every byte value, five million times in all. */
const VALUE = Uint8Array.from({ length: 5_000_000 }, (_, i) => i * 7 + (i >> 8));

const cli = (port: number, ...args: readonly string[]) =>
  run("redis-cli", ["-h", "127.0.0.1", "-p", String(port), ...args]);

let server: Server | null = null;
let ways: Ways | null = null;
if (MISSING === null) {
  const port = await freePort();
  const dir = await ownFolder();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir];
  server = await startServer(dir, "redis-server", args, async () => {
    const { out, errors } = await cli(port, "PING");
    assert.is(String(out), "PONG\n", errors);
  });
  ways = await waysTo(port);
}
test.after(async () => {
  await ways?.close();
  await server?.end();
});

/** Nothing but `not_http` was found, and it was found at once. */
function checkDetections(way: Way): void {
  const found = way.detections();
  if (way.detects === null) return assert.equal(found, {});
  assert.equal(Object.keys(found), ["not_http"]);
  assert.is(way.detectedWithin(5), found["not_http"]);
}

for (const way of ways?.all ?? [{ name: "both meshed" } as Way]) {
  testUnless(MISSING, test, `${way.name}: redis-cli sets and gets five megabytes`, async () => {
    const set = await run(
      "redis-cli",
      ["-h", "127.0.0.1", "-p", String(way.port), "-x", "SET", "large"],
      { input: VALUE },
    );
    assert.is(String(set.out), "OK\n", set.errors);
    const { out } = await cli(way.port, "--raw", "GET", "large");
    assert.ok(out.equals(Buffer.concat([VALUE, Buffer.from("\n")])), "not what was set");
    checkDetections(way);
  });

  testUnless(MISSING, test, `${way.name}: a command in a line is no request line`, async () => {
    const client = await talk(way.port);
    client.socket.write("PING\r\nECHO HTTP/1.1\r\n");
    assert.is(await client.until("HTTP/1.1\r\n"), "+PONG\r\n$8\r\nHTTP/1.1\r\n");
    client.socket.destroy();
    checkDetections(way);
  });

  testUnless(
    MISSING,
    test,
    `${way.name}: a pipeline is answered after the half-close`,
    async () => {
      const client = await talk(way.port);
      const count = 2000;
      client.socket.end("*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n".repeat(count));
      const heard = await client.end();
      assert.is(heard, "$5\r\nhello\r\n".repeat(count));
      assert.is(client.socket.readableEnded, true);
      checkDetections(way);
    },
  );

  testUnless(MISSING, test, `${way.name}: fifty connections at once`, async () => {
    const { status, out, errors } = await run("redis-benchmark", [
      ...["-h", "127.0.0.1", "-p", String(way.port), "-c", "50", "-n", "3000", "-t", "set,get"],
      "--csv",
    ]);
    assert.is(status, 0, errors);
    assert.match(String(out), /"SET",.*\n"GET",/);
    checkDetections(way);
    await way.settled();
    way.check();
  });
}

test.run();
