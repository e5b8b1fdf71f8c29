import { test } from "uvu";
import * as assert from "uvu/assert";
import { readJson, sha256 } from "../../src/api/admin.ts";
import * as s from "../../src/api/schema.ts";

function refusal<T>(check: s.Check<T>, value: unknown): string {
  try {
    check(value, "");
  } catch (e) {
    assert.instance(e, s.Mismatch);
    return (e as Error).message;
  }
  return "";
}

const shop = s.object({
  name: s.text(8),
  open: s.flag,
  share: s.nullable(s.share),
  kind: s.oneOf("a", "b"),
  items: s.list(s.object({ n: s.amount }), 2),
  extra: s.dictionary(s.amount, 2),
});
const GOOD = { name: "x", open: true, share: null, kind: "a", items: [{ n: 1 }], extra: { q: 2 } };

test("object() reads its fields and drops the others", () => {
  assert.equal(shop({ ...GOOD, more: 1 }, ""), GOOD);
});

test("a mismatch names the path, what was wanted and what was found", () => {
  const cases: [object, string][] = [
    [{ name: 1 }, "name must be a string of at most 8 characters, found 1"],
    [{ name: "123456789" }, 'name must be a string of at most 8 characters, found "123456789"'],
    [{ open: "yes" }, 'open must be true or false, found "yes"'],
    [{ share: 1.1 }, "share must be a number from 0 to 1, found 1.1"],
    [{ share: undefined }, "share must be a number from 0 to 1, found nothing"],
    [{ kind: "c" }, 'kind must be one of a, b, found "c"'],
    [{ items: {} }, "items must be a list of at most 2, found an object"],
    [{ items: [{ n: 1 }, { n: -1 }] }, "items[1].n must be a number of 0 or more, found -1"],
    [{ items: [1, 2, 3] }, "items must be a list of at most 2, found a list of 3"],
    [{ items: [{ n: NaN }] }, "items[0].n must be a number of 0 or more, found NaN"],
    [{ extra: { q: null } }, "extra.q must be a number of 0 or more, found null"],
    [
      { extra: { a: 1, b: 1, c: 1 } },
      "extra must be an object of at most 2 fields, found an object",
    ],
  ];
  for (const [wrong, message] of cases) assert.is(refusal(shop, { ...GOOD, ...wrong }), message);
});

test("what is inherited is not a field", () => {
  assert.match(refusal(shop, Object.create(GOOD)), "name must be");
  assert.match(refusal(s.object({ toString: s.text() }), {}), "found nothing");
});

test("a field named __proto__ is a field like another", () => {
  const read = s.dictionary(s.amount)(JSON.parse('{"__proto__": 1}'), "");
  assert.equal(Object.entries(read), [["__proto__", 1]]);
});

test("a digest is 64 lower-case hex digits", () => {
  assert.is(sha256("a1".repeat(32), ""), "a1".repeat(32));
  for (const bad of ["A1".repeat(32), "a1".repeat(31), "a1".repeat(32) + "\n", "g1".repeat(32)]) {
    assert.match(refusal(sha256, bad), "64 lower-case hex digits", bad);
  }
});

test("readJson() answers with a value or with one line", () => {
  assert.equal(readJson(s.object({ n: s.amount }), '{"n":1}'), { value: { n: 1 } });
  const mismatch = readJson(s.object({ n: s.amount }), '{"n":"1"}');
  assert.equal(mismatch, { error: 'n must be a number of 0 or more, found "1"' });
  const broken = readJson(s.amount, "{\n");
  assert.ok("error" in broken && /^not JSON: [^\n]+$/.test(broken.error));
});

test.run();
