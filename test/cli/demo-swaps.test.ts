import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { FilterFigures, ProxyStats } from "../../src/cli/demo-scrape.ts";
import type { Screen } from "../../src/cli/demo-screen.ts";
import { inTheWay, rollout, swap, type SwapMesh } from "../../src/cli/demo-rollout.ts";
import { planSwaps, swappable, swapTimes } from "../../src/cli/demo-swaps.ts";
import type { SwapOutcome } from "../../src/cli/demo-report.ts";

const V1 = "11".repeat(32);
const V2 = "22".repeat(32);
const GO_ON = new AbortController().signal;

const filter = (more: Partial<FilterFigures>): FilterFigures => ({
  name: "retry",
  sha256: V1,
  calls: 1,
  nsPerCall: 0,
  traps: 0,
  lastError: "",
  state: "ready",
  ...more,
});
const stats = (...filters: FilterFigures[]): ProxyStats => ({
  proxy: { rssMiB: 1, mtlsConnections: 1, plaintextConnections: 0 },
  endpoints: [],
  filters,
});

function screen(): Screen & { said: string[]; alarms: string[] } {
  const said: string[] = [];
  const alarms: string[] = [];
  return {
    said,
    alarms,
    message: (l) => void said.push(l),
    alarm: (l) => void alarms.push(l),
    view() {},
  };
}

