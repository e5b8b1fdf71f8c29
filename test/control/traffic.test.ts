// Retries and time-outs that a Service's annotations ask for, as clients get them.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Field, FieldError } from "../../src/control/field.ts";
import { trafficOf } from "../../src/control/kinds/traffic.ts";

const of = (annotations: Record<string, unknown>) =>
  trafficOf(new Field(annotations, ["metadata", "annotations"]));
const refusal = (annotations: Record<string, unknown>): string => {
  try {
    of(annotations);
  } catch (e) {
    assert.instance(e, FieldError);
    return (e as FieldError).message;
  }
  throw new Error(`${JSON.stringify(annotations)} was not refused`);
};

test("a Service without annotations has neither retries nor a time-out", () => {
  assert.equal(of({}), { retry: null, grpcRetry: null, limits: null });
  assert.equal(of({ "retry.linkerd.io/limit": "0", "retry.linkerd.io/timeout": "0" }).retry, null);
});

test("the annotations for retries mean statuses, codes, a limit and a time-out for each attempt", () => {
  const { retry } = of({
    "retry.linkerd.io/http": "5xx, gateway-error,429,400-404",
    "retry.linkerd.io/grpc": "unavailable,internal",
    "retry.linkerd.io/limit": "3",
    "retry.linkerd.io/timeout": "250ms",
  });
  assert.equal(retry, {
    statuses: [
      { min: 500, max: 599 },
      { min: 502, max: 504 },
      { min: 429, max: 429 },
      { min: 400, max: 404 },
    ],
    maxRetries: 3,
    attemptTimeoutMs: 250,
    backoff: { minMs: 25, maxMs: 250, jitter: 1 },
  });
});

test("with any of them there is one retry, and without conditions no status is tried again", () => {
  assert.is(of({ "retry.linkerd.io/http": "503" }).retry?.maxRetries, 1);
  assert.is(
    of({ "retry.linkerd.io/limit": "0", "retry.linkerd.io/http": "5xx" }).retry?.maxRetries,
    1,
  );
  assert.equal(of({ "retry.linkerd.io/limit": "2" }).retry?.statuses, []);
  assert.is(of({ "retry.linkerd.io/limit": "1000" }).retry?.maxRetries, 10);
});

test("statuses are for requests, codes for gRPC calls, limit and time-out for both", () => {
  const http = of({ "retry.linkerd.io/http": "5XX" });
  assert.equal(http.retry?.statuses, [{ min: 500, max: 599 }]);
  assert.is(http.grpcRetry, null);
  const grpc = of({ "retry.linkerd.io/grpc": "Unavailable" });
  assert.is(grpc.retry, null);
  assert.equal(grpc.grpcRetry?.grpc, ["unavailable"]);
  const both = of({ "retry.linkerd.io/limit": "4" });
  assert.is(both.retry?.maxRetries, 4);
  assert.is(both.grpcRetry?.maxRetries, 4);
});

test("each time-out stands for itself, and 0 says that there is none", () => {
  assert.equal(of({ "timeout.linkerd.io/request": "2s" }).limits, {
    requestMs: 2000,
    responseMs: 0,
    idleMs: 0,
  });
  assert.equal(
    of({
      "timeout.linkerd.io/request": "0",
      "timeout.linkerd.io/response": " 500ms ",
      "timeout.linkerd.io/idle": "1h",
    }).limits,
    { requestMs: 0, responseMs: 500, idleMs: 3_600_000 },
  );
});

test("what cannot be read is refused with the annotation's name and what to write", () => {
  assert.match(refusal({ "retry.linkerd.io/http": "6xx" }), /retry\.linkerd\.io\/http.*write 5xx/);
  assert.match(refusal({ "retry.linkerd.io/http": "504-502" }), /504-502/);
  assert.match(refusal({ "retry.linkerd.io/grpc": "ok" }), /write one of cancelled/);
  assert.match(refusal({ "retry.linkerd.io/limit": "many" }), /not a number of retries/);
  assert.match(refusal({ "timeout.linkerd.io/request": "10" }), /not a duration/);
});

test.run();
