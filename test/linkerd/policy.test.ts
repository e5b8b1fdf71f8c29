// Client policies from Linkerd's wire, in the order in which its control plane sends them: routes, and
// what they ask for, which the modules that the proxy carries do. No field of ours is set.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { ask } from "../mesh/support/http.ts";
import { eventually, pause, sum } from "../mesh/support/waiting.ts";
import {
  add,
  detecting,
  first,
  httpRoute,
  type Json,
  policy,
  profile,
  random,
} from "./support/messages.ts";
import { type Dialect, type Service, versionOf, World } from "./support/world.ts";

let world: World;
test.before(async () => {
  world = await World.start(136);
});
test.after(() => world?.end());

/** A Service with these routes, whose control plane answers policy, profile and endpoints in turn. */
function routed(service: Service, ...routes: readonly Json[]): void {
  world.control.outbound.at(service.clusterAddr).set(policy(service.path, routes));
  world.control.profile.at(service.clusterAddr).set(profile(service.name));
}

async function leaf(label: string, dialect: Dialect = "HTTP/1") {
  const app = await world.app(versionOf(dialect), label);
  const service = world.named(label);
  world.control.get.at(service.path).set(add([app.at]));
  return service.path;
}

const base64 = (text: string) => btoa(text);

for (const dialect of ["HTTP/1", "HTTP/2"] as const) {
  test(`${dialect}: a default route leads to the Service's endpoints`, async () => {
    const app = await world.app(versionOf(dialect), "default");
    const service = world.service("default", app.at);
    assert.is((await world.ask(dialect, service)).body, "default");
  });

  test(`${dialect}: a route without rules is 404`, async () => {
    const app = await world.app(versionOf(dialect), "never");
    const service = world.service("empty", app.at);
    routed(service, { ...httpRoute("empty", first(service.path)), rules: [] });
    assert.is((await world.ask(dialect, service)).status, 404);
    assert.is(app.got.length, 0);
  });

  test(`${dialect}: requests are routed by a header`, async () => {
    const [world1, city] = [await leaf("everywhere", dialect), await leaf("city", dialect)];
    const service = world.named("by-header");
    const header = { name: "x-hello-city", exact: base64("sf") };
    routed(
      service,
      httpRoute("city", first(city), { matches: [{ path: { prefix: "/" }, headers: [header] }] }),
      httpRoute("http", first(world1)),
    );
    assert.is((await world.ask(dialect, service)).body, "everywhere");
    const headers = { "x-hello-city": "sf" };
    assert.is((await world.ask(dialect, service, "/", { headers })).body, "city");
  });

  test(`${dialect}: requests are routed by their path, the longest match first`, async () => {
    const [root, deep] = [await leaf("root", dialect), await leaf("deep", dialect)];
    const service = world.named("by-path");
    routed(
      service,
      httpRoute("http", first(root)),
      httpRoute("deep", first(deep), { matches: [{ path: { prefix: "/deep" } }] }),
    );
    assert.is((await world.ask(dialect, service, "/deeper")).body, "root");
    assert.is((await world.ask(dialect, service, "/deep/er")).body, "deep");
  });
}

test("a distribution by weight sends nothing where the weight is 0", async () => {
  const [a, b] = [await leaf("a"), await leaf("b")];
  const service = world.named("weighted");
  routed(service, httpRoute("http", random({ [a]: 0, [b]: 1 })));
  for (let i = 0; i < 10; i++) assert.is((await world.ask("HTTP/1", service)).body, "b");
});

test("retry: a status of the wire's ranges is tried again, another is not", async () => {
  let n = 0;
  const app = await world.app("http1", ({ path }) => {
    n++;
    return n % 2 === 1 ? { status: path === "/other" ? 501 : 503 } : "second";
  });
  const service = world.service("retry", app.at);
  routed(
    service,
    httpRoute("http", first(service.path), {
      retry: {
        maxRetries: 1,
        maxRequestBytes: 65_536,
        conditions: { statusRanges: [{ start: 503, end: 503 }] },
        backoff: { minBackoff: "0.025s", maxBackoff: "0.250s", jitterRatio: 1 },
      },
    }),
  );
  assert.is((await world.ask("HTTP/1", service)).body, "second");
  assert.is(n, 2);
  assert.is((await world.ask("HTTP/1", service, "/other")).status, 501);
  assert.is(n, 3);
});

test("timeout: a request over the wire's time is 504", async () => {
  const app = await world.app("http1", async () => {
    await pause(3000);
    return "late";
  });
  const service = world.service("timeout", app.at);
  routed(service, httpRoute("http", first(service.path), { timeouts: { request: "0.100s" } }));
  assert.is((await world.ask("HTTP/1", service)).status, 504);
});

