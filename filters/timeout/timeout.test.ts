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

test("timeout stays below a thousand instructions", async () => {
  const filter = await open({ requestMs: 2000, grpcDeadline: true });
  const { fuel } = filter.request({ headers: { "grpc-timeout": "99999999m" } });
  assert.ok(fuel > 0 && fuel < 1_000, `${fuel} instructions`);
});

test.run();
