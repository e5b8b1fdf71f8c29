import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

const open = (config = {}) => loadFilter(import.meta.dirname ?? ".", { config });

test("retry repeats a GET that failed, twice at most, and waits longer each time", async () => {
  const filter = await open({ backoffMs: 100, jitter: 0 });
  filter.request({ method: "GET" });
  assert.is(filter.outcome({ status: 503 }).delayMs, 100);
  assert.is(filter.outcome({ error: "reset" }).delayMs, 200);
  assert.not.ok(filter.outcome({ status: 503 }).retry);
  assert.is(filter.metric("retry_decisions_total"), 2);
});

test("retry repeats a POST only when nothing was sent", async () => {
  const filter = await open();
  filter.request({ method: "POST" });
  assert.not.ok(filter.outcome({ status: 503 }).retry);
  filter.request({ method: "POST" });
  assert.ok(filter.outcome({ error: "connect" }).retry);
});

test("retry waits no longer than maxBackoffMs", async () => {
  const filter = await open({ backoffMs: 100, maxBackoffMs: 150, maxRetries: 9, jitter: 0 });
  filter.request({ method: "GET" });
  assert.is(filter.outcome({ status: 503 }).delayMs, 100);
  assert.is(filter.outcome({ status: 503 }).delayMs, 150);
  assert.is(filter.outcome({ status: 503 }).delayMs, 150);
});

test("retry bounds each attempt but the last", async () => {
  const filter = await open({ maxRetries: 1, attemptTimeoutMs: 50 });
  filter.request({ method: "GET" });
  assert.is(filter.attempt({}).timeoutMs, 50);
  assert.ok(filter.outcome({ error: "timeout" }).retry);
  assert.is(filter.attempt({}).timeoutMs, 0);
});

test("retry stays below 1,200 instructions", async () => {
  const filter = await open();
  filter.request({ method: "TRACE" });
  const { fuel } = filter.outcome({ status: 503 });
  assert.ok(fuel > 0 && fuel < 1_200, `${fuel} instructions`);
});

test.run();
