import { test } from "uvu";
import * as assert from "uvu/assert";
import { OUTCOME_CONNECT, OUTCOME_RESET, OUTCOME_TIMEOUT } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { exchange, moduleBytes, refTo } from "../wasm/support.ts";

const module = moduleBytes("retry");

/** The delay that the filter asks for, or -1. */
async function decide(
  config: object,
  of: { method?: string; status?: number; error?: number; attempt?: number; grpc?: number },
  chance = 0,
): Promise<number> {
  const engine = createEngine({ clock: new FakeClock(), random: () => chance });
  const chain = engine.chain([await engine.prepare(module, refTo(module, config))]);
  const { method = "GET", status = 0, error = 0, attempt = 0, grpc = -1 } = of;
  const x = exchange(`${method} / HTTP/1.1\nhost: svc`);
  chain.requestHead(x);
  x.attempt = attempt;
  x.grpcStatus = grpc;
  return chain.attemptOutcome(x, { status, error, elapsedMs: 5 });
}

test("retry asks again on 502 to 504 by default, and on nothing else", async () => {
  for (const status of [502, 503, 504]) assert.is(await decide({}, { status }), 10);
  for (const status of [200, 404, 429, 500, 501, 505, 599]) {
    assert.is(await decide({}, { status }), -1);
  }
});

test("retry takes statuses and ranges from its configuration", async () => {
  const config = { statuses: "502-504, 500,429" };
  for (const status of [429, 500, 502, 503, 504]) assert.is(await decide(config, { status }), 10);
  for (const status of [428, 430, 501, 505]) assert.is(await decide(config, { status }), -1);
  assert.is(await decide({ statuses: "100-599" }, { status: 599 }), 10);
  assert.is(await decide({ statuses: "" }, { status: 503 }), -1);
});

test("retry stops after maxRetries", async () => {
  assert.is(await decide({}, { status: 503, attempt: 1 }), 20);
  assert.is(await decide({}, { status: 503, attempt: 2 }), -1);
  assert.is(await decide({ maxRetries: 0 }, { status: 503 }), -1);
  assert.is(await decide({ maxRetries: 3 }, { status: 503, attempt: 2 }), 40);
});

test("retry doubles its back-off and takes off a random part of it", async () => {
  const config = { backoffMs: 100, jitter: 0.5, maxRetries: 5 };
  assert.is(await decide(config, { status: 503, attempt: 3 }, 0), 800);
  assert.is(await decide(config, { status: 503, attempt: 3 }, 0.5), 600);
  assert.is(await decide({ ...config, jitter: 0 }, { status: 503 }, 0.9), 100);
});

test("retry repeats only what is idempotent, unless told or nothing was sent", async () => {
  for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]) {
    assert.is(await decide({}, { method, status: 503 }), 10, method);
  }
  for (const method of ["POST", "PATCH", "get"]) {
    assert.is(await decide({}, { method, status: 503 }), -1, method);
    assert.is(await decide({}, { method, error: OUTCOME_RESET }), -1, method);
    assert.is(await decide({}, { method, error: OUTCOME_CONNECT }), 10, method);
    assert.is(await decide({ anyMethod: true }, { method, status: 503 }), 10, method);
  }
});

test("retry repeats what failed without a response", async () => {
  for (const error of [OUTCOME_CONNECT, OUTCOME_RESET, OUTCOME_TIMEOUT]) {
    assert.is(await decide({}, { error }), 10);
  }
});

test("retry repeats gRPC calls that ended with a code of its configuration", async () => {
  const config = { grpc: ["unavailable", "resource-exhausted"] };
  const call = { method: "POST", status: 200 };
  for (let grpc = -1; grpc < 20; grpc++) {
    assert.is(
      await decide(config, { ...call, grpc }),
      grpc === 14 || grpc === 8 ? 10 : -1,
      `${grpc}`,
    );
  }
  assert.is(await decide({}, { ...call, grpc: 14 }), -1);
  const all = [1, 2, 4, 7, 8, 10, 13, 14, 15];
  const names = [
    ...["cancelled", "unknown", "deadline-exceeded", "permission-denied", "resource-exhausted"],
    ...["aborted", "internal", "unavailable", "data-loss"],
  ];
  for (const [i, name] of names.entries()) {
    assert.is(await decide({ grpc: [name] }, { ...call, grpc: all[i]! }), 10, name);
  }
});

test("retry counts what it does not repeat by why", async () => {
  const engine = createEngine({ clock: new FakeClock(), random: () => 0 });
  const chain = engine.chain([await engine.prepare(module, refTo(module))]);
  const ask = (method: string, attempt: number, status: number) => {
    const x = exchange(`${method} / HTTP/1.1\nhost: svc`);
    chain.requestHead(x);
    x.attempt = attempt;
    return chain.attemptOutcome(x, { status, error: 0, elapsedMs: 1 });
  };
  assert.is(ask("GET", 2, 503), -1);
  assert.is(ask("POST", 0, 503), -1);
  assert.is(ask("GET", 2, 200), -1);
  assert.equal(engine.series().map((s) => [s.metric.name, s.labels.reason, s.values]), [
    ["retry_skipped_total", "limit", [1]],
    ["retry_skipped_total", "method", [1]],
  ]);
});

test("retry refuses a gRPC code that it does not know", async () => {
  const engine = createEngine({ clock: new FakeClock() });
  await engine.prepare(module, refTo(module, { grpc: ["unavailable", "ok"] })).then(
    () => assert.unreachable("it was taken"),
    (e: Error) => assert.match(e.message, /grpc.* has a name that is no code to retry/),
  );
});

test("retry counts its decisions by reason", async () => {
  const engine = createEngine({ clock: new FakeClock(), random: () => 0 });
  const chain = engine.chain([await engine.prepare(module, refTo(module))]);
  const x = exchange("GET / HTTP/1.1\nhost: svc");
  chain.requestHead(x);
  chain.attemptOutcome(x, { status: 503, error: 0, elapsedMs: 1 });
  chain.attemptOutcome(x, { status: 0, error: OUTCOME_RESET, elapsedMs: 1 });
  chain.attemptOutcome(x, { status: 200, error: 0, elapsedMs: 1 });
  const counts = engine.series().map((s) => [s.metric.name, s.labels.reason, s.values]);
  assert.equal(counts, [
    ["retry_decisions_total", "reset", [1]],
    ["retry_decisions_total", "status", [1]],
  ]);
});

test.run();
