// ServiceProfiles from Linkerd's wire: retries with their budget, response classes, time-outs, and
// overrides of the destination. What decides is the retry and the timeout module that the proxy carries.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, pause, sum } from "../mesh/support/waiting.ts";
import type { App, Got, Says, Version } from "./support/apps.ts";
import { ask2 } from "./support/apps.ts";
import {
  add,
  BUDGET,
  type Json,
  profile,
  profileRoute,
  responseClass,
} from "./support/messages.ts";
import { type Dialect, type Service, World } from "./support/world.ts";

let world: World;
test.before(async () => {
  world = await World.start(126);
});
test.after(() => world?.end());

const FAILING = [responseClass(500, 599, true)];
const RETRYABLE: Json = { isRetryable: true };

/** Fails every other request, beginning with the first. */
function everyOther(said: Says = "retried"): (got: Got) => Says {
  let n = 0;
  return () => n++ % 2 === 0 ? { status: 533 } : said;
}

async function profiled(
  version: Version,
  answer: (got: Got) => Says | Promise<Says>,
  route: Json,
  budget: Json | null = BUDGET,
): Promise<{ service: Service; app: App; dialect: Dialect }> {
  const app = await world.app(version, answer);
  const service = world.service("profiled", app.at);
  world.control.profile.at(service.clusterAddr).set(
    profile(service.name, {
      routes: [profileRoute(route)],
      ...(budget === null ? { retryBudget: null } : { retryBudget: budget }),
    }),
  );
  return { service, app, dialect: version === "http2" ? "HTTP/2" : "HTTP/1" };
}

/** How a body is sent. */
type Body = { method: string; body: string; headers?: Readonly<Record<string, string>> };
const CHUNKED = { "transfer-encoding": "chunked" };

interface Case {
  readonly says: string;
  readonly route: Json;
  readonly budget?: Json | null;
  readonly request?: Body;
  readonly status: number;
}

const CASES: readonly Case[] = [
  { says: "a failure is retried where the route allows it", route: RETRYABLE, status: 200 },
  {
    says: "a short POST is retried with its body",
    route: { ...RETRYABLE, responseClasses: FAILING },
    request: { method: "POST", body: "req has a body" },
    status: 200,
  },
  {
    says: "a short PUT is retried with its body",
    route: { ...RETRYABLE, responseClasses: FAILING },
    request: { method: "PUT", body: "req has a body" },
    status: 200,
  },
  {
    says: "a body without length is retried",
    route: { ...RETRYABLE, responseClasses: FAILING },
    request: { method: "POST", body: "helloworld", headers: CHUNKED },
    status: 200,
  },
  {
    says: "a request of no retryable route is not retried",
    route: { ...RETRYABLE, condition: { path: { regex: "/wont/match/anything" } } },
    status: 533,
  },
  {
    says: "an earlier class that says success wins",
    route: { ...RETRYABLE, responseClasses: [responseClass(533, 533, false), ...FAILING] },
    status: 533,
  },
  {
    says: "a body over 64 KiB is not retried",
    route: { ...RETRYABLE, responseClasses: FAILING },
    request: { method: "POST", body: "x".repeat(64 * 1024 + 1) },
    status: 533,
  },
  {
    says: "a body without length that grows over 64 KiB is not retried",
    route: { ...RETRYABLE, responseClasses: FAILING },
    request: { method: "POST", body: "x".repeat(96 * 1024), headers: CHUNKED },
    status: 533,
  },
  {
    says: "without a budget nothing is retried",
    route: { ...RETRYABLE, responseClasses: FAILING },
    budget: null,
    status: 533,
  },
  {
    says: "a budget whose time is over its bound is none",
    route: RETRYABLE,
    budget: { ...BUDGET, ttl: "1000s" },
    status: 533,
  },
  {
    says: "a budget whose ratio is over its bound is none",
    route: RETRYABLE,
    budget: { ...BUDGET, retryRatio: 10_000 },
    status: 533,
  },
  {
    says: "a budget with a negative ratio is none",
    route: RETRYABLE,
    budget: { ...BUDGET, retryRatio: -1 },
    status: 533,
  },
];

for (const version of ["http1", "http2"] as const) {
  const name = version === "http1" ? "HTTP/1" : "HTTP/2";

  for (const { says, route, budget, request, status } of CASES) {
    test(`${name}: ${says}`, async () => {
      const { service, app, dialect } = await profiled(version, everyOther(), route, budget);
      const { headers = {}, ...sent } = request ?? { method: "GET", body: "" };
      const isChunked = CHUNKED === headers;
      const more = version === "http2" || !isChunked ? {} : headers;
      const answer = await world.ask(dialect, service, "/0.5", { ...sent, headers: more });
      assert.is(answer.status, status);
      assert.equal(
        app.got.map(({ method, body }) => [method, body.length]),
        Array.from({ length: status === 200 ? 2 : 1 }, () => [sent.method, sent.body.length]),
      );
    });
  }

  test(`${name}: retries end with their budget, and what is not tried is counted with its reason`, async () => {
    const budget = { retryRatio: 0, minRetriesPerSecond: 1, ttl: "10s" };
    const route = { ...RETRYABLE, responseClasses: FAILING };
    const { service, dialect } = await profiled(version, () => ({ status: 533 }), route, budget);
    for (let i = 0; i < 25; i++) await world.ask(dialect, service);
    const labels = { direction: "outbound", dst: service.path, skipped: "no_budget" };
    await eventually("a retry was skipped", async () => {
      assert.ok(sum(await world.proxy.metrics(), "route_retryable_total", labels) >= 1);
    });
  });

  test(`${name}: a response later than the route's time-out is 504, and counted so`, async () => {
    const late = async () => {
      await pause(3000);
      return "late";
    };
    const { service, dialect } = await profiled(version, late, { timeout: "0.100s" });
    assert.is((await world.ask(dialect, service)).status, 504);
    const labels = { direction: "outbound", dst: service.path, classification: "failure" };
    await eventually("the failure is counted", async () => {
      assert.is(sum(await world.proxy.metrics(), "route_response_total", labels), 1);
    });
  });
}

