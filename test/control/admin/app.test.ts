import { test } from "uvu";
import { signatureText } from "../../../src/core/signature.ts";
import * as assert from "uvu/assert";
import * as api from "../../../src/api/admin.ts";
import { SILENT } from "../../../src/core/log.ts";
import { createAdminApp } from "../../../src/control/admin/app.ts";
import { Live } from "../../../src/control/admin/live.ts";
import { readExposition } from "../../../src/control/admin/exposition.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { digest, endpoint, FakeProxies, FakeState, filter, pod, service } from "./fixture.ts";

function setUp(events: { maxClients?: number } = {}) {
  const state = new FakeState();
  const clock = new FakeClock();
  state.serviceList = [
    service("web", [endpoint("127.1.0.2:8080", "web-0")]),
    service("vote", [endpoint("127.1.0.3:8080", "vote-0", false)]),
  ];
  state.filterList = [filter("retry", "a", "ab")];
  state.podList = [pod("web-0", "127.1.0.2", "web")];
  state.identityState = {
    trustDomain: "cluster.local",
    anchors: [{ name: "root.linkerd.cluster.local", serial: "01", notAfter: 2_000_000_000_000 }],
    issued: [{ name: "web.shop", serial: "0a", notAfter: 1_900_000_000_000 }],
  };
  state.counterState = {
    streamsOpen: { "destination.Get": 3 },
    updatesSent: { "destination.Get": 17 },
    certificatesIssued: 5,
    refusals: { module: 2 },
  };
  const live = new Live({ state, http: new FakeProxies(), clock, log: SILENT, events });
  const body = new TextEncoder().encode("<!doctype html>");
  const app = createAdminApp(state, {
    live,
    assets: new Map([["index.html", { type: "text/html; charset=utf-8", body }]]),
    listen: { ip: "10.0.0.7", port: 8084 },
    hosts: ["mesh.example"],
    log: SILENT,
  });
  return { state, clock, live, app };
}

const BASE = "http://127.0.0.1:8084";
const json = async (answer: Response): Promise<unknown> => await answer.json();

test("GET /api/… answer what their schemas say", async () => {
  const { app, live } = setUp();
  await live.step();
  const routes = {
    "/api/services": api.servicesAnswer,
    "/api/proxies": api.proxiesAnswer,
    "/api/filters": api.filtersAnswer,
    "/api/identities": api.identitiesAnswer,
  };
  for (const [path, check] of Object.entries(routes)) {
    const answer = await app.request(BASE + path);
    assert.is(answer.status, 200, path);
    assert.match(answer.headers.get("content-type") ?? "", "application/json");
    const value = await json(answer);
    assert.equal(check(value, ""), value, path);
  }
});

test("GET /api/services shows a service and its endpoints", async () => {
  const { app } = setUp();
  const { services } = api.servicesAnswer(
    await json(await app.request(`${BASE}/api/services`)),
    "",
  );
  assert.equal(services.map(({ id }) => id), ["shop/web", "shop/vote"]);
  assert.equal(services[1]?.endpoints.map(({ addr, ready }) => [addr, ready]), [
    ["127.1.0.3:8080", false],
  ]);
});

test("GET /api/identities shows names, serials and dates, whatever else a state holds", async () => {
  const { app, state } = setUp();
  const secret = { name: "web.shop", serial: "0a", notAfter: 1, privateKey: "SECRET" };
  state.identityState = { ...state.identityState, issued: [secret], anchors: [secret] };
  const text = await (await app.request(`${BASE}/api/identities`)).text();
  assert.not.match(text, "SECRET");
  assert.equal(JSON.parse(text).identities, [{ name: "web.shop", serial: "0a", notAfter: 1 }]);
});

test("a change of the state is seen by the next request", async () => {
  const { app, live, state } = setUp();
  const stop = live.start();
  await app.request(`${BASE}/api/services`);
  state.serviceList = [];
  state.touch();
  assert.equal(await json(await app.request(`${BASE}/api/services`)), { services: [], edges: [] });
  stop();
});

