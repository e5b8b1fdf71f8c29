// What the wire asks of routes without any field of ours: a control plane that knows nothing of filters
// sends it, and the modules that a proxy carries do it, in the real engine.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationToWire } from "../../../src/api/duration.ts";
import {
  HttpRoute_FilterSchema as InboundFilter,
  ServerSchema,
} from "../../../src/api/gen/inbound_pb.ts";
import {
  HttpRoute_FilterSchema,
  HttpRoute_RuleSchema,
  type OutboundPolicy,
  OutboundPolicySchema,
} from "../../../src/api/gen/outbound_pb.ts";
import { sha256Hex } from "../../../src/api/hex.ts";
import type { Exchange } from "../../../src/core/exchange.ts";
import { CONTINUE, type FilterChain, HOOK_OUTCOME, REPLY } from "../../../src/core/filter.ts";
import type { ServerPolicy } from "../../../src/model/policy.ts";
import {
  STANDARD_FILTERS,
  type StandardModules,
} from "../../../src/proxy/discovery/standard-filters.ts";
import { createEngine } from "../../../wasm/host/engine.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import { exchange, get, moduleBytes, responseHead, seen } from "../../wasm/support.ts";
import { setUp, until, WEB, wirePolicy, wireProfile } from "./mesh-fixture.ts";

const CARRIED: StandardModules = Object.fromEntries(
  await Promise.all(STANDARD_FILTERS.map(async (name) => {
    const bytes = moduleBytes(name);
    return [name, { sha256: await sha256Hex(bytes), bytes }] as const;
  })),
);
const FAILS: StandardModules = {};

function mesh(standard = CARRIED) {
  const filterEngine = createEngine({ clock: new FakeClock(), random: () => 0.4 });
  return setUp({ filterEngine, standard });
}

type OutboundFilter = MessageInitShape<typeof HttpRoute_FilterSchema>;

type Rule = MessageInitShape<typeof HttpRoute_RuleSchema>;

/** A policy whose one rule matches the prefix `/shop` and has these filters, and more. */
function outbound(filters: readonly OutboundFilter[], more: Rule = {}): OutboundPolicy {
  const wire = create(OutboundPolicySchema, wirePolicy());
  if (wire.protocol?.kind.case !== "detect") throw new Error("not what this test changes");
  const rule = wire.protocol.kind.value.http1?.routes[0]?.rules[0];
  if (rule === undefined) throw new Error("no rule");
  const path = rule.matches[0]?.path;
  if (path?.kind.case === "prefix") path.kind.value = "/shop";
  rule.filters = filters.map((f) => create(HttpRoute_FilterSchema, f));
  const { timeouts, allowL5dRequestHeaders } = create(HttpRoute_RuleSchema, more);
  if (timeouts !== undefined) rule.timeouts = timeouts;
  rule.allowL5dRequestHeaders = allowL5dRequestHeaders;
  return wire;
}

/** The chain of the one route, once its filters are loaded. */
async function outboundChain(
  s: ReturnType<typeof setUp>,
  filters: readonly OutboundFilter[],
  more: Rule = {},
): Promise<FilterChain> {
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).send(outbound(filters, more));
  await until(() => watched.value !== null);
  const chain = watched.value?.routes[0]?.chain;
  if (chain === undefined) throw new Error("no route");
  return chain;
}

const text = (value: string) => new TextEncoder().encode(value);

test("header modifiers of the wire change requests and responses", async () => {
  const s = mesh();
  const chain = await outboundChain(s, [
    {
      kind: {
        case: "requestHeaderModifier",
        value: {
          set: { headers: [{ name: "X-Set", value: text("new") }] },
          add: { headers: [{ name: "x-add", value: text("more") }] },
          remove: ["x-gone"],
        },
      },
    },
    {
      kind: {
        case: "responseHeaderModifier",
        value: { set: { headers: [{ name: "server", value: text("tulle") }] } },
      },
    },
  ]);
  const x = get("/shop", { "x-set": "old", "x-gone": "1", "x-add": "one" });
  assert.is(chain.requestHead(x), CONTINUE);
  assert.is(seen(x.request, "x-set"), "new");
  assert.is(seen(x.request, "x-gone"), null);
  const head = responseHead(200, { server: "other" });
  assert.is(chain.responseHead(x, head), CONTINUE);
  assert.is(seen(head, "server"), "tulle");
  assert.equal(s.control.fetched, [], "nothing is fetched");
  await s.done();
});

