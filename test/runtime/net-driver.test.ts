import { test } from "uvu";
import * as assert from "uvu/assert";
import { listen } from "../../src/runtime/net-listener.ts";
import { echo, exchange, fixture } from "../support/driver-fixture.ts";

test("bytes come back whole, small and large, and half-closes pass", async () => {
  const f = await fixture(false);
  for (const size of [0, 1, 1000, 65_536, 3_000_000]) {
    const data = new Uint8Array(size).map((_, i) => i * 7);
    const { got, why } = await exchange(f.driver, f.plain(), data);
    assert.is(why, null);
    assert.is(got.length, size);
    assert.ok(Buffer.from(got).equals(Buffer.from(data)));
  }
  await f.close();
});

test("a connection leaves from the source address that is asked for", async () => {
  const f = await fixture(false);
  await exchange(f.driver, f.plain({ from: "127.77.250.9" }), new Uint8Array(3));
  assert.is(f.peers[0]?.remote.ip, "127.77.250.9");
  await f.close();
});

test("a refused connection and a taken port are told in one line", async () => {
  const f = await fixture(false);
  const error = await listen(f.driver, {
    at: f.listener.addr,
    mesh: null,
    anyName: false,
    detectMs: 0,
    accept: echo(f.driver, []),
    refused: () => {},
  }).then(() => null, (e: Error) => e.message);
  assert.match(error ?? "", /^Listen on 127\.0\.0\.1:\d+ failed: the port is taken/);
  const { addr } = f.listener;
  await f.listener.close();
  const { why } = await exchange(f.driver, f.plain({ addr }), new Uint8Array(1));
  assert.equal(why, { kind: "connect", message: "ECONNREFUSED" });
  f.driver.destroy();
});

test.run();
