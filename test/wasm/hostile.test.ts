import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  CONTINUE,
  FAILED,
  type FailurePolicy,
  type FilterRef,
  HOOK_END,
  REPLY,
} from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { get, moduleBytes, refTo, refusal, responseHead, seen } from "./support.ts";

const hostile = moduleBytes("fixtures/hostile");
const policy = moduleBytes("fixtures/policy");

async function open(failurePolicy: FailurePolicy, more: Partial<FilterRef> = {}) {
  const clock = new FakeClock();
  const engine = createEngine({ clock, random: () => 0.5 });
  const bad = await engine.prepare(
    hostile,
    refTo(hostile, null, { name: "bad", failurePolicy, ...more }),
  );
  const good = await engine.prepare(policy, refTo(policy, null, { name: "good" }));
  return { clock, engine, bad, good, chain: engine.chain([bad]) };
}

const DEEDS: readonly (readonly [deed: string, reason: RegExp])[] = [
  ["loop", /onRequest used more than 1000000 instructions \(out of fuel\)/],
  ["recurse", /out of fuel|recursed without end \(the stack is exhausted\)/],
  ["memory", /onRequest trapped: unreachable \(its memory is full: 16 of 16 pages\)/],
  ["fill", /out of fuel/],
  ["clock", /out of fuel/],
  ["trap", /onRequest trapped: unreachable/],
  ["abort", /onRequest trapped: on purpose, in hostile\/onRequest/],
  ["forge", /onRequest trapped: a x-forged: 1 , in/],
  ["edits", /more than 256 changes to one head/],
  ["crlf", /a header's value has NUL, CR or LF/],
  ["path", /a path starts with \//],
  ["response", /there is a response only in onResponse/],
  ["action", /returned 77, which is no action/],
  ["unsaid", /returned REPLY without a call of reply/],
  ["status", /42 is not a status to reply with/],
];

for (const [deed, reason] of DEEDS) {
  test(`a filter whose deed is "${deed}" is stopped with a named reason and harms nobody`, async () => {
    const { engine, chain, good } = await open("closed");
    const x = get("/", { "x-deed": deed });
    const before = performance.now();
    assert.is(chain.requestHead(x), FAILED);
    assert.ok(performance.now() - before < 2000, "bounded in time");
    assert.match(x.filterError, reason);
    assert.match(x.filterError, /^filter "bad" failed: /);
    assert.is(engine.stats()[0]?.traps, 1);
    const other = get("/", { "x-user-tier": "gold" });
    assert.is(engine.chain([good]).requestHead(other), CONTINUE);
    assert.is(seen(other.request, "x-priority"), "high");
    assert.is(chain.requestHead(get("/")), CONTINUE, "a new instance took over");
  });
}

test("with the policy open a request passes as if the filter were not there", async () => {
  const { chain } = await open("open");
  const x = get("/here", { "x-deed": "then-trap" });
  assert.is(chain.requestHead(x), CONTINUE);
  assert.is(x.filterError, "");
  assert.is(seen(x.request, "x-many"), null, "what the filter did before is undone");
  assert.is(x.request.path, "/here");
});

test("a trap in the response undoes its edits and applies the policy", async () => {
  const closed = await open("closed");
  const x = get("/");
  closed.chain.requestHead(x);
  assert.is(closed.chain.responseHead(x, responseHead(200, { "x-deed": "trap" })), FAILED);
  assert.match(x.filterError, /onResponse trapped: unreachable/);
  const opened = await open("open");
  const y = get("/");
  opened.chain.requestHead(y);
  assert.is(opened.chain.responseHead(y, responseHead(200, { "x-deed": "trap" })), CONTINUE);
});

test("a trap or a senseless answer in the outcome means no retry when closed, no opinion when open", async () => {
  for (const status of [599, 598]) {
    const closed = await open("closed");
    const x = get("/");
    closed.chain.requestHead(x);
    assert.is(closed.chain.attemptOutcome(x, { status: 503, error: 0, elapsedMs: 1 }), 3);
    assert.is(closed.chain.attemptOutcome(x, { status, error: 0, elapsedMs: 1 }), -1);
    const opened = await open("open");
    const both = opened.engine.chain([opened.bad, opened.good]);
    assert.is(
      both.attemptOutcome(x, { status, error: 0, elapsedMs: 1 }),
      -1,
      "good: not a 5xx it knows",
    );
    assert.is(
      both.attemptOutcome(x, { status: 503, error: 0, elapsedMs: 1 }),
      10,
      "the longer delay",
    );
  }
});

test("a trap in the end is counted and nothing else", async () => {
  const { chain, engine } = await open("closed");
  assert.ok((chain.hooks & HOOK_END) !== 0);
  const x = get("/");
  chain.requestHead(x);
  chain.end(x, 599, 1);
  assert.is(engine.stats()[0]?.fuelExhausted, 1);
  assert.match(engine.stats()[0]?.lastError ?? "", /onEnd used more than/);
});

test("after repeated traps the failure policy applies until the back-off is over", async () => {
  const { chain, clock, engine } = await open("closed");
  for (let i = 0; i < 4; i++) assert.is(chain.requestHead(get("/", { "x-deed": "trap" })), FAILED);
  const x = get("/");
  assert.is(chain.requestHead(x), FAILED, "no new instance yet");
  assert.match(x.filterError, /unreachable/);
  assert.is(engine.stats()[0]?.traps, 4);
  clock.advance(150);
  assert.is(chain.requestHead(get("/")), CONTINUE);
  assert.is(chain.requestHead(get("/", { "x-deed": "trap" })), FAILED);
  clock.advance(150);
  assert.is(chain.requestHead(get("/")), FAILED, "the back-off has doubled");
  clock.advance(100);
  assert.is(chain.requestHead(get("/")), CONTINUE);
});

test("what was counted before a trap is kept", async () => {
  const { chain, engine } = await open("open");
  chain.requestHead(get("/"));
  chain.requestHead(get("/", { "x-deed": "trap" }));
  chain.requestHead(get("/"));
  const total = engine.series().find((s) => s.metric.name === "seen_total");
  assert.equal(total?.values, [3]);
  assert.equal(total?.labels, { filter: "bad" });
});

test("an endless start, a trap in it and endless recursion refuse the module by name", async () => {
  const engine = createEngine({ clock: new FakeClock() });
  const expected: Record<string, RegExp> = {
    loop: /the start function used more than 200000000 instructions/,
    trap: /the start function trapped: unreachable/,
    recurse: /the start function (recursed without end|used more than)/,
    refuse: /configuration: "onStart" is not to my taste/,
  };
  for (const [onStart, reason] of Object.entries(expected)) {
    const message = await refusal(engine.prepare(hostile, refTo(hostile, { onStart })));
    assert.match(message, /^FilterRefused: filter "test" \([0-9a-f]{12}\): /);
    assert.match(message, reason);
  }
});

test("a filter that replies ends the request phase with its own answer", async () => {
  const { chain, engine, bad, good } = await open("closed");
  const x = get("/", { "x-deed": "reply" });
  assert.is(chain.requestHead(x), REPLY);
  assert.equal(x.local, { status: 403, headers: [], body: "no" });
  const y = get("/", { "x-deed": "reply" });
  assert.is(engine.chain([bad, good]).requestHead(y), REPLY);
  assert.is(seen(y.request, "x-priority"), null, "the filter behind it did not run");
});

test("what one request prepared for an answer is not in another one's", async () => {
  const { chain } = await open("closed");
  assert.is(chain.requestHead(get("/", { "x-deed": "unused" })), CONTINUE);
  const x = get("/", { "x-deed": "reply" });
  assert.is(chain.requestHead(x), REPLY);
  assert.equal(x.local, { status: 403, headers: [], body: "no" });
});

test("fuel per hook is settable", async () => {
  const { chain } = await open("closed", { fuelPerHook: 5000 });
  const x = get("/", { "x-deed": "loop" });
  chain.requestHead(x);
  assert.match(x.filterError, /more than 5000 instructions/);
});

test.run();
