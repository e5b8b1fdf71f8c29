import { test } from "uvu";
import * as assert from "uvu/assert";

const file = new URL("../../src/dashboard/format.js", import.meta.url);
const format = await import(file.href);

/** Each function with what it is given and what it says. */
const CASES: Record<string, [unknown, string][]> = {
  percent: [
    [null, "–"],
    [1, "100 %"],
    [0.99999, "99.99 %"],
    [0.999, "99.90 %"],
    [0.95, "95.0 %"],
    [0.29, "29.0 %"],
    [0, "0.0 %"],
  ],
  rate: [[0, "0/s"], [0.04, "<0.1/s"], [2.25, "2.3/s"], [9.96, "10.0/s"], [1234.4, "1,234/s"]],
  duration: [[null, "–"], [0.52, "0.5 ms"], [42.4, "42 ms"], [1234, "1.23 s"], [50_000, "50 s"]],
  nanoseconds: [[0, "–"], [640, "640 ns"], [1200, "1.2 µs"], [42_000, "42 µs"], [2e6, "2.0 ms"]],
  size: [[512, "512 B"], [4096, "4.0 KiB"], [40_960, "40 KiB"]],
  short: [["a".repeat(64), "aaaaaaaa"], [null, "none"], [undefined, "none"]],
  remaining: [
    [-1, "expired"],
    [59_000, "0 min"],
    [7_100_000, "118 min"],
    [84_000_000, "23 h"],
    [864_000_000, "10 days"],
  ],
  health: [[null, "idle"], [1, "good"], [0.999, "good"], [0.99, "warn"], [0.9, "bad"]],
};

for (const [name, cases] of Object.entries(CASES)) {
  test(`${name}() says figures as people read them`, () => {
    for (const [value, text] of cases) assert.is(format[name](value), text, String(value));
  });
}

test("percent() says 100 % of nothing less than all", () => {
  for (const requests of [1e3, 1e5, 1e7, 1e9]) {
    assert.is.not(format.percent((requests - 1) / requests), "100 %");
  }
});

test("plural() counts", () => {
  assert.is(format.plural(1, "proxy", "proxies"), "1 proxy");
  assert.is(format.plural(1200, "service"), "1,200 services");
});

test.run();
