import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

const open = (config = {}) => loadFilter(import.meta.dirname ?? ".", { config });
type Filter = Awaited<ReturnType<typeof open>>;

/** How many of `count` requests at this instant pass. */
function passing(filter: Filter, count: number, identity: string | null = null): number {
  let passed = 0;
  for (let i = 0; i < count; i++) {
    if (filter.request({ identity, inbound: true }).reply === null) passed++;
  }
  return passed;
}

test("local-rate-limit lets a second's worth pass at once, then the rate", async () => {
  const filter = await open({ requestsPerSecond: 10 });
  assert.is(passing(filter, 20), 10);
  filter.advance(500);
  assert.is(passing(filter, 20), 5);
  filter.advance(60_000);
  assert.is(passing(filter, 20), 10);
  assert.is(filter.metric("rate_limited_total", { limit: "total" }), 35);
});

test("local-rate-limit says when to come again", async () => {
  const filter = await open({ requestsPerSecond: 0.25 });
  assert.is(passing(filter, 1), 1);
  const { reply } = filter.request();
  assert.is(reply?.status, 429);
  assert.is(reply?.headers["retry-after"], "4");
});

test("local-rate-limit counts each identity apart, those without one together", async () => {
  const filter = await open({ identityRequestsPerSecond: 3 });
  assert.is(passing(filter, 5, "a"), 3);
  assert.is(passing(filter, 5, "b"), 3);
  assert.is(passing(filter, 5), 3);
  assert.is(filter.metric("rate_limited_total", { limit: "identity" }), 6);
});

test("local-rate-limit has one bucket for the identities of an override", async () => {
  const filter = await open({
    identityRequestsPerSecond: 1,
    overrides: ["0 5 a.ns", "0 5 b.ns", "1 2 c.ns"],
  });
  assert.is(passing(filter, 3, "a.ns"), 3);
  assert.is(passing(filter, 9, "b.ns"), 2);
  assert.is(passing(filter, 9, "c.ns"), 2);
  assert.is(passing(filter, 9, "d.ns"), 1);
  assert.is(passing(filter, 9, "xa.ns"), 1);
  assert.is(filter.metric("rate_limited_total", { limit: "override" }), 14);
});

test("local-rate-limit asks the bucket of all first", async () => {
  const filter = await open({ requestsPerSecond: 4, identityRequestsPerSecond: 3 });
  assert.is(passing(filter, 3, "a"), 3);
  assert.is(passing(filter, 3, "b"), 1);
});

test("local-rate-limit without configuration lets everything pass", async () => {
  assert.is(passing(await open(), 100), 100);
});

test("local-rate-limit refuses overrides that it cannot read", async () => {
  for (const entry of ["", "0 5", "0 5 ", "x 5 a", "0 0 a", "0 5x a", "5 a", "1 99999999 a"]) {
    await open({ overrides: [entry] }).then(
      () => assert.unreachable(entry),
      (e: Error) => assert.match(e.message, /overrides/),
    );
  }
});

test.run();
