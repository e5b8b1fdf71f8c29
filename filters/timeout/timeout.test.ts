import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

const open = (config = {}) => loadFilter(import.meta.dirname ?? ".", { config });

test("timeout bounds the request and each attempt", async () => {
  const filter = await open({ requestMs: 1000, attemptMs: 300 });
  const request = filter.request();
  assert.is(request.requestTimeoutMs, 1000);
  assert.is(request.timeoutMs, 300);
});

test("timeout without configuration changes nothing", async () => {
  const filter = await open();
  const request = filter.request({ headers: { "grpc-timeout": "5S" } });
  assert.is(request.requestTimeoutMs, 0);
  assert.is(request.timeoutMs, 0);
});

test("timeout takes a gRPC client's deadline when it is the shorter one", async () => {
  const filter = await open({ requestMs: 2000, grpcDeadline: true });
  const limit = (value: string) =>
    filter.request({ headers: { "grpc-timeout": value } }).requestTimeoutMs;
  assert.is(limit("1S"), 1000);
  assert.is(limit("150m"), 150);
  assert.is(limit("1500u"), 2);
  assert.is(limit("99999999n"), 100);
  assert.is(limit("5S"), 2000);
  assert.is(limit("1H"), 2000);
  for (const wrong of ["", "S", "12", "1x", "-1S", "123456789S", "0S"]) {
    assert.is(limit(wrong), 2000, wrong);
  }
});

test("timeout bounds the exchange, the response and silence", async () => {
  const filter = await open({ exchangeMs: 86_400_000, responseMs: 500, idleMs: 2_147_483_647 });
  const { exchangeLimitMs, responseLimitMs, idleLimitMs, requestTimeoutMs } = filter.request();
  assert.equal(
    [exchangeLimitMs, responseLimitMs, idleLimitMs, requestTimeoutMs],
    [86_400_000, 500, 2_147_483_647, 0],
  );
});

test("timeout takes what a request asks for in headers, where the route lets it", async () => {
  const filter = await open({ exchangeMs: 7, responseMs: 8, requestHeaders: true });
  const limits = (headers: Record<string, string>) => {
    const { exchangeLimitMs, responseLimitMs } = filter.request({ headers });
    return [exchangeLimitMs, responseLimitMs];
  };
  assert.equal(limits({}), [7, 8]);
  assert.equal(limits({ "l5d-timeout": "2s" }), [2000, 8]);
  assert.equal(limits({ "l5d-timeout": "2s", "l5d-request-timeout": "3m" }), [180_000, 8]);
  assert.equal(limits({ "l5d-response-timeout": "250ms" }), [7, 250]);
  assert.equal(limits({ "l5d-timeout": "1d", "l5d-response-timeout": "2h" }), [
    86_400_000,
    7_200_000,
  ]);
  assert.equal(limits({ "l5d-timeout": "99999d" }), [2_147_483_647, 8]);
  // Zero is none.
  assert.equal(limits({ "l5d-timeout": "0", "l5d-response-timeout": "0s" }), [0, 0]);
  for (const wrong of ["", "s", "5", "1.5s", "-1s", "1x", "1 s", "1msx", "1234567890123ms"]) {
    assert.equal(limits({ "l5d-timeout": wrong }), [7, 8], wrong);
  }
  const deaf = await open({ exchangeMs: 7 });
  assert.is(deaf.request({ headers: { "l5d-timeout": "2s" } }).exchangeLimitMs, 7);
});

test("timeout stays below a thousand instructions", async () => {
  const filter = await open({ requestMs: 2000, grpcDeadline: true });
  const { fuel } = filter.request({ headers: { "grpc-timeout": "99999999m" } });
  assert.ok(fuel > 0 && fuel < 1_000, `${fuel} instructions`);
});

test.run();
