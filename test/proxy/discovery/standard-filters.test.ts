// Retries that a route asks for by the wire alone: decided by the filter that the proxy carries, unless
// a filter of the route's own decides.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { sha256Hex } from "../../../src/api/hex.ts";
import { PROFILE_RETRY, type Route } from "../../../src/model/route.ts";
import { DEFAULT_ROUTE } from "../../../src/proxy/discovery/combine.ts";
import {
  standardFilters,
  type StandardModules,
} from "../../../src/proxy/discovery/standard-filters.ts";
import { parts, plan, settle, setUp } from "./filter-fixture.ts";

const bytes = new TextEncoder().encode("the retry filter");
const MODULES: StandardModules = { retry: { sha256: await sha256Hex(bytes), bytes } };
const ROUTE: Route = { ...DEFAULT_ROUTE, retry: PROFILE_RETRY };

const configOf = (route: Route) => {
  const [filter] = standardFilters(route, MODULES);
  return JSON.parse(new TextDecoder().decode(filter?.ref.config));
};

test("a route that may not be retried needs no filter of ours", () => {
  assert.equal(standardFilters(DEFAULT_ROUTE, MODULES), []);
  assert.equal(standardFilters(ROUTE, { retry: null }), []);
});

test("isRetryable means what the response classes call failures", () => {
  assert.is(configOf(ROUTE).statuses, "500-599");
  assert.is(
    configOf({
      ...ROUTE,
      responseClasses: [
        { match: { kind: "status", range: { min: 503, max: 503 } }, isFailure: false },
        { match: { kind: "status", range: { min: 404, max: 409 } }, isFailure: true },
      ],
    }).statuses,
    "404-409,500-502,504-599",
  );
  assert.is(configOf(ROUTE).anyMethod, true);
});

test("a policy's retry means its own statuses, limit, time-out and back-off", () => {
  assert.equal(
    configOf({
      ...ROUTE,
      retry: {
        statuses: [{ min: 500, max: 500 }, { min: 502, max: 504 }],
        grpc: ["unavailable"],
        maxRetries: 3,
        attemptTimeoutMs: 250,
        backoff: { minMs: 25, maxMs: 250, jitter: 1 },
      },
    }),
    {
      statuses: "500,502-504",
      grpc: ["unavailable"],
      maxRetries: 3,
      attemptTimeoutMs: 250,
      backoffMs: 25,
      maxBackoffMs: 250,
      jitter: 1,
      anyMethod: true,
    },
  );
});

test("time-outs are said by the time-out filter, before what the route names", () => {
  const modules: StandardModules = { ...MODULES, timeout: MODULES.retry ?? null };
  const of = (more: Partial<Route>) =>
    standardFilters({ ...DEFAULT_ROUTE, ...more }, modules).map(({ ref, first }) => ({
      name: ref.name,
      first,
      policy: ref.failurePolicy,
      config: JSON.parse(new TextDecoder().decode(ref.config)),
    }));
  assert.equal(of({ timeoutMs: 300 }), [{
    name: "standard-timeout",
    first: true,
    policy: "open",
    config: { requestMs: 300, exchangeMs: 0, responseMs: 0, idleMs: 0, requestHeaders: false },
  }]);
  const limits = { requestMs: 1, responseMs: 2, idleMs: 3 };
  assert.equal(of({ limits })[0]?.config, {
    requestMs: 0,
    exchangeMs: 1,
    responseMs: 2,
    idleMs: 3,
    requestHeaders: false,
  });
  const asked = of({ takesRequestHeaders: true });
  assert.equal(asked.map((f) => f.name), ["standard-timeout", "standard-retry"]);
  assert.equal(asked.map((f) => f.config.requestHeaders), [true, true]);
  assert.is(asked[1]?.config.maxRetries, 0);
  assert.equal(of({}), []);
});

test("the carried filter runs last, and is neither fetched nor asked for a signature", async () => {
  const s = setUp(null, () => Promise.resolve(), MODULES);
  const { chains } = s.target();
  const hdr = await s.ref("hdr", "v1");
  chains.set([retryable("a", hdr), plan("b", hdr)]);
  await settle();
  assert.equal(parts(chains), [["hdr@v1", "standard-retry@the retry filter"], ["hdr@v1"]]);
  assert.equal(s.control.fetched, [hdr.sha256]);
  assert.equal(s.store.status().map((f) => [f.name, f.state, f.routes]), [
    ["hdr", "ready", 2],
    ["standard-retry", "ready", 1],
  ]);
  await s.done();
});

test("a signature that nobody gave does not stop the carried filter", async () => {
  const refuse = () => Promise.reject(new Error("not signed"));
  const s = setUp(null, refuse, MODULES);
  const { chains } = s.target();
  chains.set([retryable("a")]);
  await settle();
  assert.equal(parts(chains), [["standard-retry@the retry filter"]]);
  await s.done();
});

test("it gives way to a filter of the route that decides after attempts", async () => {
  const s = setUp(null, null, MODULES);
  s.engine.hooks = { mine: ["request", "outcome"] };
  const { chains } = s.target();
  const mine = await s.ref("mine", "v1");
  chains.set([retryable("a", mine)]);
  await settle();
  assert.equal(parts(chains), [["mine@v1"]]);
  assert.equal(s.store.status().map((f) => f.name), ["mine"]);
  chains.set([retryable("a")]);
  await settle();
  assert.equal(parts(chains), [["standard-retry@the retry filter"]]);
  await s.done();
});

function retryable(...[name, ...filters]: Parameters<typeof plan>) {
  const { route } = plan(name, ...filters);
  return { route: { ...DEFAULT_ROUTE, ...route, retry: PROFILE_RETRY }, filters };
}

test.run();
