// The arithmetic of the HTTP/2 bench; the bench itself needs peers and quiet cores.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { summarizeHttp2 } from "../../bench/http2.ts";
import { parseH2Load } from "../../bench/support/h2load.ts";

const REPORT = `starting benchmark...
finished in 2.00s, 43981.50 req/s, 8.31MB/s
requests: 87963 total, 88063 started, 87963 done, 87963 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 87963 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 16.61MB (17420000) total, 2.10MB (2200000) headers (space savings 90.01%), 9.80MB data
                     min         max         mean         sd        +/- sd
time for request:      301us     12.03ms      2.26ms       601us    80.11%
time for connect:       55us       402us       210us       120us    60.00%
`;

test("parseH2Load() reads counts, rate and mean time", () => {
  assert.equal(parseH2Load(REPORT), {
    requests: 87963,
    requestsPerSecond: 43981.5,
    meanMs: 2.26,
    errors: 0,
  });
});

test("parseH2Load() counts what failed and what was not a success", () => {
  const bad = REPORT.replace("0 failed, 0 errored, 0 timeout", "1 failed, 2 errored, 3 timeout")
    .replace("87963 2xx", "87959 2xx");
  assert.is(parseH2Load(bad).errors, 10);
  assert.throws(() => parseH2Load("connection refused"), /no report: connection refused/);
});

test("ratios are against the peer that costs less, round by round", () => {
  const round = (cpuMicros: number) => ({
    cpuMicros,
    requests: 1,
    requestsPerSecond: 1,
    meanMs: 1,
    errors: 0,
  });
  const { betterPeer, rows } = summarizeHttp2([
    { name: "nginx", rounds: [round(20), round(40), round(20)] },
    { name: "haproxy", rounds: [round(10), round(20), round(10)] },
    { name: "tulle", rounds: [round(15), round(30), round(15)] },
  ]);
  assert.is(betterPeer, "haproxy");
  assert.equal(rows.map((r) => r.ratio), [2, 1, 1.5]);
});

test.run();