test("/live, /ready and the page answer", async () => {
  const { app, state } = setUp();
  assert.is((await app.request(`${BASE}/live`)).status, 200);
  assert.is((await app.request(`${BASE}/ready`)).status, 200);
  state.why = "the folder shop/ is not read yet";
  const not = await app.request(`${BASE}/ready`);
  assert.is(not.status, 503);
  assert.is(await not.text(), "not ready: the folder shop/ is not read yet\n");
  const page = await app.request(`${BASE}/`);
  assert.equal([page.status, page.headers.get("content-type")], [200, "text/html; charset=utf-8"]);
  assert.is(await page.text(), "<!doctype html>");
});

test("/metrics is Prometheus text of the control plane", async () => {
  const { app, live } = setUp();
  await live.step();
  const answer = await app.request(`${BASE}/metrics`);
  assert.is(answer.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const text = await answer.text();
  const families = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map((m) => m[1] as string));
  const values = new Map<string, number>();
  readExposition(text, families, (series, value) => void values.set(series, value));
  const expected = {
    'tulle_control_streams_open{method="destination.Get"}': 3,
    'tulle_control_updates_sent_total{method="destination.Get"}': 17,
    "tulle_control_certificates_issued_total": 5,
    'tulle_control_refusals_total{what="module"}': 2,
    'tulle_control_filters{state="serving"}': 1,
    'tulle_control_filters{state="refused"}': 0,
    'tulle_control_endpoints{ready="false"}': 1,
    'tulle_control_proxies{state="starting"}': 1,
    'tulle_admin_scrapes_total{result="failed"}': 1,
  };
  for (const [series, value] of Object.entries(expected)) {
    assert.is(values.get(series), value, series);
  }
});

test("every answer has the headers that keep it out of other sites", async () => {
  const { app } = setUp();
  const at = (path: string, init?: RequestInit) => app.request(BASE + path, init);
  const answers = await Promise.all([
    at("/"),
    at("/live"),
    at("/api/services"),
    at("/nowhere"),
    at("/api/services", { method: "DELETE" }),
    app.request("http://evil.example/api/services"),
  ]);
  for (const answer of answers) {
    const policy = answer.headers.get("content-security-policy") ?? "";
    assert.match(policy, "default-src 'none'; script-src 'self'; style-src 'self'");
    assert.match(policy, "frame-ancestors 'none'");
    assert.not.match(policy, "unsafe-inline");
    assert.is(answer.headers.get("x-content-type-options"), "nosniff");
    assert.is(answer.headers.get("access-control-allow-origin"), null);
    assert.ok(answer.headers.has("cache-control"));
  }
});

test("a request for the name of another host is turned away, whatever it asks", async () => {
  const { app, state } = setUp();
  const allowed = [
    "127.0.0.1:8084",
    "localhost:8084",
    "LOCALHOST",
    "127.9.9.9",
    "[::1]:8084",
    "10.0.0.7:8084",
    "mesh.example",
  ];
  const refused = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.8",
    "127.1.evil",
    "[::2]:8084",
  ];
  for (const host of allowed) {
    assert.is((await app.request(`http://${host}/api/services`)).status, 200, host);
  }
  for (const host of refused) {
    for (const path of ["/", "/api/services", "/api/events", "/metrics", "/assets/app.js"]) {
      assert.is((await app.request(`http://${host}${path}`)).status, 403, host + path);
    }
    const by = await app.request(`${BASE}/api/services`, { headers: { host } });
    assert.is(by.status, 403, `Host: ${host}`);
  }
  const post = await app.request("http://evil.example/api/filters/retry/rollout", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ sha256: digest("b") }),
  });
  assert.equal([post.status, state.rollouts.length], [403, 0]);
  // A kubelet asks by the pod's address.
  assert.is((await app.request("http://10.1.2.3:8084/ready")).status, 200);
});

const rollout = (body: BodyInit | null, type: string, more: Record<string, string> = {}) => ({
  method: "POST",
  headers: { "content-type": type, ...more },
  body,
});
const byDigest = (sha256: unknown) => rollout(JSON.stringify({ sha256 }), "application/json");
const URL_RETRY = `${BASE}/api/filters/retry/rollout`;

test("a roll-out by digest answers with the new digest and the one before", async () => {
  const { app, state } = setUp();
  const answer = await app.request(URL_RETRY, byDigest(digest("b")));
  assert.is(answer.status, 200);
  const value = await json(answer);
  assert.equal(value, { name: "retry", sha256: digest("b"), previous: digest("a") });
  assert.equal(api.rolloutAnswer(value, ""), value);
  assert.equal(state.rollouts, [{ name: "retry", module: { sha256: digest("b") } }]);
});

