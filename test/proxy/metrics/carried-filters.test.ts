// What the real modules decide that a proxy carries – who may use a route, how often – in the real engine,
// as the inbound proxy counts it.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { sha256Hex } from "../../../src/api/hex.ts";
import type { PreparedFilter } from "../../../src/core/filter.ts";
import type { RateLimit } from "../../../src/model/route-action.ts";
import type { Route } from "../../../src/model/route.ts";
import {
  accessRules,
  STANDARD_FILTERS,
  standardFilters,
  type StandardModules,
} from "../../../src/proxy/discovery/standard-filters.ts";
import { createEngine } from "../../../wasm/host/engine.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import {
  inboundFixture,
  inboundSnapshot,
  meshedAs,
  SERVER,
} from "../../support/inbound-fixture.ts";
import { route } from "../../support/outbound-fixture.ts";
import { moduleBytes } from "../../wasm/support.ts";

const GET = "GET /a HTTP/1.1\r\nhost: web\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const MODULES: StandardModules = Object.fromEntries(
  await Promise.all(STANDARD_FILTERS.map(async (name) => {
    const bytes = moduleBytes(name);
    return [name, { sha256: await sha256Hex(bytes), bytes }] as const;
  })),
);

async function chainOf(only: Route) {
  const engine = createEngine({ clock: new FakeClock(), random: () => 0.4 });
  const filters: PreparedFilter[] = [];
  for (const { ref } of standardFilters(only, MODULES)) {
    const module = Object.values(MODULES).find((m) => m?.sha256 === ref.sha256);
    if (module == null) throw new Error(`no module ${ref.name}`);
    filters.push(await engine.prepare(module.bytes, ref));
  }
  return engine.chain(filters);
}

type Fixture = ReturnType<typeof inboundFixture>;

function ask(f: Fixture, identity: string): string {
  const client = f.connect(meshedAs(identity));
  const n = f.driver.connects.length;
  f.driver.feed(client, GET);
  const said = client.take();
  if (said !== "") return said;
  if (f.driver.connects.length > n) f.driver.open(f.app());
  f.driver.feed(f.app(), OK);
  return client.take();
}

test("route-policy: its 403 is a denial, what it lets pass is allowed", async () => {
  const authorizations = [{
    origin: { ...SERVER, kind: "authorizationpolicy", name: "buyers" },
    networks: [{ cidr: "0.0.0.0/0", except: [] }],
    authentication: { kind: "identities" as const, names: ["vote.shop"], suffixes: [] },
  }];
  const only = route({ actions: [{ kind: "authorize", allow: accessRules(authorizations) }] });
  const f = inboundFixture(inboundSnapshot(
    [{ route: only, chain: await chainOf(only) }],
    { routes: [{ ...route(), match: only.match, authorizations }] },
    [],
  ));
  assert.match(ask(f, "vote.shop"), /^HTTP\/1\.1 200/);
  assert.match(ask(f, "load.shop"), /^HTTP\/1\.1 403/);
  assert.match(
    f.metric("inbound_http_authz_allow_total").join("\n"),
    /^[^\n]*client_id="vote\.shop".*authz_name="buyers"} 1$/,
  );
  assert.match(
    f.metric("inbound_http_authz_deny_total").join("\n"),
    /^[^\n]*client_id="load\.shop"[^\n]* 1$/,
  );
});

test("local-rate-limit: its 429 is counted by which limit it was", async () => {
  const limits: RateLimit = { total: 3, identity: 1, overrides: [] };
  const only = route({ actions: [{ kind: "rate-limit", scope: "8080", ...limits }] });
  const f = inboundFixture(inboundSnapshot(
    [{ route: only, chain: await chainOf(only) }],
    { rateLimit: limits },
    ["a.shop", "b.shop", "c.shop", "d.shop"],
  ));
  assert.match(ask(f, "a.shop"), /^HTTP\/1\.1 200/);
  assert.match(ask(f, "a.shop"), /^HTTP\/1\.1 429/);
  assert.match(ask(f, "b.shop"), /^HTTP\/1\.1 200/);
  assert.match(ask(f, "c.shop"), /^HTTP\/1\.1 429/);
  const limited = f.metric("inbound_http_local_ratelimit_total");
  assert.is(limited.length, 2);
  assert.match(limited[0] ?? "", /client_id="a\.shop".*ratelimit_scope="identity"} 1$/);
  assert.match(limited[1] ?? "", /client_id="c\.shop".*ratelimit_scope="total"} 1$/);
  assert.equal(f.metric("inbound_http_authz_deny_total"), []);
});

test.run();
