import { assert, loadFilter, test } from "../../wasm/sdk/testing.ts";

const open = (config = {}) => loadFilter(import.meta.dirname ?? ".", { config });

/** The status of a request that is refused, or 0: it goes on. The client's address is 127.0.0.1. */
async function answer(config: object, identity: string | null = null): Promise<number> {
  const filter = await open(config);
  return filter.request({ identity, inbound: true }).reply?.status ?? 0;
}

test("route-policy without rules lets everybody pass", async () => {
  assert.is(await answer({}), 0);
});

test("route-policy knows identities, suffixes and any", async () => {
  for (const rule of ["id:web.shop.mesh", "id:*.shop.mesh", "id:*", "id:x id:web.shop.mesh"]) {
    assert.is(await answer({ allow: [rule] }, "web.shop.mesh"), 0, rule);
    assert.is(await answer({ allow: [rule] }), 403, rule);
  }
  for (const rule of ["id:web.shop", "id:*.mesh2", "id:*.web.shop.mesh", "id:eb.shop.mesh"]) {
    assert.is(await answer({ allow: [rule] }, "web.shop.mesh"), 403, rule);
  }
});

test("route-policy knows networks and their exceptions", async () => {
  const inside = [
    "net:127.0.0.1",
    "net:127.0.0.0/8",
    "net:126.0.0.0/7",
    "net:0.0.0.0/0",
    "net:127.0.0.0/8 not:127.0.0.2/31",
    "net:10.0.0.0/8 net:127.0.0.1/32",
    "not:10.0.0.0/8",
  ];
  for (const rule of inside) assert.is(await answer({ allow: [rule] }), 0, rule);
  const outside = [
    "net:127.0.0.2",
    "net:128.0.0.0/7",
    "net:10.0.0.0/8",
    "net:127.0.0.0/8 not:127.0.0.0/31",
    "net:::/0",
    "net:::ffff:127.0.0.1",
    "not:127.0.0.1",
  ];
  for (const rule of outside) assert.is(await answer({ allow: [rule] }), 403, rule);
});

test("route-policy wants network and identity of one rule to hold together", async () => {
  const allow = ["net:10.0.0.0/8 id:a", "net:127.0.0.0/8 id:b"];
  assert.is(await answer({ allow }, "a"), 403);
  assert.is(await answer({ allow }, "b"), 0);
});

test("route-policy denies before it allows", async () => {
  const config = { allow: ["id:*"], deny: ["id:*.evil"] };
  assert.is(await answer(config, "a.good"), 0);
  assert.is(await answer(config, "a.evil"), 403);
  assert.is(await answer({ deny: ["net:127.0.0.0/8"] }), 403);
});

test("route-policy in dry run lets pass what it counts", async () => {
  const filter = await open({ allow: ["id:nobody"], dryRun: true });
  assert.is(filter.request().reply, null);
  assert.is(filter.metric("route_policy_total", { decision: "dry_run" }), 1);
  assert.is(filter.metric("route_policy_total", { decision: "deny" }), 0);
});

test("route-policy refuses what it cannot read", async () => {
  const wrong = [
    ...[
      "",
      " ",
      "id:",
      "net:",
      "who:me",
      "net:300.0.0.1",
      "net:1.2.3",
      "net:1.2.3.4/33",
      "net:1.2.3.4/",
    ],
    ...[
      "net:1.2.3.4.5",
      "net:::/129",
      "net:1::2::3",
      "net:1:2:3",
      "net:12345::",
      "net:::1:",
      "net:g::",
    ],
    "net:1:2:3:4:5:6:7:8:9",
  ];
  for (const rule of wrong) {
    await open({ allow: [rule] }).then(
      () => assert.unreachable(`it took ${rule}`),
      (e: Error) => assert.match(e.message, /allow/, rule),
    );
  }
  for (
    const rule of [
      "net:fd00::/8",
      "net:::1",
      "net:1::",
      "net:1:2:3:4:5:6:7:8",
      "net:64:ff9b::1.2.3.4",
    ]
  ) {
    await open({ allow: [rule] });
  }
});

test("route-policy remembers the last clients, and only them", async () => {
  const filter = await open({ allow: ["id:*.good"] });
  const ask = (identity: string) => filter.request({ identity }).reply?.status ?? 0;
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 40; i++) assert.is(ask(`${i}.${i % 2 ? "good" : "bad"}`), i % 2 ? 0 : 403);
  }
  assert.is(ask("39.good"), 0);
  assert.is(filter.request({ identity: null }).reply?.status, 403);
});

test("route-policy decides within its fuel, and for a known client at once", async () => {
  const allow = Array.from({ length: 256 }, (_, i) => `net:127.${i}.0.0/16 id:a${i}.b.c.mesh`);
  const filter = await open({ allow });
  const first = filter.request({ identity: "x.b.c.mesh" }).fuel;
  assert.ok(first > 0 && first < 800_000, `${first} instructions`);
  const again = filter.request({ identity: "x.b.c.mesh" }).fuel;
  assert.ok(again > 0 && again < 2_000, `${again} instructions`);
});

test.run();
