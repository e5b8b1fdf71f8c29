import { test } from "uvu";
import * as assert from "uvu/assert";
import { type KubeApi, KubeError } from "../../../src/control/k8s/api.ts";
import { apiKind, kindPath } from "../../../src/control/k8s/kinds.ts";
import { Reflector } from "../../../src/control/k8s/reflector.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { fuzzSeed, seeded } from "../../support/random.ts";
import { status } from "../support/fake-api-server.ts";
import { service, SERVICES, startKube, until } from "./fixture.ts";

const FILTERS = "/apis/tulle.dev/v1alpha1/wasmfilters";
const of = (requests: readonly { url: string }[], path: string) =>
  requests.filter((r) => r.url.startsWith(`${path}?`)).map((r) =>
    new URLSearchParams(r.url.split("?")[1])
  );

test("a list comes in chunks of 500, and the watch begins where it ended", async () => {
  const t = await startKube((server) => {
    for (let i = 0; i < 1203; i++) server.put(SERVICES, service(`s${i}`));
  });
  await t.source.start();
  assert.is(t.names().length, 1203);
  await until(() => t.server.watches.includes(SERVICES), "it watches");
  const queries = of(t.server.requests, SERVICES);
  assert.equal(queries.map((q) => q.get("limit") ?? "watch"), ["500", "500", "500", "watch"]);
  const watch = queries[3];
  assert.is(watch?.get("allowWatchBookmarks"), "true");
  assert.is(watch?.get("resourceVersion"), "1303");
  assert.ok(t.server.requests.every((r) => r.authorization === "Bearer s3cret"));
  await t.close();
});

test("a page that expired begins the list again, and a watch that is too old lists anew", async () => {
  const t = await startKube((server) => {
    for (let i = 0; i < 600; i++) server.put(SERVICES, service(`s${i}`));
    let pages = 0;
    server.faults.push((path, response) => {
      if (path !== SERVICES || ++pages < 2) return false;
      status(response, 410, "The provided continue parameter is too old");
      return true;
    });
  });
  await t.source.start();
  assert.is(t.names().length, 600);
  await until(() => t.server.watches.includes(SERVICES), "it watches");
  for (const extra of [1, 2]) {
    // Both ways of saying it: by status and by an ERROR event.
    t.server.cut();
    t.server.put(SERVICES, service(`late${extra}`));
    t.server.delete(SERVICES, "shop", `s${extra}`);
    t.server.compact();
    await until(() => t.names().includes(`shop/late${extra}`), "the late one is known");
    assert.not(t.names().includes(`shop/s${extra}`));
  }
  assert.equal(t.problems(), []);
  await t.close();
});

test("a bookmark moves the place to watch from, so that nothing is listed again", async () => {
  const t = await startKube((server) => server.put(SERVICES, service("a")));
  await t.source.start();
  await until(() => t.server.watches.length === t.cluster.kinds.length, "all watch");
  t.server.put(kindPath({ group: "", version: "v1", kind: "Pod", plural: "pods" }), {
    metadata: { name: "p", namespace: "shop" },
  });
  t.server.bookmark();
  t.server.compact();
  const before = of(t.server.requests, SERVICES).length;
  t.server.endWatches();
  await until(() => t.server.watches.includes(SERVICES), "it watches again");
  const after = of(t.server.requests, SERVICES).slice(before);
  assert.ok(after.every((q) => q.get("watch") === "true"), "it listed");
  assert.is(after[0]?.get("resourceVersion"), "102");
  await t.close();
});

test("a kind that is not installed is empty, and found when it comes", async () => {
  const t = await startKube((server) => server.missing.add(FILTERS));
  await t.source.start();
  assert.equal(t.problems(), []);
  assert.ok(t.lines.some((line) => /does not have this kind.*WasmFilter/.test(line)));
  t.server.put(FILTERS, {
    metadata: { name: "f", namespace: "shop" },
    spec: { targetRef: { kind: "Service", name: "a" }, module: { sha256: "00".repeat(32) } },
  });
  t.server.missing.delete(FILTERS);
  await until(() => t.cluster.filters.rows.size === 1, "the filter is known");
  await t.close();
});

test("an API server that goes away is said in one line, and what was known stays", async () => {
  const t = await startKube((server) => server.put(SERVICES, service("a")));
  await t.source.start();
  await until(() => t.server.watches.length === t.cluster.kinds.length, "all watch");
  for (let i = 0; i < 200; i++) {
    t.server.faults.push((_, response) => {
      status(response, 503, "etcd is\naway");
      return true;
    });
  }
  t.server.cut();
  await until(() => t.problems().length === t.cluster.kinds.length, "each kind says it");
  const said = t.problems().find((p) => p.startsWith("Kubernetes services"));
  assert.match(
    said ?? "",
    /^Kubernetes services: GET \/api\/v1\/services: .* answered 503: etcd is away$/,
  );
  assert.equal(t.names(), ["shop/a"]);
  t.server.faults.length = 0;
  t.server.put(SERVICES, service("b"));
  await until(() => t.names().length === 2, "the new one is known");
  await until(() => t.problems().length === 0, "all is well");
  assert.not.match(t.lines.join("\n"), /s3cret/);
  await t.close();
});

