// Discovery seen from a worker: the sender on main's side and the remote one, with a clone between them.

import { test } from "uvu";
import * as assert from "uvu/assert";
import type { FilterChain } from "../../../src/core/filter.ts";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import { createLogger } from "../../../src/core/log.ts";
import type { Endpoint } from "../../../src/model/endpoint.ts";
import type { ServerPolicy } from "../../../src/model/policy.ts";
import type { Route } from "../../../src/model/route.ts";
import type { InboundSnapshot, OutboundSnapshot } from "../../../src/proxy/discovery/discovery.ts";
import { Shared } from "../../../src/proxy/discovery/shared.ts";
import type { ChainMember, FromWorker, ToWorker } from "../../../src/proxy/workers/protocol.ts";
import { RemoteDiscovery } from "../../../src/proxy/workers/remote-discovery.ts";
import { SnapshotSender } from "../../../src/proxy/workers/snapshot-sender.ts";

const SUPPOSED = { authorizations: [], routes: [], filters: [] } as unknown as ServerPolicy;
const MEMBERS: readonly ChainMember[] = [7];

function pair() {
  const outbound = new Shared<OutboundSnapshot>(null);
  const inbound = new Shared<InboundSnapshot>(null);
  const messages: ToWorker[] = [];
  const chains: (readonly ChainMember[])[] = [];
  const lines: string[] = [];
  const sender: SnapshotSender = new SnapshotSender({
    discovery: {
      outbound: (key) => {
        if ("authority" in key && key.authority === "bad") throw new Error("not a name");
        return outbound.open();
      },
      inbound: () => inbound.open(),
    },
    post: (message) => {
      const clone = structuredClone(message);
      messages.push(clone);
      if (clone.type === "snapshot") remote.change(clone.change);
      else if (clone.type === "why") remote.why(clone.id, clone.why);
    },
    membersOf: (chain) => chain === NO_FILTERS ? [] : MEMBERS,
    log: createLogger({
      level: "debug",
      format: "plain",
      wall: () => 0,
      write: (line) => lines.push(line),
    }),
  });
  const remote: RemoteDiscovery = new RemoteDiscovery(
    (message: FromWorker) => {
      const clone = structuredClone(message);
      if (clone.type === "outbound" || clone.type === "inbound") sender.open(clone);
      else if (clone.type === "release") sender.release(clone.id);
    },
    (members) => {
      chains.push(members);
      return { ...NO_FILTERS };
    },
    (port) => port === 9 ? { policy: SUPPOSED, routes: [] } : null,
  );
  return { outbound, inbound, messages, chains, lines, remote, sender };
}

const ROUTE: Route = {
  name: "default",
  match: { kind: "path-regex", regex: /^\/a\d$/ },
  responseClasses: [],
  labels: {},
  timeoutMs: 0,
  filters: [],
} as unknown as Route;
const RUNNING: FilterChain = { ...NO_FILTERS };

function endpoint(n: number): Endpoint {
  return {
    addr: { ip: `10.0.${n >> 8}.${n & 255}`, port: 80 },
    weight: 10_000,
    labels: { pod: `web-${n}` },
    identity: null,
    transportPort: 0,
    hint: "none",
  };
}

function snapshot(endpoints: readonly Endpoint[], more: Partial<OutboundSnapshot> = {}) {
  return {
    authority: "web.shop.svc.cluster.local:80",
    exists: true,
    opaque: false,
    routes: [{ route: ROUTE, chain: RUNNING }],
    budget: { ratio: 0.2, minPerSecond: 10, ttlMs: 10_000 },
    endpoints: { exists: true, endpoints },
    defaultRttMs: 30,
    decayMs: 10_000,
    accrual: null,
    ...more,
  } satisfies OutboundSnapshot;
}

test("a snapshot arrives whole, with its chain by members and its regular expressions", () => {
  const { outbound, remote, chains } = pair();
  outbound.publish(snapshot([endpoint(1), endpoint(2)]));
  const watched = remote.outbound({ authority: "web" });
  assert.is(watched.value?.authority, "web.shop.svc.cluster.local:80");
  assert.equal(watched.value?.endpoints?.endpoints.map((e) => e.addr.ip), ["10.0.0.1", "10.0.0.2"]);
  const { match } = watched.value?.routes[0]?.route as Route;
  assert.ok(match.kind === "path-regex" && match.regex.test("/a1"));
  assert.equal(chains, [[7]]);
});

test("what did not change is neither sent nor replaced", () => {
  const { outbound, remote, messages, chains } = pair();
  const first = snapshot([endpoint(1), endpoint(2)]);
  outbound.publish(first);
  const watched = remote.outbound({ authority: "web" });
  const before = watched.value!;
  const one = first.endpoints!.endpoints[0]!;
  let told = 0;
  watched.subscribe(() => told++);
  outbound.publish({ ...first, endpoints: { exists: true, endpoints: [one, endpoint(3)] } });
  const after = watched.value!;
  assert.is(told, 1);
  assert.is(after.budget, before.budget);
  assert.is(after.routes, before.routes);
  assert.is(chains.length, 1);
  assert.is(after.endpoints?.endpoints[0], before.endpoints?.endpoints[0]);
  assert.equal(after.endpoints?.endpoints.map((e) => e.addr.ip), ["10.0.0.1", "10.0.0.3"]);
  const last = messages.at(-1);
  assert.ok(last?.type === "snapshot");
  assert.equal(last.change.fields, {});
  assert.is(last.change.routes, undefined);
  assert.equal([last.change.endpoints?.put.length, last.change.endpoints?.removed.length], [1, 1]);
});

