// TCP keep-alive as the system sees it: the timer of each socket in /proc/net/tcp, where there is one.

import { existsSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import { MeshTls } from "../../src/runtime/mesh-tls.ts";
import { listen } from "../../src/runtime/net-listener.ts";
import { testUnless } from "../support/skip.ts";

const TABLE = "/proc/net/tcp";
const missing = existsSync(TABLE) ? null : `there is no ${TABLE}: only Linux tells sockets' timers`;
/** The third and fourth number of a row: 2 is keep-alive. */
const KEEPALIVE = "02";

/** Kinds of the timers of established sockets with this port at either end. */
function timers(port: number): string[] {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readFileSync(TABLE, "utf8").split("\n").slice(1).map((row) => row.trim().split(/\s+/))
    .filter(([, local, remote, state]) =>
      state === "01" && (local?.endsWith(hex) || remote?.endsWith(hex))
    )
    .map((row) => row[5]?.split(":")[0] ?? "");
}

async function timersOf(acceptMs: number | null, connectMs: number | null): Promise<string[]> {
  const driver = new NetDriver(new MeshTls());
  const opened = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const core = (end: 0 | 1) => ({
    opened: () => opened[end]?.resolve(),
    feed: (_ch: number, _buf: Uint8Array, from: number, to: number) => to - from,
    writable() {},
    ended() {},
    closed() {},
  });
  const listener = await listen(driver, {
    at: { ip: "127.0.0.1", port: 0 },
    mesh: null,
    anyName: false,
    detectMs: 0,
    keepAliveMs: acceptMs,
    accept: () => core(0),
    refused: () => {},
  });
  const { addr } = listener;
  driver.connect({ addr, from: null, timeoutMs: 5000, keepAliveMs: connectMs, tls: null }, core(1));
  await Promise.all(opened.map((o) => o.promise));
  const found = timers(addr.port);
  driver.destroy();
  await listener.close();
  return found.sort();
}

testUnless(missing, test, "both ends of a connection are asked for keep-alive", async () => {
  assert.equal(await timersOf(60_000, 60_000), [KEEPALIVE, KEEPALIVE]);
});

testUnless(missing, test, "without a time there is none", async () => {
  assert.equal(await timersOf(null, null), ["00", "00"]);
});

test.run();