test("HTTP/2: the window of a response that was thrown away is given back", async () => {
  const big = "x".repeat(100 * 1024);
  let n = 0;
  const { service } = await profiled(
    "http2",
    () => n++ % 2 === 0 ? { status: 533, body: big } : { body: big },
    { ...RETRYABLE, responseClasses: FAILING },
  );
  for (let i = 0; i < 4; i++) {
    const { status, body } = await world.ask("HTTP/2", service);
    assert.equal([status, body.length], [200, big.length]);
  }
});

// gRPC: how a call ended is in its head or in its trailers.

const GRPC = { "content-type": "application/grpc" };
const call = (service: Service) => {
  world.proxy.outbound = service.clusterAddr;
  return ask2(world.proxy.outboundAt, {
    ":method": "POST",
    ":path": "/test.Svc/Call",
    ":authority": service.name,
    ":scheme": "http",
    "content-type": "application/grpc",
    te: "trailers",
  }, "ping");
};

test("gRPC: a failure in the head is retried", async () => {
  let n = 0;
  const { service, app } = await profiled(
    "http2",
    () =>
      n++ === 0
        ? { headers: { ...GRPC, "grpc-status": "14" } }
        : { headers: GRPC, body: "pong", trailers: { "grpc-status": "0" } },
    RETRYABLE,
  );
  const { body, trailers } = await call(service);
  assert.equal([body, trailers["grpc-status"], app.got.length], ["pong", "0", 2]);
});

test("gRPC: a failure in the trailers is retried", async () => {
  let n = 0;
  const { service, app } = await profiled("http2", () => ({
    headers: GRPC,
    body: "pong",
    trailers: { "grpc-status": n++ === 0 ? "14" : "0" },
  }), RETRYABLE);
  const { body, trailers } = await call(service);
  assert.equal([body, trailers["grpc-status"], app.got.length], ["pong", "0", 2]);
});

test("gRPC: success in the trailers is not retried, and a body of several frames passes whole", async () => {
  const body = "frame ".repeat(10_000);
  const { service, app } = await profiled("http2", () => ({
    headers: GRPC,
    body,
    trailers: { "grpc-status": "0" },
  }), RETRYABLE);
  const answer = await call(service);
  assert.is(answer.body, body);
  assert.equal([answer.trailers["grpc-status"], app.got.length], ["0", 1]);
});

// Overrides of the destination.

interface Overridden {
  readonly apex: Service;
  readonly apps: Readonly<Record<"apex" | "a" | "b", App>>;
  override(weights: Readonly<Partial<Record<"a" | "b", number>>>): void;
  /** Sends requests, and says which applications answered. */
  answers(n?: number): Promise<string[]>;
}

async function overridden(): Promise<Overridden> {
  const apps = {
    apex: await world.app("http1", "apex"),
    a: await world.app("http1", "a"),
    b: await world.app("http1", "b"),
  };
  const apex = world.service("apex", apps.apex.at);
  const leaves = { a: world.named("leaf-a"), b: world.named("leaf-b") };
  for (const key of ["a", "b"] as const) {
    world.control.get.at(leaves[key].path).set(add([apps[key].at]));
  }
  return {
    apex,
    apps,
    override: (weights) =>
      void world.control.profile.at(apex.clusterAddr).set(profile(apex.name, {
        dstOverrides: Object.entries(weights).map(([key, weight]) => ({
          authority: leaves[key as "a" | "b"].path,
          weight,
        })),
      })),
    async answers(n = 40) {
      const seen = new Set<string>();
      for (let i = 0; i < n; i++) seen.add((await world.ask("HTTP/1", apex)).body);
      return [...seen].sort();
    },
  };
}

/** Waits until requests go to nobody else. */
async function goesTo(o: Overridden, wanted: readonly string[]): Promise<void> {
  await eventually(`requests go to ${wanted.join(" and ")}`, async () => {
    assert.equal(await o.answers(10), wanted);
  });
  assert.equal(await o.answers(), wanted);
}

test("an override takes all traffic, and gives it back when it is gone", async () => {
  const o = await overridden();
  await goesTo(o, ["apex"]);
  o.override({ a: 10_000 });
  await goesTo(o, ["a"]);
  o.override({});
  await goesTo(o, ["apex"]);
});

test("two overrides share the traffic, and one of weight 0 gets none", async () => {
  const o = await overridden();
  o.override({ a: 5000, b: 5000 });
  await goesTo(o, ["a", "b"]);
  o.override({ a: 0, b: 5000 });
  await goesTo(o, ["b"]);
});

test("overrides whose weights are all 0 are none: the service itself is used", async () => {
  const o = await overridden();
  o.override({ a: 5000, b: 5000 });
  await goesTo(o, ["a", "b"]);
  o.override({ a: 0, b: 0 });
  await goesTo(o, ["apex"]);
});

test.run();
