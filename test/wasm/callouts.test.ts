import { test } from "uvu";
import * as assert from "uvu/assert";
import { type FailurePolicy, NO_FILTERS } from "../../src/core/filter.ts";
import { createEngine } from "../../wasm/host/engine.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { type TestPeer, turn } from "../support/memory-driver.ts";
import { A, endpoint, outboundFixture, route, snapshot } from "../support/outbound-fixture.ts";
import { moduleBytes, refTo, refusal } from "./support.ts";

const auth = moduleBytes("fixtures/auth");
const metrics = moduleBytes("route-metrics");
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ONE = { exists: true, endpoints: [endpoint(A)] };
const CALLOUTS = { auth: "auth.shop.svc.cluster.local:80" };

/** An outbound proxy whose one endpoint is the service and, for the filter, who decides. */
async function open(failurePolicy: FailurePolicy = "closed", prefix = "/a") {
  const engine = createEngine({ clock: new FakeClock(), random: () => 0 });
  const ref = refTo(auth, null, { name: "auth", failurePolicy, callouts: CALLOUTS });
  const behind = refTo(metrics, null, { name: "behind" });
  const chain = engine.chain([
    await engine.prepare(auth, ref),
    await engine.prepare(metrics, behind),
  ]);
  // what the filter asks takes the other route
  const filtered = route({ name: "filtered", match: { kind: "path-prefix", prefix } });
  const f = outboundFixture(
    snapshot(ONE, [{ route: filtered, chain }, { route: route(), chain: NO_FILTERS }]),
  );
  const client = f.client();
  const peer = (n: number) => f.driver.connects[n] as TestPeer;
  const send = (headers: string, rest = "") =>
    f.driver.feed(client, `GET /a HTTP/1.1\r\nhost: web\r\n${headers}${rest}\r\n`);
  const counted = (name: string, filter?: string) =>
    engine.series().filter((s) =>
      s.metric.name === name && (filter === undefined || s.labels["filter"] === filter)
    ).reduce((sum, s) => sum + (s.values[0] ?? 0), 0);
  return { engine, chain, f, client, peer, send, counted };
}

test("a request waits for what its filter asks, on the data plane's own client", async () => {
  const { f, client, peer, send, counted } = await open();
  send("x-token: t\r\n");
  f.driver.open(peer(0));
  assert.is(
    peer(0).take(),
    "GET /check HTTP/1.1\r\nhost: auth.shop.svc.cluster.local:80\r\nx-token: t\r\n\r\n",
  );
  assert.is(f.driver.connects.length, 1, "nothing else is sent yet");
  assert.is(f.callouts.active, 1);
  f.driver.feed(peer(0), "HTTP/1.1 200 OK\r\nx-user: ada\r\ncontent-length: 3\r\n\r\nyes");
  assert.is(f.callouts.active, 0);
  await turn();
  const up = f.driver.connects.at(-1) as TestPeer;
  if (up !== peer(0)) f.driver.open(up);
  assert.match(up.take(), /^GET \/a [^]*x-user: ada\r\nx-context: first\r\n\r\n$/);
  f.driver.feed(up, OK);
  assert.is(client.take(), OK);
  assert.is(counted("auth_ends_total"), 1, "the call-out itself asked nobody and is no request");
});

