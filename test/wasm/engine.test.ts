import { test } from "uvu";
import * as assert from "uvu/assert";
import { CONTINUE, FAILED, HOOK_REQUEST, NO_FILTERS, REPLY } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import type { Logger } from "../../src/core/log.ts";
import { createInspector } from "../../wasm/host/inspect.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { outcomeModule } from "./build-module.ts";
import { exchange, get, moduleBytes, refTo, refusal, responseHead, seen } from "./support.ts";

const policy = moduleBytes("fixtures/policy");
const modifier = moduleBytes("header-modifier");
const modifier2 = moduleBytes("header-modifier.v2");
const hostile = moduleBytes("fixtures/hostile");
const metrics = moduleBytes("route-metrics");

const make = () => {
  const clock = new FakeClock();
  return { clock, engine: createEngine({ clock, random: () => 0 }) };
};

test("prepare() verifies size and digest before anything else", async () => {
  const { engine } = make();
  const ref = refTo(policy);
  assert.match(await refusal(engine.prepare(policy, { ...ref, size: 7 })), /the reference says 7/);
  const other = { ...ref, sha256: "0".repeat(64) };
  assert.match(await refusal(engine.prepare(policy, other)), /the reference says 0000/);
  const flipped = policy.slice();
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  assert.match(await refusal(engine.prepare(flipped, ref)), /its digest is/);
});

test("prepare() says what a module is", async () => {
  const { engine } = make();
  const { info } = await engine.prepare(policy, refTo(policy));
  assert.equal(info.hooks, ["request", "outcome"]);
  assert.equal(info.headersRead, ["x-user-tier", "x-forbidden"]);
  assert.equal(info.headersWritten, ["x-priority"]);
  assert.is(info.metrics[0]?.name, "policy_requests_total");
  const prepared = await engine.prepare(
    modifier,
    refTo(modifier, { requestSet: { "X-Mesh": "tulle" } }),
  );
  assert.equal(prepared.info.headersWritten, ["x-mesh"], "with those that the configuration names");
});

test("inspect() says the same without a configuration", async () => {
  const info = await createInspector().inspect(modifier);
  assert.is(info.sha256, refTo(modifier).sha256);
  assert.ok(info.headersWritten.includes("(configured by requestSet)"));
  assert.match(
    await refusal(createInspector().inspect(new Uint8Array(3))),
    /FilterRefused: not a WebAss/,
  );
});

test("a configuration is refused with the name of the field", async () => {
  const { engine } = make();
  const retry = moduleBytes("retry");
  const cases: readonly (readonly [Uint8Array, unknown, RegExp])[] = [
    [retry, { maxRetries: "two" }, /"maxRetries" must be a whole number from 0 to 10, not "two"/],
    [retry, { maxRetries: 11 }, /"maxRetries" must be a whole number from 0 to 10, not 11/],
    [retry, { jitter: 2 }, /"jitter" must be a number from 0 to 1, not 2/],
    [retry, { statuses: "abc" }, /"statuses" must be statuses and ranges .*, not "abc"/],
    [retry, { statuses: "504-502" }, /"statuses" must be statuses/],
    [retry, { anyMethod: 1 }, /"anyMethod" must be true or false, not 1/],
    [retry, { retries: 1 }, /"retries" is not a setting .* there are: statuses, maxRetries/],
    [retry, [], /configuration: must be an object/],
    [modifier, { requestSet: ["a"] }, /"requestSet" must be an object .*, not a list of 1$/],
    [modifier, { requestSet: { "a b": "c" } }, /"requestSet" names what is no header: "a b"/],
    [
      modifier,
      { requestSet: { a: "x\r\ny" } },
      /"requestSet" holds a wrong value: that of "a" must be one line/,
    ],
    [modifier, { requestSet: { "Content-Length": "1" } }, /"content-length" belongs to the proxy/],
    [modifier, { responseRemove: ["l5d-proxy-error"] }, /"l5d-proxy-error" belongs to the proxy/],
    [metrics, { paths: Array(33).fill("/") }, /"paths" must be a list of at most 32 texts/],
    [metrics, { paths: [1] }, /"paths" must be a list/],
  ];
  for (const [module, config, reason] of cases) {
    assert.match(await refusal(engine.prepare(module, refTo(module, config))), reason);
  }
  const ref = { ...refTo(retry), config: new TextEncoder().encode("{") };
  assert.match(await refusal(engine.prepare(retry, ref)), /configuration: is not JSON/);
});

