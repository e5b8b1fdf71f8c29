import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { TestCallout } from "../../wasm/sdk/testing-results.ts";
import { loadFilter } from "../../wasm/sdk/testing.ts";

const at = (path: string) => fileURLToPath(new URL("../../" + path, import.meta.url));

async function failure(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (e) {
    return (e as Error).message;
  }
  return "nothing failed";
}

test("loadFilter() compiles a folder and runs its hooks", async () => {
  const filter = await loadFilter(at("filters/retry"), { config: { backoffMs: 100, jitter: 0 } });
  assert.ok(filter.info.hooks.includes("outcome"));
  const sent = filter.request({ method: "GET", path: "/a?b=1", headers: { "x-a": ["1", "2"] } });
  assert.is(sent.verdict, "continue");
  assert.is(sent.path, "/a?b=1");
  assert.equal(sent.fields.filter(([name]) => name === "x-a").map(([, v]) => v), ["1", "2"]);
  assert.is(sent.fuel, 0, "it has no onRequest");
  const first = filter.outcome({ status: 503 });
  assert.ok(first.retry);
  assert.is(first.delayMs, 100);
  assert.ok(first.fuel > 0 && first.fuel < 5_000, String(first.fuel));
  assert.is(filter.outcome({ error: "connect" }).delayMs, 200, "the second attempt");
  assert.not.ok(filter.outcome({ status: 503 }).retry, "the third");
  assert.is(filter.metric("retry_decisions_total"), 2);
  assert.is(filter.metric("retry_decisions_total", { reason: "connect" }), 1);
  assert.equal(filter.fuelReport().map((f) => [f.hook, f.calls]), [["onOutcome", 3]]);
  assert.is(filter.fuelReport()[0]?.budget, 1_000_000);
});

test("loadFilter() takes chance from the test", async () => {
  const config = { backoffMs: 100, jitter: 0.5 };
  const filter = await loadFilter(at("filters/retry"), { config, random: () => 0.5 });
  filter.request();
  assert.is(filter.outcome({ status: 503 }).delayMs, 75);
});

test("loadFilter() reads a module, and shows what it does to heads", async () => {
  const filter = await loadFilter(at("filters/build/header-modifier.wasm"), {
    config: {
      requestSet: { "x-mesh": "tülle" },
      requestRemove: ["x-a"],
      responseSet: { "x-b": "2" },
    },
  });
  const request = filter.request({ headers: { "x-a": "1" } });
  assert.is(request.header("X-Mesh"), "tülle");
  assert.is(request.header("x-a"), null);
  assert.is(filter.response({ headers: { "x-b": "1" } }).header("x-b"), "2");
  assert.ok(request.fuel > 0);
});

test("a filter's metrics are read by name and labels", async () => {
  const filter = await loadFilter(at("filters/route-metrics"), { config: { paths: ["/a"] } });
  for (const [path, status] of [["/a", 200], ["/a", 503], ["/b", 200]] as const) {
    filter.request({ path });
    filter.response({ status });
    filter.end({ status, elapsedMs: 7 });
  }
  assert.is(filter.metric("route_requests_total"), 3);
  assert.is(filter.metric("route_requests_total", { path: "/a" }), 2);
  const histogram = filter.info.metrics.find((m) => m.kind === "histogram")?.name ?? "";
  assert.equal(filter.histogram(histogram), { count: 3, sum: 21 });
  assert.throws(() => filter.metric("nonsense"), /no metric "nonsense"; there are: route_/);
});

