// NATS, whose server speaks first, in lines: a client that waits for its greeting finds no stall on any
// way, and messages of the largest size pass unchanged between many connections.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";
import { talk } from "./support/clients.ts";
import { ownFolder, programsMissing, type Server, startServer } from "./support/programs.ts";
import { type Way, type Ways, waysTo } from "./support/ways.ts";

const MISSING = programsMissing("nats-server");
const CONNECT = 'CONNECT {"verbose":false,"pedantic":false,"lang":"test","version":"0"}\r\n';
const MEGABYTE = "0123456789abcdef".repeat(1 << 16);

let server: Server | null = null;
let ways: Ways | null = null;
if (MISSING === null) {
  const port = await freePort();
  const args = ["-a", "127.0.0.1", "-p", String(port)];
  server = await startServer(await ownFolder(), "nats-server", args, async () => {
    const client = await talk(port);
    await client.until("INFO {");
    client.socket.destroy();
  });
  ways = await waysTo(port);
}
test.after(async () => {
  await ways?.close();
  await server?.end();
});

/** A client that has heard the greeting before it said anything. */
async function connected(way: Way) {
  const client = await talk(way.port);
  const greeting = await client.until("\r\n");
  assert.match(greeting, /^INFO \{"server_id":.*\r\n$/);
  client.socket.write(`${CONNECT}PING\r\n`);
  await client.until("PONG\r\n");
  return client;
}

for (const way of ways?.all ?? [{ name: "both meshed" } as Way]) {
  testUnless(
    MISSING,
    test,
    `${way.name}: the server is heard before the client speaks`,
    async () => {
      const before = way.detections()["server_first"] ?? 0;
      const client = await connected(way);
      client.socket.destroy();
      if (way.detects === null) {
        assert.equal(way.detections(), {}, "where a port is opaque, nobody looks");
      } else {
        const found = way.detections();
        assert.is(found["server_first"], before + 1);
        assert.is(found["read_timeout"], undefined);
        // Not the 10 s of a client that is waited for.
        assert.is(way.detectedWithin(5), before + 1);
      }
      await way.settled();
      way.check();
    },
  );

  testUnless(MISSING, test, `${way.name}: a megabyte reaches twenty subscribers`, async () => {
    const subscribers = await Promise.all(Array.from({ length: 20 }, () => connected(way)));
    for (const [i, { socket }] of subscribers.entries()) socket.write(`SUB news ${i}\r\nPING\r\n`);
    await Promise.all(subscribers.map((s) => s.until("PONG\r\nPONG\r\n")));
    const publisher = await connected(way);
    publisher.socket.write(`PUB news ${MEGABYTE.length}\r\n${MEGABYTE}\r\nPING\r\n`);
    await publisher.until("PONG\r\nPONG\r\n");
    for (const [i, subscriber] of subscribers.entries()) {
      const heard = await subscriber.until(`${MEGABYTE}\r\n`);
      assert.ok(heard.endsWith(`MSG news ${i} ${MEGABYTE.length}\r\n${MEGABYTE}\r\n`));
    }
    for (const { socket } of [...subscribers, publisher]) socket.destroy();
    await way.settled();
    way.check();
  });

  testUnless(
    MISSING,
    test,
    `${way.name}: a client's half-close ends both sides in order`,
    async () => {
      const client = await connected(way);
      client.socket.end("PING\r\n");
      await client.end();
      assert.is(client.socket.readableEnded, true);
      await way.settled();
    },
  );
}

test.run();
