// The arithmetic of the benches; the benches themselves need peers and quiet cores.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Round, summarize } from "../../bench/http1.ts";
import { BODY } from "../../bench/support/peers.ts";
import { median, table } from "../../bench/support/table.ts";
import { HEADERS, parseReport } from "../../bench/support/wrk.ts";

const REPORT = `Running 2s test @ http://127.0.0.1:1/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.95ms  200.00us   3.00ms   80.00%
    Req/Sec    52.50k     1.10k   54.00k    70.00%
  Latency Distribution
     50%  840.00us
     75%    1.00ms
     90%    1.20ms
     99%    1.41ms
  104999 requests in 2.00s, 28.94MB read
Requests/sec:  52499.31
Transfer/sec:     14.47MB
`;

test("parseReport() reads counts and latencies in milliseconds", () => {
  assert.equal(parseReport(REPORT), {
    requests: 104999,
    requestsPerSecond: 52499.31,
    p50Ms: 0.84,
    p99Ms: 1.41,
    errors: 0,
  });
});

test("parseReport() adds up what went wrong", () => {
  const bad = `${REPORT}  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5\n`;
  assert.is(parseReport(bad).errors, 15);
});

test("parseReport() refuses a report without a figure", () => {
  assert.throws(() => parseReport(REPORT.replace(/Requests\/sec.*\n/, "")), "rate");
  assert.throws(() => parseReport(REPORT.replace("840.00us", "soon")), "soon");
});

test("summarize() compares each round with the better peer's same round", () => {
  const rounds = (...cpu: number[]): Round[] =>
    cpu.map((cpuMicros) => ({
      cpuMicros,
      requests: 1000,
      requestsPerSecond: 1000,
      p50Ms: 1,
      p99Ms: 2,
      errors: 0,
    }));
  // The machine slows down to half in the second and third round.
  const { betterPeer, rows } = summarize(
    new Map([
      ["nginx", rounds(10, 20, 20)],
      ["haproxy", rounds(12, 24, 24)],
      ["tulle", rounds(15, 30, 30)],
    ]),
    new Map([["tulle", 60]]),
  );
  assert.is(betterPeer, "nginx");
  assert.equal(rows.map((r) => r.ratio), [1, 1.2, 1.5]);
  assert.is(rows[2]?.cpuMicros, 30);
  assert.is(rows[2]?.rssMiB, 60);
});

test("median() and table()", () => {
  assert.is(median([3, 1, 2]), 2);
  assert.is(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
  assert.is(table(["", "n"], [["a", "1"], ["bc", "22"]]), "     n\na    1\nbc  22");
});

test("the load is what the documents say: 117 bytes of answer, seven headers with Host", () => {
  assert.is(new TextEncoder().encode(BODY).length, 117);
  assert.is(HEADERS.length + 1, 7);
});

test.run();