test("a roll-out of a module hands over its bytes", async () => {
  const { app, state } = setUp();
  const bytes = new Uint8Array(api.MAX_MODULE_BYTES).fill(7);
  const answer = await app.request(URL_RETRY, rollout(bytes, "application/wasm"));
  assert.is(answer.status, 200);
  const { module } = state.rollouts[0] ?? {};
  assert.ok(module !== undefined && "bytes" in module && module.bytes.length === bytes.length);
});

test("a roll-out of a module may bring its signature", async () => {
  const { app, state } = setUp();
  const signature = new Uint8Array(64).fill(7);
  const more = { "x-tulle-signature": signatureText(signature) };
  await app.request(URL_RETRY, rollout("\0asm", "application/wasm", more));
  const { module } = state.rollouts[0] ?? {};
  assert.ok(module !== undefined && "bytes" in module);
  assert.equal(module.signature, signature);
  const bad = await app.request(
    URL_RETRY,
    rollout("\0asm", "application/wasm", { "x-tulle-signature": "AAAA" }),
  );
  assert.is(bad.status, 400);
  assert.match(
    (await json(bad) as { error: string }).error,
    /x-tulle-signature: it is not 64 bytes/,
  );
});

test("a filter's name may hold a slash when it is escaped", async () => {
  const { app, state } = setUp();
  await app.request(`${BASE}/api/filters/shop%2Fretry/rollout`, byDigest(digest("b")));
  assert.is(state.rollouts[0]?.name, "shop/retry");
});

test("an unknown filter is 404, a refused module 422 with the reason", async () => {
  const { app, state } = setUp();
  const reason = "no filter is named retry";
  state.result = { ok: false, kind: "unknown-filter", reason };
  const unknown = await app.request(URL_RETRY, byDigest(digest("b")));
  assert.equal([unknown.status, await json(unknown)], [404, { error: reason }]);
  state.result = { ok: false, kind: "refused", reason: "imports env.abort" };
  const refused = await app.request(URL_RETRY, byDigest(digest("b")));
  assert.equal([refused.status, await json(refused)], [422, { error: "imports env.abort" }]);
});

test("a body that is not what it should be is 400, and says what is wrong", async () => {
  const { app, state } = setUp();
  const cases: [RequestInit, RegExp][] = [
    [rollout("{", "application/json"), /not JSON/],
    [rollout("", "application/json"), /not JSON/],
    [rollout("[]", "application/json"), /must be an object, found a list of 0/],
    [rollout("{}", "application/json"), /sha256 must be 64 lower-case hex digits, found nothing/],
    [byDigest(digest("A")), /sha256 must be 64 lower-case hex digits/],
    [byDigest(7), /sha256 must be 64 lower-case hex digits, found 7/],
    [rollout("", "application/wasm"), /the body is empty/],
    [rollout(null, "application/wasm"), /the body is empty/],
  ];
  for (const [init, error] of cases) {
    const answer = await app.request(URL_RETRY, init);
    assert.is(answer.status, 400, String(error));
    assert.match(api.errorAnswer(await json(answer), "").error, error);
  }
  assert.is(state.rollouts.length, 0);
});

test("a body over its bound is 413, also without a length, and is not read to its end", async () => {
  const { app, state } = setUp();
  const big = new Uint8Array(api.MAX_MODULE_BYTES + 1);
  assert.is((await app.request(URL_RETRY, rollout(big, "application/wasm"))).status, 413);
  assert.is(
    (await app.request(URL_RETRY, rollout(" ".repeat(70_000), "application/json"))).status,
    413,
  );
  let pulled = 0;
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (c) => {
      pulled++;
      c.enqueue(new Uint8Array(1024 * 1024));
    },
    cancel: () => void (cancelled = true),
  });
  const init = { ...rollout(endless, "application/wasm"), duplex: "half" };
  assert.is((await app.request(URL_RETRY, init)).status, 413);
  assert.ok(pulled < 10 && cancelled, `${pulled} MiB were read`);
  const lying = rollout(endless.locked ? "" : null, "application/wasm", {
    "content-length": "99999999",
  });
  assert.is((await app.request(URL_RETRY, lying)).status, 413);
  assert.is(state.rollouts.length, 0);
});