test("start() says why the API server cannot be read", async () => {
  const t = await startKube((server) => {
    for (let i = 0; i < 1000; i++) {
      server.faults.push((_, response) => {
        status(response, 403, 'services is forbidden: User "x" cannot list resource "services"');
        return true;
      });
    }
  });
  try {
    await t.source.start();
    assert.unreachable();
  } catch (e) {
    assert.match(
      (e as Error).message,
      /^The API server cannot be read: Kubernetes .*answered 403: services is forbidden/,
    );
  }
  await t.close();
});

test("a line that is too long or no JSON ends the watch, not the source", async () => {
  const t = await startKube((server) => server.put(SERVICES, service("a")));
  await t.source.start();
  await until(() => t.server.watches.length === t.cluster.kinds.length, "all watch");
  t.server.raw("{not JSON\n");
  await until(() => t.lines.some((l) => /is not JSON/.test(l)), "it is said");
  t.server.put(SERVICES, service("b"));
  await until(() => t.names().length === 2, "the new one is known");
  await until(() => t.server.watches.includes(SERVICES), "it watches again");
  t.server.raw("x".repeat(8 * 1024 * 1024 + 1));
  await until(
    () => t.lines.some((l) => /a line of the answer is over 8388608 bytes/.test(l)),
    "it is said",
  );
  t.server.put(SERVICES, service("c"));
  await until(() => t.names().length === 3, "the new one is known");
  await t.close();
});

test("whatever the API server does, the tables become what it holds", async () => {
  const random = seeded(fuzzSeed("reflector"));
  for (let round = 0; round < 4; round++) {
    const t = await startKube((server) => {
      for (let i = 0; i < 5; i++) server.put(SERVICES, service(`s${i}`, i + 1));
    }, random);
    await t.source.start();
    for (let step = 0; step < 60; step++) {
      const name = `s${random.int(0, 9)}`;
      const { server } = t;
      random.pick([
        () => server.put(SERVICES, service(name, random.int(1, 9999))),
        () => server.put(SERVICES, service(name, random.int(1, 9999))),
        () => server.delete(SERVICES, "shop", name),
        () => server.delete(SERVICES, "shop", name),
        () => server.bookmark(),
        () => server.compact(),
        () => server.cut(),
        () => server.endWatches(),
        () => server.raw("garbage\n"),
        () => server.raw('{"type":"NEWER","object":null}\nnull\n'),
        () =>
          void server.faults.push((_, response) => {
            if (random() < 0.5) response.destroy();
            else status(response, random.pick([429, 500, 503, 410, 404]), "a fault");
            return true;
          }),
      ])();
      if (random() < 0.5) await new Promise((go) => setTimeout(go, random.int(0, 5)));
    }
    t.server.faults.length = 0;
    const held = () =>
      t.server.objects(SERVICES)
        .map((o) =>
          `shop/${o.metadata.name} ${(o["spec"] as { ports: { port: number }[] }).ports[0]?.port}`
        )
        .sort();
    const known = () =>
      [...t.cluster.services.rows].map(([key, s]) => `${key} ${s.ports[0]?.port}`).sort();
    await until(
      () => JSON.stringify(held()) === JSON.stringify(known()),
      `seed ${random.seed}: ${known().join()} becomes ${held().join()}`,
    );
    await until(() => t.problems().length === 0, `all is well, not ${t.problems().join("; ")}`);
    await t.close();
  }
});

test("waits between failures double up to half a minute, and are spread", async () => {
  /** When each request is made while the API server answers 503. */
  const waits = async (random: () => number): Promise<number[]> => {
    const clock = new FakeClock();
    const at: number[] = [];
    const api: KubeApi = {
      request() {
        at.push(clock.now());
        return Promise.reject(new KubeError(503, "GET: away"));
      },
      watch: () => assert.unreachable() as never,
      close: () => Promise.resolve(),
    };
    const events = { listed() {}, changed() {}, trouble() {}, missing() {} };
    const kind = apiKind("/Service");
    const reflector = new Reflector({ api, kind, clock, random, events });
    const running = reflector.run();
    await clock.advanceAsync(400_000);
    reflector.close();
    await running;
    assert.is(clock.pending, 0);
    return at.slice(1).map((t, i) => t - (at[i] ?? 0));
  };
  const one = await waits(seeded(1));
  assert.ok(one.length > 10, `${one}`);
  const nominal = (i: number) => Math.min(30_000, 500 * 2 ** i);
  one.forEach((ms, i) => {
    assert.ok(ms >= 0.7 * nominal(i) - 1 && ms <= 1.3 * nominal(i) + 1, `${i}: ${ms}`);
  });
  // Two control planes do not come back at once.
  assert.not.equal(await waits(seeded(2)), one);
});

test.run();
