import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseDurationMs, parseWhole, quote } from "../../src/cli/flags.ts";
import { editDistance, nearest } from "../../src/cli/suggest.ts";

test("parseDurationMs() takes a number with a unit and nothing else", () => {
  assert.is(parseDurationMs("--duration", "20s"), 20_000);
  assert.is(parseDurationMs("--duration", "500ms"), 500);
  assert.is(parseDurationMs("--duration", "1.5m"), 90_000);
  for (const bad of ["20", "s", "-1s", "0s", "1 s", "1d", "1e3s", "99999999999s", "", "1s2"]) {
    assert.throws(
      () => parseDurationMs("--duration", bad),
      /--duration ".*" is not a duration/,
      bad,
    );
  }
});

test("parseWhole() takes whole numbers within bounds", () => {
  assert.is(parseWhole("--rate", "40", 1, 50), 40);
  for (const bad of ["0", "51", "1.5", "x", "-1", "", "1e1", "9999999999"]) {
    assert.throws(
      () => parseWhole("--rate", bad, 1, 50),
      /is not a whole number from 1 to 50/,
      bad,
    );
  }
});

test("quote() keeps what a user typed in one bounded line", () => {
  assert.is(quote("a\nb"), '"a\\nb"');
  assert.is(quote("x".repeat(500)).length, 82);
});

test("nearest() suggests what was probably meant, and nothing far off", () => {
  const known = ["--listen", "--to", "--admin", "--filter", "--upstream-protocol"];
  assert.is(nearest("--listne", known), "--listen");
  assert.is(nearest("--filters", known), "--filter");
  assert.is(nearest("--up", known), "--upstream-protocol");
  assert.is(nearest("--banana", known), null);
  assert.is(nearest("-".repeat(10_000), known), null);
});

test("editDistance() counts a swap of neighbours once", () => {
  assert.is(editDistance("demo", "demo"), 0);
  assert.is(editDistance("dmeo", "demo"), 1);
  assert.is(editDistance("", "abc"), 3);
  assert.is(editDistance("kitten", "sitting"), 3);
});

test.run();