test("limits of a reference are checked", async () => {
  const { engine } = make();
  const bad = (more: object) => refusal(engine.prepare(metrics, refTo(metrics, null, more)));
  assert.match(await bad({ fuelPerHook: -1 }), /fuelPerHook must be a whole number/);
  assert.match(await bad({ memoryPages: 99999 }), /memoryPages must be/);
});

test("requests run in order, responses in reverse, the end for each that saw the request", async () => {
  const { engine } = make();
  const adds = (name: string, text: string) =>
    engine.prepare(
      modifier,
      refTo(modifier, { requestAdd: { "x-by": text }, responseAdd: { "x-by": text } }, { name }),
    );
  const chain = engine.chain([await adds("a", "first"), await adds("b", "second")]);
  const x = get("/");
  assert.is(chain.requestHead(x), CONTINUE);
  assert.equal(x.request.edits.map((e) => e.value), ["first", "second"]);
  const head = responseHead(200);
  assert.is(chain.responseHead(x, head), CONTINUE);
  assert.equal(head.edits.map((e) => e.value), ["second", "first"]);
});

test("a filter behind the one that answered sees neither response nor end", async () => {
  const { engine } = make();
  const counts = await engine.prepare(metrics, refTo(metrics, null, { name: "behind" }));
  const before = await engine.prepare(metrics, refTo(metrics, null, { name: "before" }));
  const denies = await engine.prepare(hostile, refTo(hostile));
  const chain = engine.chain([before, denies, counts]);
  const x = get("/", { "x-deed": "reply" });
  assert.is(chain.requestHead(x), REPLY);
  chain.end(x, 403, 5);
  const ends = () =>
    engine.series().filter((s) => s.metric.name === "route_requests_total").map((s) =>
      s.labels.filter
    );
  assert.equal(ends(), ["before"]);
  x.begin(1);
  const y = get("/");
  chain.requestHead(y);
  chain.end(y, 200, 5);
  assert.equal(ends().sort(), ["before", "before", "behind"], "two classes for the one in front");
});

test("a filter that could not be loaded refuses or is skipped, as its policy says", () => {
  const { engine } = make();
  const why = "the registry has no module with this digest";
  const closed = engine.chain([{ ref: refTo(policy, null, { name: "gone" }), info: null, why }]);
  assert.ok((closed.hooks & HOOK_REQUEST) !== 0);
  const x = get("/");
  assert.is(closed.requestHead(x), FAILED);
  assert.is(x.filterError, `filter "gone" is not loaded: ${why}`);
  const open = refTo(policy, null, { failurePolicy: "open" });
  assert.is(engine.chain([{ ref: open, info: null, why }]), NO_FILTERS);
});

test("filters of equal module and configuration share an instance", async () => {
  const { engine } = make();
  const chains = [];
  for (let i = 0; i < 3; i++) {
    chains.push(engine.chain([await engine.prepare(policy, refTo(policy))]));
  }
  for (const chain of chains) chain.requestHead(get("/"));
  assert.is(engine.stats().length, 1);
  assert.is(engine.stats()[0]?.calls, 3);
  assert.equal(engine.series()[0]?.values, [3]);
});

test("a request keeps the build that it started with while new ones take the next", async () => {
  const { engine } = make();
  const config = { requestSet: { "x-mesh": "tulle" }, responseSet: { "x-mesh": "tulle" } };
  const old = engine.chain([await engine.prepare(modifier, refTo(modifier, config))]);
  const x = get("/");
  x.chain = old;
  assert.is(x.chain.requestHead(x), CONTINUE);
  const next = engine.chain([await engine.prepare(modifier2, refTo(modifier2, config))]);
  const y = get("/");
  y.chain = next;
  assert.is(y.chain.requestHead(y), CONTINUE);
  const head = responseHead(200);
  assert.is(x.chain.responseHead(x, head), CONTINUE);
  assert.is(seen(head, "x-mesh"), "tulle");
  const calls = engine.stats().map((s) => [s.sha256 === refTo(modifier).sha256, s.calls]);
  assert.equal(calls, [[true, 2], [false, 1]]);
});