test("another content type, or none, is 415", async () => {
  const { app, state } = setUp();
  for (const type of ["text/plain", "multipart/form-data", "application/wasm-like", ""]) {
    assert.is((await app.request(URL_RETRY, rollout("x", type))).status, 415, type);
  }
  const typed = rollout(JSON.stringify({ sha256: digest("b") }), "Application/JSON; charset=utf-8");
  assert.is((await app.request(URL_RETRY, typed)).status, 200);
  assert.is(state.rollouts.length, 1);
});

test("a page of another origin must not roll out, our own and a tool may", async () => {
  const { app, state } = setUp();
  const send = async (headers: Record<string, string>) => {
    const body = JSON.stringify({ sha256: digest("b") });
    return (await app.request(URL_RETRY, rollout(body, "application/json", headers))).status;
  };
  assert.is(await send({ origin: "http://evil.example" }), 403);
  assert.is(await send({ origin: "null" }), 403);
  assert.is(await send({ origin: "http://127.0.0.1:9999" }), 403);
  assert.is(await send({ origin: "https://127.0.0.1:8084" }), 403);
  assert.is(await send({ "sec-fetch-site": "cross-site" }), 403);
  assert.is(await send({ "sec-fetch-site": "same-site", origin: BASE }), 403);
  assert.is(state.rollouts.length, 0);
  assert.is(await send({}), 200);
  assert.is(await send({ origin: BASE }), 200);
  assert.is(await send({ origin: BASE, "sec-fetch-site": "same-origin" }), 200);
});

test("another method is 405 and names the ones that are answered, another path 404", async () => {
  const { app } = setUp();
  for (const path of ["/", "/metrics", "/api/services", "/api/events"]) {
    const answer = await app.request(BASE + path, { method: "POST" });
    assert.equal([answer.status, answer.headers.get("allow")], [405, "GET, HEAD"], path);
  }
  const get = await app.request(URL_RETRY);
  assert.equal([get.status, get.headers.get("allow")], [405, "POST"]);
  for (const path of ["/nowhere", "/assets/nothing.js", "/assets/..%2Fmain.ts", "/api"]) {
    assert.is((await app.request(BASE + path)).status, 404, path);
  }
});

test("a defect is 500 without its text", async () => {
  const { app, state } = setUp();
  state.result = new Error("SECRET");
  const answer = await app.request(URL_RETRY, byDigest(digest("b")));
  assert.is(answer.status, 500);
  assert.not.match(await answer.text(), "SECRET");
});

test("GET /api/events is an event stream that begins with history and a snapshot", async () => {
  const { app, live } = setUp();
  await live.step();
  const answer = await app.request(`${BASE}/api/events`);
  assert.equal([answer.status, answer.headers.get("content-type")], [200, "text/event-stream"]);
  assert.is(answer.headers.get("cache-control"), "no-store");
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  const text = new TextDecoder().decode((await reader.read()).value);
  const events = text.split("\n\n").filter((e) => e.startsWith("event: "))
    .map((e) => /^event: (\w+)\ndata: (.*)$/.exec(e) ?? []);
  assert.equal(events.map((m) => m[1]), ["history", "snapshot"]);
  const [history, snapshot] = events.map((m) => JSON.parse(m[2] ?? "") as unknown);
  assert.equal(api.history(history, ""), history);
  assert.equal(api.snapshot(snapshot, ""), snapshot);
  await reader.cancel();
});

test("more event streams than allowed are 503, and HEAD takes none", async () => {
  const { app, live } = setUp({ maxClients: 1 });
  const head = await app.request(`${BASE}/api/events`, { method: "HEAD" });
  assert.equal([head.status, live.counts.eventStreams], [200, 0]);
  const first = await app.request(`${BASE}/api/events`);
  const second = await app.request(`${BASE}/api/events`);
  assert.equal([second.status, second.headers.get("retry-after")], [503, "5"]);
  await first.body?.cancel();
  const third = await app.request(`${BASE}/api/events`);
  assert.is(third.status, 200);
  await third.body?.cancel();
  assert.is(live.counts.eventStreams, 0);
});

test.run();
