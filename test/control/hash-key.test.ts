import { test } from "uvu";
import * as assert from "uvu/assert";
import { Field, FieldError } from "../../src/control/field.ts";
import { hashOf } from "../../src/control/kinds/hash-key.ts";

const of = (annotations: Record<string, string>) =>
  hashOf(new Field(annotations, ["metadata", "annotations"]));
const HASH = "balancer.tulle.dev/hash";
const TTL = "balancer.tulle.dev/hash-cookie-ttl";

test("a Service is balanced by load unless it says otherwise", () => {
  assert.is(of({}), null);
});

test("the annotation names a header, a cookie with its time, or the source", () => {
  assert.equal(of({ [HASH]: "header:X-User" }), { kind: "header", name: "x-user" });
  assert.equal(of({ [HASH]: "cookie:SID" }), { kind: "cookie", name: "SID", ttlMs: 0 });
  assert.equal(of({ [HASH]: "cookie:sid", [TTL]: "1h" }), {
    kind: "cookie",
    name: "sid",
    ttlMs: 3_600_000,
  });
  assert.equal(of({ [HASH]: "source" }), { kind: "source" });
});

test("what cannot be read is refused with the annotation's name and what to write", () => {
  for (
    const [annotations, message] of [
      [{ [HASH]: "header" }, /balancer\.tulle\.dev\/hash: is "header": write header:NAME/],
      [{ [HASH]: "header:" }, /write header:NAME, cookie:NAME or source/],
      [{ [HASH]: "header:a b" }, /write header:NAME/],
      [{ [HASH]: "source:x" }, /write header:NAME/],
      [{ [HASH]: "cookie:a", [TTL]: "soon" }, /hash-cookie-ttl: is "soon", not a duration/],
      [{ [HASH]: "source", [TTL]: "1h" }, /hash-cookie-ttl: is for .* cookie:NAME only/],
      [{ [TTL]: "1h" }, /hash-cookie-ttl: is set without/],
    ] as const
  ) {
    try {
      of(annotations);
      assert.unreachable(JSON.stringify(annotations));
    } catch (e) {
      assert.instance(e, FieldError);
      assert.match((e as FieldError).message, message);
    }
  }
});

test.run();
