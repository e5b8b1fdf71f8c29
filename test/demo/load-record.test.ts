import { test } from "uvu";
import * as assert from "uvu/assert";
import { LoadRecord } from "../../demo/services/load-record.ts";

function record() {
  let nowMs = 0;
  return { record: new LoadRecord(() => nowMs), pass: (ms: number) => (nowMs += ms) };
}

test("LoadRecord counts requests, failures and what is under way", () => {
  const { record: r } = record();
  const [a, b] = [r.begin(), r.begin()];
  assert.is(r.inFlight, 2);
  r.end(a, "");
  assert.is(r.end(b, "refused"), "refused");
  assert.is(r.refuse("too many"), "too many");
  const { requests, failed, inFlight } = r.summary();
  assert.equal({ requests, failed, inFlight }, { requests: 3, failed: 2, inFlight: 0 });
});

test("LoadRecord tells percentiles within a tenth, of answered requests only", () => {
  const { record: r, pass } = record();
  for (let ms = 1; ms <= 100; ms++) {
    const seen = r.begin();
    pass(ms);
    r.end(seen, "");
  }
  const failed = r.begin();
  pass(9_000);
  r.end(failed, "no");
  const { p50Ms, p95Ms, p99Ms } = r.summary();
  for (const [is, should] of [[p50Ms, 50], [p95Ms, 95], [p99Ms, 99]] as const) {
    assert.ok(Math.abs(is - should) / should < 0.1, `${is} is not about ${should}`);
  }
  assert.is(record().record.summary().p50Ms, 0, "nothing yet");
});

test("a swap is crossed by what was under way at its begin and by what began during it", async () => {
  const { record: r } = record();
  const before = r.begin();
  r.end(r.begin(), "");
  const early = r.begin();
  r.beginSwap("1");
  const during = r.begin();
  r.end(early, "");
  let told = false;
  const ended = r.endSwap("1").then((swap) => {
    told = true;
    return swap;
  });
  r.end(r.begin(), "after the swap");
  r.end(before, "");
  await Promise.resolve();
  assert.not.ok(told, "one is still under way");
  r.end(during, "reset");
  assert.equal(await ended, { id: "1", crossed: 3, failed: 1 });
});

test("a swap that nothing crossed ends at once, and an unknown one counts nothing", async () => {
  const { record: r } = record();
  r.beginSwap("1");
  assert.equal(await r.endSwap("1"), { id: "1", crossed: 0, failed: 0 });
  assert.equal(await r.endSwap("2"), { id: "2", crossed: 0, failed: 0 });
});

test("idle() waits for the last request", async () => {
  const { record: r } = record();
  await r.idle();
  const seen = r.begin();
  let idle = false;
  const waiting = r.idle().then(() => (idle = true));
  await Promise.resolve();
  assert.not.ok(idle);
  r.end(seen, "");
  await waiting;
  assert.ok(idle);
});

test.run();