/** Filters of a rule, and what a client gets. */
const FILTERS: readonly {
  readonly says: string;
  readonly filter: Json;
  readonly status: number;
  readonly header?: readonly [string, string];
  readonly seen?: readonly [string, string];
}[] = [{
  says: "redirect: a redirect is answered, and the application hears nothing",
  filter: { redirect: { scheme: { registered: "HTTPS" }, host: "other.example", status: 302 } },
  status: 302,
  header: ["location", "https://other.example/some"],
}, {
  says: "failure-injector: a failure is answered with the status and the message",
  filter: {
    failureInjector: { status: 418, message: "injected", ratio: { numerator: 1, denominator: 1 } },
  },
  status: 418,
}, {
  says: "header-modifier: a request's header is set",
  filter: {
    requestHeaderModifier: { set: { headers: [{ name: "x-set", value: base64("yes") }] } },
  },
  status: 200,
  seen: ["x-set", "yes"],
}, {
  says: "header-modifier: a response's header is added",
  filter: {
    responseHeaderModifier: { add: { headers: [{ name: "x-back", value: base64("yes") }] } },
  },
  status: 200,
  header: ["x-back", "yes"],
}];

for (const { says, filter, status, header, seen } of FILTERS) {
  test(says, async () => {
    const app = await world.app("http1", "reached");
    const service = world.service("filtered", app.at);
    routed(service, httpRoute("http", first(service.path), { filters: [filter] }));
    const answer = await world.ask("HTTP/1", service, "/some");
    assert.is(answer.status, status);
    assert.is(app.got.length, status === 200 ? 1 : 0);
    if (header !== undefined) assert.is(answer.headers[header[0]], header[1]);
    if (seen !== undefined) assert.is(app.got[0]?.headers[seen[0]], seen[1]);
  });
}

/** Text of a request to the application of this pod, and the status that came. */
async function inboundStatus(path = "/"): Promise<number> {
  return (await ask({ ...world.proxy.inboundAt, agent: false, path })).status;
}

test("local-rate-limit: requests over an inbound limit are 429", async () => {
  const app = await world.app("http1", "ok", world.proxy.ip);
  const port = app.at.split(":")[1] ?? "";
  world.proxy.inbound = app.at;
  world.control.inbound.at(`web ${port}`).set(detecting({
    httpLocalRateLimit: {
      metadata: { resource: { group: "policy.linkerd.io", kind: "HTTPLocalRateLimitPolicy" } },
      total: { requestsPerSecond: 2 },
    },
  }));
  await eventually("a request is over the limit", async () => {
    const all = await Promise.all([1, 2, 3, 4, 5, 6].map(() => inboundStatus()));
    assert.ok(all.includes(429) && all.includes(200), all.join());
  });
});

test("route-policy: a route's authorizations admit on that route only", async () => {
  const app = await world.app("http1", "ok", world.proxy.ip);
  const port = app.at.split(":")[1] ?? "";
  world.proxy.inbound = app.at;
  const anybody = {
    networks: [{ net: { ip: { ipv4: 0 }, prefixLen: 0 } }],
    authentication: { unauthenticated: {} },
    metadata: { default: "route" },
  };
  world.control.inbound.at(`web ${port}`).set(detecting({
    httpRoutes: [
      {
        metadata: { default: "open" },
        authorizations: [anybody],
        rules: [{ matches: [{ path: { prefix: "/open" } }] }],
      },
      { metadata: { default: "shut" }, rules: [{ matches: [{ path: { prefix: "/" } }] }] },
    ],
  }, []));
  await eventually("the policy is there", async () => {
    assert.equal([await inboundStatus("/open"), await inboundStatus("/shut")], [200, 403]);
  });
});

test("a policy that cannot be used leaves the last one in force", async () => {
  const app = await world.app("http1", "good");
  const service = world.service("good", app.at);
  assert.is((await world.ask("HTTP/1", service)).body, "good");
  const feed = world.control.outbound.at(service.clusterAddr);
  feed.tell(policy(service.path, [{ metadata: { default: "bad" }, rules: [{}] }]));
  await eventually("it is said", () => {
    assert.ok(world.proxy.log.some((l) => l.includes("policy cannot be used")));
  });
  assert.is((await world.ask("HTTP/1", service)).body, "good");
});

test("requests and responses are counted under the endpoint's labels", async () => {
  const app = await world.app("http1", ({ path }) => ({ status: Number(path.slice(1)) }));
  const service = world.named("labelled");
  world.know(service);
  const of = { labels: { pod: "labelled-1" } };
  world.control.get.at(service.path).set(add([[app.at, of]], { service: "labelled" }));
  const statuses = [200, 304, 400, 418, 504, 500];
  for (const status of statuses) {
    assert.is((await world.ask("HTTP/1", service, `/${status}`)).status, status);
  }
  await eventually("they are counted", async () => {
    const samples = await world.proxy.metrics();
    const labels = { direction: "outbound", dst_pod: "labelled-1", dst_service: "labelled" };
    assert.is(sum(samples, "request_total", labels), statuses.length);
    assert.is(sum(samples, "response_latency_ms_count", labels), statuses.length);
    for (const status of statuses) {
      const classification = status >= 500 ? "failure" : "success";
      const one = { ...labels, status_code: String(status), classification };
      assert.is(sum(samples, "response_total", one), 1, String(status));
    }
  });
});

test.run();
