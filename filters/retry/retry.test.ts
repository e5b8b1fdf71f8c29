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

/** What a request with these headers gets from a route that says nothing itself. */
async function asked(headers: Record<string, string>, config: object = {}) {
  const filter = await open({
    statuses: "",
    maxRetries: 0,
    anyMethod: true,
    requestHeaders: true,
    ...config,
  });
  return (outcome: Parameters<typeof filter.outcome>[0]) => {
    filter.request({ method: "POST", headers });
    const { timeoutMs } = filter.attempt({});
    let retries = 0;
    while (filter.outcome(outcome).retry) retries++;
    return { retries, timeoutMs };
  };
}

test("retry takes what a request asks for in headers, where the route lets it", async () => {
  const retries = async (headers: Record<string, string>, status: number, config = {}) =>
    (await asked(headers, config))({ status }).retries;
  assert.is(await retries({}, 503), 0);
  assert.is(await retries({ "l5d-retry-http": "5xx" }, 503), 1);
  assert.is(await retries({ "l5d-retry-http": "5xx" }, 429), 0);
  assert.is(await retries({ "l5d-retry-http": "429, gateway-error,410-412" }, 411), 1);
  assert.is(await retries({ "l5d-retry-http": "429,gateway-error" }, 502), 1);
  assert.is(await retries({ "l5d-retry-http": "429,gateway-error" }, 501), 0);
  assert.is(await retries({ "l5d-retry-http": "429", "l5d-retry-limit": "3" }, 429), 3);
  assert.is(await retries({ "l5d-retry-http": "429", "l5d-retry-limit": "99" }, 429), 10);
  // Without a condition no status is tried again, whatever the limit.
  assert.is(await retries({ "l5d-retry-limit": "3" }, 503), 0);
  assert.is(await retries({ "l5d-retry-limit": "0" }, 503, { statuses: "503", maxRetries: 2 }), 0);
  assert.is(await retries({ "l5d-retry-http": "500" }, 503, { statuses: "503", maxRetries: 2 }), 0);
  for (const wrong of ["", "x", "5x", "99", "600", "503-", "-503", "5033", "504-503", "5xxx"]) {
    assert.is(await retries({ "l5d-retry-http": wrong }, 503), 0, wrong);
  }
  const off = { requestHeaders: false, statuses: "500", maxRetries: 2 };
  assert.is(await retries({ "l5d-retry-http": "503", "l5d-retry-limit": "5" }, 503, off), 0);
});

test("retry takes codes and the attempt's time-out from headers", async () => {
  const grpc = await asked({ "l5d-retry-grpc": "unavailable, internal" });
  assert.is(grpc({ status: 200, grpcStatus: 14 }).retries, 1);
  assert.is(grpc({ status: 200, grpcStatus: 13 }).retries, 1);
  assert.is(grpc({ status: 200, grpcStatus: 8 }).retries, 0);
  const timed = await asked({ "l5d-retry-timeout": "250ms" });
  assert.equal(timed({ error: "timeout" }), { retries: 1, timeoutMs: 250 });
  const own = { attemptTimeoutMs: 70, maxRetries: 1 };
  for (
    const [text, ms] of [["2s", 2000], ["1m", 60_000], ["9h", 3_600_000], ["soon", 70], ["5", 70]]
  ) {
    const of = await asked({ "l5d-retry-timeout": String(text) }, own);
    assert.is(of({ status: 200 }).timeoutMs, ms, String(text));
  }
});

test("retry stays below 2,000 instructions", async () => {
  const filter = await open();
  filter.request({ method: "TRACE" });
  const { fuel } = filter.outcome({ status: 503 });
  assert.ok(fuel > 0 && fuel < 2_000, `${fuel} instructions`);
});

test.run();