test("time-outs of the wire are what the time-out filter says of each request", async () => {
  const s = mesh();
  const chain = await outboundChain(s, [], {
    timeouts: {
      request: durationToWire(2000.4),
      response: durationToWire(1500),
      idle: durationToWire(400 * 86_400_000),
    },
  });
  const x = get("/shop", { "l5d-timeout": "1s", "l5d-retry-http": "5xx" });
  assert.is(chain.requestHead(x), CONTINUE);
  assert.equal(
    [x.timeoutMs, x.exchangeLimitMs, x.responseLimitMs, x.idleLimitMs],
    [0, 2001, 1500, 2_147_483_647],
    "headers have no say",
  );
  assert.is(chain.hooks & HOOK_OUTCOME, 0, "nothing asks for retries");
  await s.done();
});

test("where the rule allows it, a request says in headers how long it takes and how it is retried", async () => {
  const s = mesh();
  const chain = await outboundChain(s, [], {
    timeouts: { response: durationToWire(1500) },
    allowL5dRequestHeaders: true,
  });
  const plain = get("/shop");
  chain.requestHead(plain);
  assert.equal([plain.exchangeLimitMs, plain.responseLimitMs], [0, 1500]);
  const outcome = { status: 503, error: 0, elapsedMs: 1 };
  assert.is(chain.attemptOutcome(plain, outcome), -1);
  const x = get("/shop", {
    "l5d-request-timeout": "3s",
    "l5d-response-timeout": "2s",
    "l5d-retry-http": "503",
    "l5d-retry-timeout": "250ms",
  });
  chain.requestHead(x);
  chain.attemptStart(x);
  assert.equal([x.exchangeLimitMs, x.responseLimitMs, x.attemptTimeoutMs], [3000, 2000, 250]);
  assert.ok(chain.attemptOutcome(x, outcome) >= 0);
  await s.done();
});

test("a redirect of the wire answers with the place that it says", async () => {
  const s = mesh();
  const chain = await outboundChain(s, [{
    kind: {
      case: "redirect",
      value: {
        scheme: { type: { case: "registered", value: 1 } },
        host: "new.example",
        path: { replace: { case: "prefix", value: "/store" } },
      },
    },
  }]);
  const x = get("/shop/cart?n=1");
  assert.is(chain.requestHead(x), REPLY);
  assert.is(x.local?.status, 301);
  assert.equal(x.local?.headers, [["location", "https://new.example/store/cart?n=1"]]);
  await s.done();
});

test("a failure injector of the wire fails its share", async () => {
  for (const [numerator, verdict] of [[39, CONTINUE], [41, REPLY]] as const) {
    const s = mesh();
    const chain = await outboundChain(s, [{
      kind: {
        case: "failureInjector",
        value: { status: 503, message: "drill", ratio: { numerator, denominator: 100 } },
      },
    }]);
    const x = get("/shop");
    assert.is(chain.requestHead(x), verdict);
    assert.is(x.local?.status ?? 0, verdict === REPLY ? 503 : 0);
    await s.done();
  }
});

test("filters of the wire run in its order", async () => {
  const s = mesh();
  const set = (value: string): OutboundFilter => ({
    kind: {
      case: "requestHeaderModifier",
      value: { set: { headers: [{ name: "x-order", value: text(value) }] } },
    },
  });
  const chain = await outboundChain(s, [set("first"), set("second")]);
  const x = get("/shop");
  assert.is(chain.requestHead(x), CONTINUE);
  assert.is(seen(x.request, "x-order"), "second");
  await s.done();
});

test("without the module a route does not do without what it asks for", async () => {
  const s = mesh(FAILS);
  const watched = s.mesh.outbound({ authority: "web" });
  await settle();
  s.control.profile.at(WEB).send(wireProfile());
  s.control.outbound.at(WEB).send(outbound([{
    kind: { case: "redirect", value: { host: "new.example" } },
  }]));
  await settle();
  await s.clock.advanceAsync(2000);
  await until(() => watched.value !== null);
  const x = get("/shop");
  assert.is.not(watched.value?.routes[0]?.chain.requestHead(x), CONTINUE);
  assert.is(x.local, null);
  await s.done();
});

