// Prepared filters that go to another thread: what the clone carries, and what the other engine refuses.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { CONTINUE, FAILED, FilterRefused, type ShippedFilter } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { get, moduleBytes, refTo } from "./support.ts";

const clock = { now: () => performance.now(), wall: () => 1000, after: () => () => {} };

async function shipped(name: string, config: object): Promise<ShippedFilter> {
  const module = moduleBytes(`fixtures/${name}`);
  const engine = createEngine({ clock });
  const prepared = await engine.prepare(module, refTo(module, config, { name, cpuPercent: 100 }));
  return structuredClone(engine.ship(prepared));
}

test("a shipped filter runs in another engine with its configuration", async () => {
  const there = createEngine({ clock });
  const chain = there.chain([
    there.receive(await shipped("limited", { rate: 0.001, burst: 2 })),
  ]);
  const ask = () => chain.requestHead(get("/", { "x-user": "a" }));
  assert.equal([ask(), ask()], [CONTINUE, CONTINUE]);
  assert.is.not(ask(), CONTINUE);
  assert.is(there.stats()[0]?.calls, 3);
});

test("a trap there names the line of the source", async () => {
  const there = createEngine({ clock });
  const chain = there.chain([there.receive(await shipped("traps", {}))]);
  assert.is(chain.requestHead(get("/", { "x-deed": "divide" })), FAILED);
  assert.match(there.stats()[0]?.lastError ?? "", /traps[^ ]*:\d+:\d+/);
});

test("a filter that does not start there is refused with the reason", async () => {
  const one = await shipped("limited", { rate: 1, burst: 2 });
  const { ref } = one;
  const there = createEngine({ clock });
  const broken = { ...one, ref: { ...ref, config: new TextEncoder().encode('{"burst":"x"}') } };
  assert.throws(() => there.receive(broken), (e: unknown) => e instanceof FilterRefused);
});

test.run();