test("a filter may ask again with the answer in hand, and answer with what it was told", async () => {
  const { f, client, peer, send } = await open();
  send("x-token: t\r\n");
  f.driver.open(peer(0));
  peer(0).take();
  f.driver.feed(peer(0), "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
  await turn();
  const second = f.driver.connects.at(-1) as TestPeer;
  if (second !== peer(0)) f.driver.open(second);
  assert.match(second.take(), /^GET \/again /);
  f.driver.feed(second, "HTTP/1.1 409 Conflict\r\ncontent-length: 4\r\n\r\nbusy");
  assert.match(client.take(), /^HTTP\/1.1 403 [^]*\r\n\r\nbusy$/);
});

test("filters behind the one that asks run when it has its answer, and their ends are told", async () => {
  const { f, peer, send, client, counted } = await open();
  send("x-token: t\r\n");
  f.driver.open(peer(0));
  f.driver.feed(peer(0), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno");
  assert.match(client.take(), /^HTTP\/1.1 401/);
  assert.is(counted("auth_ends_total"), 1);
  assert.is(counted("route_requests_total", "behind"), 0, "it never saw the request");
  await turn();
  send("");
  const up = f.driver.connects.at(-1) as TestPeer;
  f.driver.feed(up, OK);
  assert.is(counted("route_requests_total", "behind"), 1);
});

test("a body waits under backpressure and goes on whole", async () => {
  const { f, client, peer } = await open();
  f.driver.feed(
    client,
    "POST /a/p HTTP/1.1\r\nhost: web\r\nx-token: post\r\ncontent-length: 6\r\n\r\nabc",
  );
  assert.ok(client.paused);
  f.driver.open(peer(0));
  assert.match(peer(0).take(), /^POST \/check [^]*content-length: 4\r\n\r\n\/a\/p$/);
  f.driver.feed(peer(0), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  await turn();
  const up = f.driver.connects.at(-1) as TestPeer;
  if (up !== peer(0)) f.driver.open(up);
  assert.not(client.paused);
  f.driver.feed(client, "def");
  assert.match(up.take(), /x-context: later[^]*\r\n\r\nabcdef$/);
});

test("a call-out that is not answered in time, fails, or is too long has status 0", async () => {
  const slow = await open();
  slow.send("x-token: t\r\nx-wait: 100\r\n");
  slow.f.driver.open(slow.peer(0));
  slow.f.driver.advance(130);
  assert.match(slow.client.take(), /^HTTP\/1.1 503 [^]*nobody answers\n$/);
  assert.is(slow.peer(0).closed, "reset");
  const refused = await open();
  refused.send("x-token: t\r\n");
  refused.f.driver.fail(refused.peer(0), { kind: "connect", message: "ECONNREFUSED" });
  assert.match(refused.client.take(), /nobody answers/);
  const long = await open();
  long.send("x-token: t\r\n");
  long.f.driver.open(long.peer(0));
  long.f.driver.feed(long.peer(0), "HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n");
  long.f.driver.feed(long.peer(0), "x".repeat(40_000));
  long.f.driver.feed(long.peer(0), "x".repeat(30_000));
  assert.match(long.client.take(), /nobody answers/);
  assert.is(long.counted("auth_failed_total"), 1);
  for (const { f } of [slow, refused, long]) assert.is(f.callouts.active, 0);
});

test("when the client goes away the call-out is cancelled and the end is told once", async () => {
  const { f, client, peer, send, counted } = await open();
  send("x-token: t\r\n");
  f.driver.open(peer(0));
  f.driver.fail(client, { kind: "reset", message: "ECONNRESET" });
  assert.is(peer(0).closed, "reset");
  assert.is(f.callouts.active, 0);
  assert.is(f.draining.inFlight.count, 0);
  assert.is(counted("auth_ends_total"), 1);
  f.driver.advance(1000);
  assert.is(counted("auth_failed_total"), 0, "nobody is asked any more");
});

test("a trap with the answer in hand applies the failure policy", async () => {
  const closed = await open();
  closed.send("x-token: t\r\n");
  closed.f.driver.open(closed.peer(0));
  closed.f.driver.feed(closed.peer(0), "HTTP/1.1 599 X\r\ncontent-length: 0\r\n\r\n");
  assert.match(closed.client.take(), /^HTTP\/1.1 503 [^]*onCallout trapped: unreachable/);
  const opened = await open("open");
  opened.send("x-token: t\r\n");
  opened.f.driver.open(opened.peer(0));
  opened.peer(0).take();
  opened.f.driver.feed(opened.peer(0), "HTTP/1.1 599 X\r\ncontent-length: 0\r\n\r\n");
  await turn();
  const up = opened.f.driver.connects.at(-1) as TestPeer;
  if (up !== opened.peer(0)) opened.f.driver.open(up);
  assert.match(up.take(), /^GET \/a /);
});

test("a call-out that a filter does not wait for is not made", async () => {
  const { f, peer, send } = await open();
  send("x-token: forget\r\n");
  assert.is(f.callouts.active, 0);
  f.driver.open(peer(0));
  assert.match(peer(0).take(), /^GET \/a /);
});

test("a call-out makes no call-outs", async () => {
  const { f, client, counted } = await open("closed", "/");
  f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\nx-token: t\r\n\r\n");
  assert.is(f.driver.connects.length, 0);
  assert.match(client.take(), /^HTTP\/1.1 403 [^]*nobody answers/, "what the second one was told");
  assert.is(counted("auth_failed_total"), 1);
});

test("at most 64 call-outs of one filter are under way; more have no answer", async () => {
  const { f } = await open();
  const clients = Array.from({ length: 65 }, () => f.client());
  for (const client of clients) {
    f.driver.feed(client, "GET /a HTTP/1.1\r\nhost: web\r\nx-token: t\r\n\r\n");
  }
  assert.is(f.callouts.active, 64);
  assert.match((clients.at(-1) as TestPeer).take(), /nobody answers/);
});

test("what the manifest asks and what the configuration allows must be the same", async () => {
  const engine = createEngine({ clock: new FakeClock() });
  const prepare = (module: Uint8Array, callouts?: Record<string, string>) =>
    refusal(
      engine.prepare(module, refTo(module, null, callouts === undefined ? {} : { callouts })),
    );
  assert.match(
    await prepare(auth),
    /it asks "auth", for which the configuration must name a service/,
  );
  assert.match(await prepare(auth, { auth: "no port" }), /must name a service as host:port/);
  assert.match(
    await prepare(auth, { ...CALLOUTS, other: "b:80" }),
    /"other" is nothing that it asks; there are: auth/,
  );
  assert.match(await prepare(metrics, CALLOUTS), /there are: none/);
});

test.run();
