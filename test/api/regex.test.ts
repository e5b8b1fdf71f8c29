import { test } from "uvu";
import * as assert from "uvu/assert";
import { compileRegex, MAX_REGEX_LENGTH, regexSource } from "../../src/api/regex.ts";

test("compileRegex() adds anchors where they are missing and matches the whole value", () => {
  assert.ok(compileRegex("/books/\\d+").test("/books/12"));
  assert.not(compileRegex("/books/\\d+").test("/books/12/x"));
  assert.not(compileRegex("/books/\\d+").test("/x/books/12"));
  assert.ok(compileRegex("^/books$").test("/books"));
  assert.not(compileRegex("/a|/b").test("/a/x"), "an alternation is anchored as a whole");
  assert.ok(compileRegex("(?i)/Books").test("/bOOKS"));
});

test("compileRegex() accepts what service profiles write", () => {
  for (
    const source of [
      "/",
      "/.*",
      "/api/.*/items",
      "/user-[^/]+/item-[^/]+/x-[^/]+/y-[^/]+",
      "/a/[^/]*/b/[^/]*/c/[^/]*/d/[^/]*",
      "/users/\\d+/posts/(\\d+)/likes/\\d+/of/[a-z]+",
      "/(foo|bar)/.*",
      "/v[12](/.*)?",
      "/(?P<id>\\w+)\\.json",
      "/emojivoto\\.v1\\.VotingService/VotePoop",
    ]
  ) {
    assert.not.throws(() => compileRegex(source), undefined, source);
  }
});

test("compileRegex() refuses what could take long, and says why", () => {
  const cases: [string, RegExp][] = [
    ["/(a+)+b", /itself repeats/],
    ["/(a|a)*b", /itself repeats or chooses/],
    ["/((a?))*b", /itself repeats/],
    ["/(a*){2,}", /itself repeats/],
    [".*.*.*x", /overlap/],
    ["/.*a.*b.*c", /overlap/],
    ["a?".repeat(30) + "a".repeat(30), /optional/],
    ["a{0,60}".repeat(4), /overlap/],
    ["a{5000}", /1000/],
    ["x".repeat(MAX_REGEX_LENGTH + 1), /longer than 1024/],
  ];
  for (const [source, why] of cases) assert.throws(() => compileRegex(source), why, source);
});

test("compileRegex() refuses what RE2 and JavaScript read differently", () => {
  for (
    const source of ["(?=a)b", "(?<!a)b", "(a)\\1", "\\pL", "\\Aabc\\z", "[[:alpha:]]", "[]a]"]
  ) {
    assert.throws(() => compileRegex(source), undefined, source);
  }
  for (const source of ["(", ")", "[a", "a\\", "a{2,1}", "*"]) {
    assert.throws(() => compileRegex(source), undefined, source);
  }
});

test("compileRegex() bounds the work of the worst accepted expressions", () => {
  // The longest value that is still examined, and one that no examination reaches.
  const regex = compileRegex(".*a.*b");
  const from = performance.now();
  assert.not(regex.test("a".repeat(2048)));
  assert.not(regex.test("a".repeat(1_000_000)));
  assert.not(compileRegex(".*/[^/]*x").test("/".repeat(60_000)));
  assert.not(compileRegex("/.*-\\d+").test("-".repeat(60_000)));
  assert.ok(performance.now() - from < 1000);
});

test("regexSource() gives back what was compiled", () => {
  for (const source of ["/books/\\d+", "(?i)/x", "^/a$", ".*a.*b"]) {
    assert.is(regexSource(compileRegex(source)), source);
  }
});

test.run();