test("a thousand endpoints come in small messages, and the snapshot changes once", () => {
  const { outbound, remote, messages } = pair();
  const watched = remote.outbound({ authority: "web" });
  const seen: number[] = [];
  watched.subscribe((s) => seen.push(s.endpoints?.endpoints.length ?? -1));
  outbound.publish(snapshot(Array.from({ length: 1000 }, (_, n) => endpoint(n))));
  assert.equal(seen, [1000]);
  const sizes = messages.map((m) => m.type === "snapshot" ? m.change.endpoints?.put.length : -1);
  assert.equal(sizes, new Array(10).fill(100));
});

test("an endpoint that is described anew keeps its place; one that is named twice counts twice", () => {
  const { outbound, remote, messages } = pair();
  outbound.publish(snapshot([endpoint(1), endpoint(2)]));
  const watched = remote.outbound({ authority: "web" });
  const anew = { ...endpoint(1), weight: 5 };
  outbound.publish(snapshot([anew, endpoint(2), endpoint(2)]));
  assert.equal(watched.value?.endpoints?.endpoints.map((e) => [e.addr.ip, e.weight]), [
    ["10.0.0.1", 5],
    ["10.0.0.2", 10_000],
    ["10.0.0.2", 10_000],
  ]);
  const last = messages.at(-1);
  assert.ok(last?.type === "snapshot");
  assert.equal(last.change.endpoints?.removed, []);
});

test("endpoints that are not known, or do not exist, are told apart", () => {
  const { outbound, remote } = pair();
  outbound.publish(snapshot([endpoint(1)], { endpoints: null }));
  const watched = remote.outbound({ authority: "web" });
  assert.is(watched.value?.endpoints, null);
  outbound.publish(snapshot([], { endpoints: { exists: false, endpoints: [] } }));
  assert.equal(watched.value?.endpoints, { exists: false, endpoints: [] });
  outbound.publish(snapshot([endpoint(1)]));
  assert.is(watched.value?.endpoints?.endpoints.length, 1);
  outbound.publish(snapshot([], { endpoints: null }));
  assert.is(watched.value?.endpoints, null);
});

test("a policy arrives, and again when it changes", () => {
  const { inbound, remote } = pair();
  const policy = { authorizations: [], routes: [], filters: [] } as unknown as ServerPolicy;
  const watched = remote.inbound(80);
  assert.is(watched.value, null);
  inbound.publish({ policy, routes: [] });
  const before = watched.value!;
  inbound.publish({ policy, routes: [{ route: ROUTE, chain: NO_FILTERS }] });
  assert.is(watched.value?.policy, before.policy);
  assert.is(watched.value?.routes.length, 1);
});

test("a port has what is supposed of it until main answers, and then what main says", async () => {
  const { inbound, remote, messages } = pair();
  const watched = remote.inbound(9);
  assert.is(watched.value?.policy, SUPPOSED);
  let told = 0;
  const other = remote.inbound(9);
  other.subscribe(() => told++);
  const policy = { ...SUPPOSED };
  inbound.publish({ policy, routes: [] });
  await remote.watchPort(9);
  assert.is.not(watched.value?.policy, SUPPOSED);
  assert.is(other.value, watched.value);
  assert.is(told, 1);
  other.release();
  inbound.publish({ policy: { ...policy }, routes: [] });
  assert.is(told, 1);
  assert.is(messages.length, 2, "one subscription for all readers");
});

test("of a port that main knows nothing about, nothing is supposed any more", async () => {
  const { inbound, remote } = pair();
  inbound.explain("over the bound");
  const watched = remote.inbound(9);
  await remote.watchPort(9);
  assert.is(watched.value, null);
  assert.is(watched.why, "over the bound");
});

test("why there is nothing yet is told, and whatever cannot be looked up says why", () => {
  const { outbound, remote } = pair();
  outbound.explain("no answer yet");
  const watched = remote.outbound({ authority: "web" });
  assert.is(watched.why, "no answer yet");
  outbound.explain("unavailable");
  assert.is(watched.why, "unavailable");
  outbound.publish(snapshot([]), "stale");
  assert.is(watched.why, "stale");
  assert.is(remote.outbound({ authority: "bad" }).why, "not a name");
});

test("what was released is heard of no more, on either side", () => {
  const { outbound, remote, messages } = pair();
  const watched = remote.outbound({ authority: "web" });
  let told = 0;
  watched.subscribe(() => told++);
  assert.is(outbound.idle, false);
  watched.release();
  assert.is(outbound.idle, true);
  outbound.publish(snapshot([]));
  assert.is(told, 0);
  assert.equal(messages, []);
});

test("a worker that ends lets everything go", () => {
  const { outbound, inbound, remote, sender } = pair();
  remote.outbound({ authority: "web" });
  remote.inbound(80);
  sender.close();
  assert.equal([outbound.idle, inbound.idle], [true, true]);
});

test("what cannot be sent is an error in the log, and the old snapshot goes on", () => {
  const { outbound, remote, lines } = pair();
  outbound.publish(snapshot([endpoint(1)]));
  const watched = remote.outbound({ authority: "web" });
  const before = watched.value;
  outbound.publish({ ...snapshot([]), budget: (() => {}) as never });
  assert.is(watched.value, before);
  assert.match(lines.join("\n"), /ERROR.*A snapshot could not be sent to a worker/);
  outbound.publish(snapshot([endpoint(2)]));
  assert.equal(watched.value?.endpoints?.endpoints.map((e) => e.addr.ip), ["10.0.0.2"]);
  assert.is(watched.value?.budget.ratio, 0.2);
});

test.run();
