import { test } from "uvu";
import * as assert from "uvu/assert";
import type { FilterChain } from "../../../src/core/filter.ts";
import { HOOK_REQUEST, NO_FILTERS } from "../../../src/core/filter.ts";
import { headerName } from "../../../src/core/head.ts";
import type { HashKey } from "../../../src/model/hash-key.ts";
import type { Route } from "../../../src/model/route.ts";
import { endpoint, outboundFixture, route, snapshot } from "../../support/outbound-fixture.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const IPS = ["127.77.0.2", "127.77.0.3", "127.77.0.4", "127.77.0.5"];
const FOUR = { exists: true, endpoints: IPS.map((ip) => endpoint({ ip, port: 8080 })) };

function hashed(
  hash: HashKey | null,
  more: { routes?: readonly { route: Route; chain: FilterChain }[]; endpoints?: typeof FOUR } = {},
) {
  const f = outboundFixture({ ...snapshot(more.endpoints ?? FOUR, more.routes), hash });
  return {
    ...f,
    set: (to: HashKey | null) => f.discovery.set({ ...snapshot(FOUR, more.routes), hash: to }),
    /** One request with these header lines, on a connection of its own: where it went, what came. */
    ask(...lines: readonly string[]): { ip: string; answer: string; sent: string } {
      const client = f.client();
      const before = f.driver.connects.length;
      f.driver.feed(client, ["GET / HTTP/1.1", "host: web", ...lines, "", ""].join("\r\n"));
      const up = f.driver.connects[before]!;
      f.driver.open(up);
      const sent = up.take();
      f.driver.feed(up, OK);
      f.driver.end(up);
      return { ip: up.to!.addr.ip, answer: client.take(), sent };
    },
    outcomes(): Record<string, number> {
      const { series } = f.metrics.balancerHash;
      const all = [...series.values()].map(({ labels, cell }): [string, number] => [
        /outcome="(\w+)"/.exec(labels)?.[1] ?? "",
        f.metrics.sheet.cells[cell] as number,
      ]);
      return Object.fromEntries(all.filter(([, n]) => n > 0));
    },
  };
}

test("requests with the same header go to the same endpoint, those of many users to all", () => {
  const f = hashed({ kind: "header", name: "x-user" });
  const used = new Set<string>();
  for (let user = 0; user < 100; user++) {
    const { ip } = f.ask(`X-User: ${user}`);
    assert.is(f.ask("accept: */*", `x-user: ${user}`).ip, ip);
    used.add(ip);
  }
  assert.is(used.size, 4);
  assert.equal(f.outcomes(), { owner: 200 });
  const without = new Set(Array.from({ length: 60 }, () => f.ask().ip));
  assert.is(without.size, 4, "without the header, by load");
  assert.is(new Set(Array.from({ length: 60 }, () => f.ask("x-user:").ip)).size, 4);
  assert.equal(f.outcomes(), { owner: 200, none: 120 });
});

test("a header that a filter set is the key", () => {
  const name = headerName("x-user");
  const chain: FilterChain = {
    ...NO_FILTERS,
    hooks: HOOK_REQUEST,
    requestHead: (x) => {
      x.request.set(name, "the same for all");
      return 0;
    },
  };
  const f = hashed({ kind: "header", name: "x-user" }, { routes: [{ route: route(), chain }] });
  const used = new Set(Array.from({ length: 40 }, (_, i) => f.ask(`x-user: ${i}`).ip));
  assert.is(used.size, 1);
});

test("a client without the cookie is given one, and comes back to where it was", () => {
  const f = hashed({ kind: "cookie", name: "sid", ttlMs: 3_600_000 });
  const used = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const first = f.ask(i % 2 === 0 ? "accept: */*" : "cookie: other=1; sidx=2; sid=");
    const cookie = /\r\nset-cookie: (sid=[0-9a-f]{16}); Path=\/; Max-Age=3600; HttpOnly\r\n/
      .exec(first.answer);
    assert.ok(cookie, first.answer);
    for (const field of [`a=b; ${cookie[1]}`, `${cookie[1]};c=d`, `x=y;  ${cookie[1]} ; z`]) {
      const again = f.ask(`cookie: ${field}`);
      assert.is(again.ip, first.ip, field);
      assert.not.match(again.answer, "set-cookie");
    }
    // HTTP/2 clients may send it in a field of its own.
    assert.is(f.ask("cookie: a=b", `cookie: ${cookie[1]}`).ip, first.ip);
    used.add(first.ip);
  }
  assert.is(used.size, 4);
  assert.equal(f.outcomes(), { owner: 240, given: 60 });
  assert.not.match(f.ask("cookie: sid=1").sent, "set-cookie");
});

test("a cookie without a time of its own ends with the client's session", () => {
  const f = hashed({ kind: "cookie", name: "sid", ttlMs: 0 });
  assert.match(f.ask().answer, /\r\nset-cookie: sid=[0-9a-f]{16}; Path=\/; HttpOnly\r\n/);
});

test("the requests of one client address go to one endpoint", () => {
  const f = hashed({ kind: "source" });
  assert.is(new Set(Array.from({ length: 40 }, (_, i) => f.ask(`x-user: ${i}`).ip)).size, 1);
});

test("the key can be changed and taken away while requests run", () => {
  const f = hashed(null);
  assert.is(new Set(Array.from({ length: 60 }, () => f.ask("x-user: 7").ip)).size, 4);
  f.set({ kind: "header", name: "x-user" });
  assert.is(new Set(Array.from({ length: 60 }, () => f.ask("x-user: 7").ip)).size, 1);
  f.set({ kind: "header", name: "x-other" });
  assert.is(new Set(Array.from({ length: 60 }, () => f.ask("x-user: 7").ip)).size, 4);
  f.set(null);
  assert.is(new Set(Array.from({ length: 60 }, () => f.ask("x-other: 7").ip)).size, 4);
  assert.equal(f.outcomes(), { owner: 60, none: 60 });
});

test("with several backends a key stays with one of them, and keys are shared by weight", () => {
  const pair = ["blue:80", "green:80"];
  const endpoints = IPS.map((ip, i) =>
    endpoint({ ip, port: 8080 }, { backend: pair[i % 2] as string })
  );
  const split = {
    pick: "random" as const,
    backends: [{ authority: "blue:80", weight: 3 }, { authority: "green:80", weight: 1 }],
  };
  const f = hashed({ kind: "header", name: "x-user" }, {
    routes: [{ route: route({ split }), chain: NO_FILTERS }],
    endpoints: { exists: true, endpoints },
  });
  let blue = 0;
  for (let user = 0; user < 400; user++) {
    const { ip } = f.ask(`x-user: ${user}`);
    assert.is(f.ask(`x-user: ${user}`).ip, ip);
    if (ip === IPS[0] || ip === IPS[2]) blue++;
  }
  assert.ok(blue > 250 && blue < 350, `${blue} of 400`);
});

test.run();