/** A control plane with one filter of two builds, and a proxy that takes what is rolled out. */
async function fakeControl(refuse = "", traps2 = "") {
  let calls = 0;
  const posted: { type: string; body: string }[] = [];
  let serving = V1;
  const server = createServer(async (request, response) => {
    if (request.method === "GET") {
      const builds = [{ sha256: V2 }, { sha256: V1 }];
      const only = { name: "lonely", served: { sha256: V1 }, builds: [{ sha256: V1 }] };
      response.end(JSON.stringify({
        filters: [only, { name: "retry", served: { sha256: serving }, builds }],
      }));
      return;
    }
    const body = await text(request);
    posted.push({ type: request.headers["content-type"] ?? "", body });
    if (refuse !== "") {
      response.statusCode = 422;
      response.end(JSON.stringify({ error: refuse }));
      return;
    }
    const previous = serving;
    serving = body.startsWith("{") ? (JSON.parse(body) as { sha256: string }).sha256 : V2;
    response.end(JSON.stringify({ name: "retry", sha256: serving, previous }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const mesh: SwapMesh = {
    adminUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stats: () => {
      const traps = serving === traps2 ? ++calls : 0;
      const lastError = traps > 0 ? "onRequest trapped: unreachable" : "";
      const now = filter({ sha256: serving, calls: ++calls, traps, lastError });
      return Promise.resolve(new Map([["web", stats(now)]]));
    },
    async crossing(during) {
      await during();
      return { crossed: 5, failed: 0 };
    },
  };
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { mesh, posted, close };
}

async function text(request: IncomingMessage): Promise<string> {
  let all = "";
  for await (const part of request) all += part;
  return all;
}

test("swap() rolls out a build by its digest and waits until it is taken", async () => {
  const { mesh, posted, close } = await fakeControl();
  const s = screen();
  const outcome = await swap(mesh, s, "retry", { sha256: V2 }, GO_ON);
  assert.equal(outcome, { filter: "retry", done: true, crossed: 5, failed: 0 });
  assert.equal(posted, [{ type: "application/json", body: `{"sha256":"${V2}"}` }]);
  assert.match(s.said[0]!, /^retry: swapped to 22222222 in \d+ ms, 5 requests crossed, 0 failed$/);
  close();
});

test("swap() sends a new build's bytes", async () => {
  const { mesh, posted, close } = await fakeControl();
  const wasm = new TextEncoder().encode("a module");
  const outcome = await swap(mesh, screen(), "retry", { sha256: V2, wasm }, GO_ON);
  assert.ok(outcome?.done);
  assert.equal(posted, [{ type: "application/wasm", body: "a module" }]);
  close();
});

test("swap() says why a build was refused, and that the old one serves", async () => {
  const { mesh, close } = await fakeControl("the import env.abort is not allowed");
  const s = screen();
  const outcome = await swap(mesh, s, "retry", { sha256: V2 }, GO_ON);
  assert.not.ok(outcome?.done);
  assert.equal(s.alarms, [
    "retry: the build before 22222222 goes on serving: the import env.abort is not allowed",
  ]);
  close();
});

test("swap() takes back a build that traps", async () => {
  const { mesh, posted, close } = await fakeControl("", V2);
  const s = screen();
  const outcome = await swap(mesh, s, "retry", { sha256: V2 }, GO_ON);
  assert.not.ok(outcome?.done);
  assert.equal(s.alarms, [
    "retry: the build before 22222222 goes on serving: web's proxy: onRequest trapped: unreachable",
  ]);
  assert.equal(posted.map((p) => p.body), [`{"sha256":"${V2}"}`, `{"sha256":"${V1}"}`]);
  close();
});

test("swap() says nothing when it is stopped while it waits", async () => {
  const { mesh, close } = await fakeControl();
  const stop = new AbortController();
  const s = screen();
  const never: SwapMesh = {
    ...mesh,
    stats: () => {
      stop.abort();
      return Promise.resolve(new Map([["web", stats(filter({}))]]));
    },
  };
  assert.is(await swap(never, s, "retry", { sha256: V2 }, stop.signal), null);
  assert.equal([...s.said, ...s.alarms], []);
  close();
});

test("rollout() tells that no control plane answers", async () => {
  assert.match(
    (await rollout("http://127.0.0.1:1", "retry", { sha256: V1 })).refused,
    /^the control plane did not answer: /,
  );
});

test("swappable() finds the filter that has another build, unless somebody works on it", async () => {
  const { mesh, close } = await fakeControl();
  const spares = new Map();
  const choose = (leave: string[]) => swappable(mesh.adminUrl, { leave: new Set(leave), spares });
  assert.equal(await choose([]), { filter: "retry", build: { sha256: V2 } });
  assert.is(await choose(["retry"]), null);
  close();
});

test("swappable() offers a build that the control plane has not heard of", async () => {
  const { mesh, close } = await fakeControl();
  const spare = { sha256: V2, wasm: new Uint8Array(8) };
  const choice = { leave: new Set<string>(), spares: new Map([["lonely", spare]]) };
  assert.equal(await swappable(mesh.adminUrl, choice), { filter: "lonely", build: spare });
  close();
});

test("inTheWay() waits for every proxy that runs the filter, and names the one that refuses", () => {
  const at = (...pairs: [string, ProxyStats][]) => inTheWay(new Map(pairs), "retry", V2);
  assert.is(at(["web", stats(filter({ sha256: V2 }))]), "");
  assert.is(at(["web", stats(filter({ sha256: V2 }))], ["vote", stats()]), "");
  assert.is(at(["web", stats(filter({}))]), "web's proxy has not taken it");
  assert.is(
    at(["web", stats(filter({ state: "failed", lastError: "a trap" }))]),
    "web's proxy refuses it: a trap",
  );
  assert.is(at(["web", stats(filter({ state: "loading" }))]), "web's proxy has not taken it");
  assert.is(
    at(["web", stats(filter({ state: "replaced" }), filter({ sha256: V2, state: "ready" }))]),
    "",
  );
  assert.is(at(["vote", stats()]), "no proxy runs the filter");
});

test("swapTimes() puts two swaps into any duration, with room after them", () => {
  for (const durationMs of [1_000, 20_000, 3_600_000]) {
    const { firstMs, everyMs } = swapTimes(durationMs);
    assert.ok(firstMs + everyMs < durationMs * 0.6);
  }
});

test("planSwaps() swaps there and back and then rests", async () => {
  const { mesh, posted, close } = await fakeControl();
  const outcomes: SwapOutcome[] = [];
  await planSwaps(mesh, screen(), {
    durationMs: 40,
    stop: new AbortController().signal,
    choice: { leave: new Set(), spares: new Map() },
    done: (outcome) => void outcomes.push(outcome),
  });
  assert.equal(outcomes.map((o) => o.done), [true, true]);
  assert.equal(posted.map((p) => p.body), [`{"sha256":"${V2}"}`, `{"sha256":"${V1}"}`]);
  close();
});

test("planSwaps() ends when it is stopped", async () => {
  const stop = new AbortController();
  stop.abort();
  const { mesh, posted, close } = await fakeControl();
  await planSwaps(mesh, screen(), {
    durationMs: null,
    stop: stop.signal,
    choice: { leave: new Set(), spares: new Map() },
    done() {},
  });
  assert.equal(posted, []);
  close();
});

test.run();