test("a module that is refused leaves the old chain as it was", async () => {
  const { engine } = make();
  const chain = engine.chain([await engine.prepare(policy, refTo(policy))]);
  const broken = policy.slice(0, policy.length - 9);
  assert.match(await refusal(engine.prepare(broken, refTo(broken))), /FilterRefused/);
  assert.is(chain.requestHead(get("/")), CONTINUE);
});

test("two hundred builds in a row leave bounded counts, and none is lost", async () => {
  const { engine } = make();
  for (let i = 0; i < 200; i++) {
    const ref = refTo(policy, null, { fuelPerHook: 10_000 + i });
    const chain = engine.chain([await engine.prepare(policy, ref)]);
    chain.requestHead(get("/"));
    engine.series(); // a scrape
  }
  assert.is(engine.series().find((s) => s.labels.tier === "other")?.values[0], 200);
  assert.is(engine.stats().length, 1, "one name and digest");
});

test("bytes that are not UTF-8 pass a filter unharmed", async () => {
  const { engine } = make();
  const chain = engine.chain([await engine.prepare(policy, refTo(policy))]);
  const value = "caf\xe9\xff\x80";
  const x = get("/", { "x-user-tier": value, "x-other": value });
  assert.is(chain.requestHead(x), CONTINUE);
  assert.is(seen(x.request, "x-user-tier"), value);
  assert.is(seen(x.request, "x-other"), value);
  assert.is(seen(x.request, "x-priority"), "normal");
});

test("text of the configuration reaches headers as UTF-8 bytes", async () => {
  const { engine } = make();
  const config = { requestSet: { "x-city": "Zürich" } };
  const chain = engine.chain([await engine.prepare(modifier, refTo(modifier, config))]);
  const x = get("/");
  chain.requestHead(x);
  assert.is(seen(x.request, "x-city"), "Z\xc3\xbcrich");
});

test("the request stays readable in later hooks although its bytes were lent", async () => {
  const { engine } = make();
  const chain = engine.chain([await engine.prepare(metrics, refTo(metrics, { paths: ["/api"] }))]);
  const x = exchange("GET /api/x HTTP/1.1\nhost: svc");
  assert.is(chain.requestHead(x), CONTINUE);
  chain.end(x, 200, 1);
  assert.ok(engine.series().some((s) => s.labels.path === "/api"));
});

test("calls are counted, and timed by samples", async () => {
  let now = 0;
  const clock = new FakeClock();
  const engine = createEngine({
    clock: { now: () => now += 0.001, wall: () => 0, after: (ms, fire) => clock.after(ms, fire) },
  });
  const chain = engine.chain([await engine.prepare(policy, refTo(policy))]);
  for (let i = 0; i < 640; i++) chain.requestHead(get("/"));
  const [stats] = engine.stats();
  assert.is(stats?.calls, 640);
  assert.ok(Math.abs((stats?.nsPerCall ?? 0) - 1000) < 1, "one step of the clock");
});

test("a hook that always traps is refused before it serves, and nothing of the try is counted", async () => {
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const log: Logger = {
    level: "debug",
    debug: say,
    info: say,
    warn: say,
    error: say,
    with: () => log,
  };
  const engine = createEngine({ clock: new FakeClock(), log });
  const traps = outcomeModule([0, 0x00]);
  assert.match(
    await refusal(engine.prepare(traps, refTo(traps))),
    /onOutcome trapped: unreachable.*, when it was tried on a made-up request$/,
  );
  const endless = outcomeModule([0, 0x03, 0x40, 0x0c, 0x00, 0x0b, 0x41, 0x00]);
  assert.match(
    await refusal(engine.prepare(endless, refTo(endless))),
    /onOutcome used more than 1000000 instructions \(out of fuel\).*made-up request$/,
  );
  engine.chain([await engine.prepare(policy, refTo(policy))]);
  assert.is(engine.stats()[0]?.calls, 0);
  assert.equal(engine.series(), []);
  assert.equal(lines, []);
});

test.run();
