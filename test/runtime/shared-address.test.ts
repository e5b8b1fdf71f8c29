// One address for several listeners, as the threads of a proxy have it: claimed alone first, then dealt
// out by the kernel.

import net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Core } from "../../src/core/driver.ts";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import { claimAddress, listen } from "../../src/runtime/net-listener.ts";

const LOOP = { ip: "127.0.0.1", port: 0 };

/** A driver that says its name to whoever connects, and hangs up. */
function named(name: string, port: number, reusePort: boolean) {
  const driver = new NetDriver(null);
  const hello = new TextEncoder().encode(name);
  const core: Core = {
    opened: (ch) => {
      driver.send(ch, hello, 0, hello.length);
      driver.close(ch, "flush");
    },
    feed: (_ch, _buf, from, to) => to - from,
    writable() {},
    ended() {},
    closed() {},
  };
  const listening = listen(driver, {
    at: { ...LOOP, port },
    mesh: null,
    anyName: false,
    detectMs: 0,
    reusePort,
    accept: () => core,
    refused: () => {},
  });
  return { driver, listening };
}

function greeting(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, LOOP.ip);
    let text = "";
    socket.setEncoding("utf8").on("data", (part) => (text += String(part)));
    socket.on("close", () => resolve(text)).on("error", reject);
  });
}

test("two listeners share a claimed address, and one has it all when the other ends", async () => {
  const { port } = await claimAddress(LOOP);
  assert.ok(port > 0);
  const a = named("a", port, true);
  const b = named("b", port, true);
  const [first, second] = await Promise.all([a.listening, b.listening]);
  const names = new Set<string>();
  // The kernel deals out by address and port: a hundred connections do not all fall to one.
  for (let i = 0; i < 100; i++) names.add(await greeting(port));
  assert.equal([...names].sort(), ["a", "b"]);
  await first.close();
  for (let i = 0; i < 20; i++) assert.is(await greeting(port), "b");
  await second.close();
  a.driver.destroy();
  b.driver.destroy();
});

test("an address that somebody has cannot be claimed, shared or not", async () => {
  for (const reusePort of [false, true]) {
    const { driver, listening } = named("a", 0, reusePort);
    const { addr, close } = await listening;
    const why = await claimAddress(addr).then(() => "claimed", (e: Error) => e.message);
    assert.match(why, `Listen on 127.0.0.1:${addr.port} failed: the port is taken`);
    await close();
    driver.destroy();
  }
});

test.run();