const EVERYWHERE = [{ net: { ip: { ip: { case: "ipv4" as const, value: 0 } }, prefixLen: 0 } }];
const only = (name: string) => ({
  networks: EVERYWHERE,
  authentication: {
    permit: {
      case: "meshTLS" as const,
      value: { clients: { case: "identities" as const, value: { identities: [{ name }] } } },
    },
  },
  labels: { group: "policy.linkerd.io", kind: "authorizationpolicy", name },
});

type ServerInit = MessageInitShape<typeof ServerSchema>;

/** The chain of an inbound port's first route. */
async function inboundChain(
  s: ReturnType<typeof setUp>,
  init: Exclude<ServerInit, { $typeName: string }>,
): Promise<{ chain: FilterChain; policy: ServerPolicy }> {
  const watched = s.mesh.inbound(8080);
  await settle();
  const before = watched.value;
  s.control.inbound.at("8080").send(create(ServerSchema, {
    labels: { group: "policy.linkerd.io", kind: "server", name: "web" },
    ...init,
  }));
  await until(() => watched.value !== before && watched.value?.routes !== before?.routes);
  const { value } = watched;
  if (value?.routes[0] === undefined) throw new Error("no route");
  return { chain: value.routes[0].chain, policy: value.policy };
}

const from = (identity: string | null, ip = "10.1.2.3", path = "/own"): Exchange =>
  exchange(`GET ${path} HTTP/1.1\nhost: web`, {
    direction: "inbound",
    remote: { ip, port: 40000 },
    tls: identity === null ? null : { identity, alpn: null },
  });

test("authorizations of a route of the wire are asked, with the server's beside them", async () => {
  const s = mesh();
  const { chain, policy } = await inboundChain(s, {
    authorizations: [only("web.shop")],
    protocol: {
      kind: {
        case: "http1",
        value: {
          routes: [{
            metadata: { kind: { case: "default", value: "own" } },
            authorizations: [only("vote.shop")],
            rules: [{ matches: [{ path: { kind: { case: "prefix", value: "/own" } } }] }],
          }],
        },
      },
    },
  });
  assert.is(policy.routes[0]?.authorizations?.length, 1);
  for (const identity of ["web.shop", "vote.shop"]) {
    assert.is(chain.requestHead(from(identity)), CONTINUE, identity);
  }
  for (const identity of ["load.shop", null]) {
    const x = from(identity);
    assert.is(chain.requestHead(x), REPLY);
    assert.is(x.local?.status, 403);
  }
  assert.is(chain.requestHead(from(null, "127.0.0.1")), CONTINUE, "the pod itself");
  await s.done();
});

test("a local rate limit of the wire is kept, also for an identity of its own", async () => {
  const s = mesh();
  const { chain } = await inboundChain(s, {
    authorizations: [only("web.shop")],
    protocol: {
      kind: {
        case: "detect",
        value: {
          timeout: durationToWire(10_000),
          httpLocalRateLimit: {
            total: { requestsPerSecond: 20 },
            identity: { requestsPerSecond: 2 },
            overrides: [{
              limit: { requestsPerSecond: 4 },
              clients: { identities: [{ name: "load.shop" }] },
            }],
          },
        },
      },
    },
  });
  const passing = (identity: string | null) => {
    let passed = 0;
    for (let i = 0; i < 6; i++) if (chain.requestHead(from(identity)) === CONTINUE) passed++;
    return passed;
  };
  assert.is(passing("web.shop"), 2);
  assert.is(passing("load.shop"), 4);
  assert.is(passing(null), 2);
  const x = from("web.shop");
  chain.requestHead(x);
  assert.is(x.local?.status, 429);
  assert.equal(x.local?.headers, [["retry-after", "1"]]);
  await s.done();
});

test("filters of an inbound route of the wire run, too", async () => {
  const s = mesh();
  const { chain } = await inboundChain(s, {
    authorizations: [only("web.shop")],
    protocol: {
      kind: {
        case: "http1",
        value: {
          routes: [{
            metadata: { kind: { case: "default", value: "own" } },
            rules: [{
              filters: [create(InboundFilter, {
                kind: { case: "redirect", value: { host: "new.example", status: 307 } },
              })],
            }],
          }],
        },
      },
    },
  });
  const x = from("web.shop");
  assert.is(chain.requestHead(x), REPLY);
  assert.is(x.local?.status, 307);
  await s.done();
});

test.run();