test("a trap fails the test with the line of the source", async () => {
  const filter = await loadFilter(at("test/wasm/fixtures/hostile.wasm"));
  assert.throws(
    () => filter.request({ headers: { "x-deed": "trap" } }),
    /^onRequest trapped: unreachable, in \S+ at hostile\.ts:\d+:\d+ \(byte 0x/,
  );
  const again = filter.request();
  assert.is(again.verdict, "continue", "another instance took over");
  const closed = await loadFilter(at("test/wasm/fixtures/hostile.wasm"), { traps: "closed" });
  const failed = closed.request({ headers: { "x-deed": "loop" } });
  assert.is(failed.verdict, "failed");
  assert.match(failed.error, /filter "test" failed: onRequest used more than 1000000/);
  assert.is(failed.fuel, 1_000_000);
  assert.is(closed.traps, 1);
  const open = await loadFilter(at("test/wasm/fixtures/hostile.wasm"), { traps: "open" });
  assert.is(open.request({ headers: { "x-deed": "trap" } }).verdict, "continue");
});

test("a filter that traps again and again rests in virtual time", async () => {
  const filter = await loadFilter(at("test/wasm/fixtures/hostile.wasm"), { traps: "closed" });
  for (let i = 0; i < 4; i++) filter.request({ headers: { "x-deed": "trap" } });
  assert.is(filter.request().verdict, "failed", "it rests");
  filter.advance(1000);
  assert.is(filter.nowMs, 1000);
  assert.is(filter.request().verdict, "continue");
});

test("an answer comes back as plain values", async () => {
  const filter = await loadFilter(at("test/wasm/fixtures/hostile.wasm"));
  const { verdict, reply } = filter.request({ headers: { "x-deed": "reply" } });
  assert.is(verdict, "reply");
  assert.is(reply?.status, 403);
  assert.is(reply?.body, "no");
});

test("what a proxy would refuse, the harness refuses", async () => {
  const retry = at("filters/retry");
  assert.match(
    await failure(() => loadFilter(retry, { config: { maxRetries: 11 } })),
    /"maxRetries" must be a whole number from 0 to 10, not 11/,
  );
  assert.match(
    await failure(() => loadFilter(at("filters/nope"))),
    /nope\/assembly\/index.ts does/,
  );
  const filter = await loadFilter(retry);
  assert.throws(() => filter.end(), /Call request\(\) first/);
  assert.throws(() => filter.request({ path: "no slash here" }), /is not a request that a proxy/);
  assert.throws(() => filter.request({ headers: { "x-a": "1\r\n\r\nGET" } }), /is not a request/);
});

test("attempts, ticks, connections and choices are run as a proxy runs them", async () => {
  const filter = await loadFilter(at("test/wasm/fixtures/phases.wasm"));
  const sent = filter.request({
    route: "books",
    headers: { "x-timeout": "500", "x-attempt-timeout": "100", "x-zone": "main" },
  });
  assert.is(sent.header("x-route"), "books");
  assert.equal([sent.requestTimeoutMs, sent.timeoutMs], [500, 100]);
  assert.equal(sent.choice, { label: "zone", value: "main", strict: false });
  assert.is(filter.attempt().choice?.value, "main");
  filter.outcome({ error: "connect" });
  assert.is(filter.attempt().choice?.value, "spare", "the second one");
  assert.is(filter.metric("attempts_total"), 2);
  assert.is(filter.response({ headers: { "x-teapot": "yes" } }).status, 418);
  const trailers = filter.trailers({ "x-sum": "bad", "x-internal": "1" });
  assert.equal(trailers.fields, [["x-checked", "yes"], ["x-sum", "books"]]);
  filter.end();
  filter.advance(200);
  assert.is(filter.metric("ticks_total"), 4);
  assert.not.ok(filter.connection({ identity: "evil.shop" }).allowed);
  assert.ok(filter.connection({ identity: "good.shop" }).allowed);
  filter.connectionEnd({ bytesIn: 3, bytesOut: 5 });
  assert.is(filter.metric("bytes_total"), 8);
  assert.is(filter.metric("opened_total"), 1);
});

test("bodies come whole or in pieces, as the filter wants them", async () => {
  const pieces = await loadFilter(at("test/wasm/fixtures/pieces.wasm"));
  pieces.request({ method: "POST" });
  const upper = pieces.requestBody(["hello ", "world"]);
  assert.equal([upper.verdict, upper.text], ["continue", "HELLO WORLD"]);
  assert.ok(upper.fuel > 100);
  pieces.response();
  assert.is(pieces.responseBody("ab").text, "ab\n-- \ntulle\n");
  assert.throws(() => pieces.requestBody("!"), /^onRequestBody trapped: unreachable/);

  const whole = await loadFilter(at("test/wasm/fixtures/whole.wasm"));
  const ask = (body: string) => {
    whole.request({ method: "POST" });
    return whole.requestBody(body);
  };
  assert.is(ask('{"a":1}').header("x-checked"), "yes");
  assert.is(ask("{?").text, '{"replaced":true}');
  assert.equal(ask("no").reply?.status, 422);
  assert.is(ask("{" + " ".repeat(100)).verdict, "too-long");
  whole.response();
  assert.is(whole.responseBody("?" + "x".repeat(100)).text.length, 101, "too long: it passes");
  assert.is(whole.responseBody("?").text, "{}");
  assert.is(whole.responseBody("").verdict, "continue");
});

test("a call-out is answered by the test", async () => {
  const asked: TestCallout[] = [];
  const auth = (one: TestCallout) => {
    asked.push(one);
    if (one.path === "/again") return { status: 200, headers: { "x-user": "Zoë" }, body: "yes" };
    return one.headers["x-token"] === "good"
      ? { status: 202 }
      : { status: 403, body: "no, müller" };
  };
  const filter = await loadFilter(at("test/wasm/fixtures/auth.wasm"), { callouts: { auth } });
  const good = filter.request({ headers: { "x-token": "good" } });
  assert.equal([good.verdict, good.header("x-user")], ["continue", "Zoë"]);
  assert.equal(asked.map((a) => a.path), ["/check", "/again"]);
  assert.equal([asked[0]?.method, asked[0]?.timeoutMs], ["GET", 200]);
  assert.ok(good.fuel > 200, "of all calls together");
  assert.equal(filter.fuelReport().map((f) => [f.hook, f.calls]), [["onRequest", 1], [
    "onCallout",
    2,
  ]]);
  assert.is(filter.request({ headers: { "x-token": "bad" } }).reply?.body, "no, müller");
  assert.is(filter.request({ headers: { "x-token": "post" }, path: "/p" }).verdict, "reply");
  assert.equal([asked.at(-1)?.method, asked.at(-1)?.body], ["POST", "/p"]);
  const alone = await loadFilter(at("test/wasm/fixtures/auth.wasm"));
  assert.is(
    alone.request({ headers: { "x-token": "good" } }).reply?.status,
    503,
    "nobody is there",
  );
});

test.run();
