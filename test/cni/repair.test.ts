import { test } from "uvu";
import * as assert from "uvu/assert";
import { cniRepairCommand } from "../../src/cli/cni-repair.ts";
import { repairOptions, watchNode } from "../../src/cli/cni-repair-run.ts";
import { parseFlags } from "../../src/cli/flags.ts";
import { type BrokenPod, brokenPod, Repair, type RepairApi } from "../../src/cni/repair.ts";
import { RepairMetrics } from "../../src/cni/repair-metrics.ts";
import { createLogger, SILENT } from "../../src/core/log.ts";
import { apiOf, FAST_CLOCK, until } from "../control/k8s/fixture.ts";
import { FakeApiServer, status } from "../control/support/fake-api-server.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

const terminated = (exitCode: number) => ({ terminated: { exitCode } });

/** A pod whose validator did as `statuses` say. */
function pod(name: string, statuses: object, more: Record<string, unknown> = {}) {
  return {
    metadata: {
      name,
      namespace: "shop",
      uid: `uid-${name}`,
      labels: { "linkerd.io/control-plane-ns": "linkerd" },
      ownerReferences: [{ kind: "ReplicaSet", name: "web", controller: true }],
      ...more,
    },
    status: { initContainerStatuses: [{ name: "linkerd-network-validator", ...statuses }] },
  };
}
const broken = (name: string, more = {}) => pod(name, { lastState: terminated(95) }, more);

/** A repair whose calls a test answers. */
function repair(overrides: Partial<RepairApi> = {}) {
  const deleted: string[] = [];
  const events: { pod: string; event: Record<string, unknown> }[] = [];
  const api: RepairApi = {
    deletePod: (p: BrokenPod) => {
      deleted.push(p.name);
      return Promise.resolve(true);
    },
    publish: (p, event) => {
      events.push({ pod: p.name, event: event as Record<string, unknown> });
      return Promise.resolve();
    },
    ...overrides,
  };
  const lines: string[] = [];
  const log = createLogger({
    level: "debug",
    format: "plain",
    wall: () => 0,
    write: (line) => lines.push(line),
  });
  const clock = new FakeClock();
  const metrics = new RepairMetrics();
  return {
    deleted,
    events,
    lines,
    clock,
    metrics,
    repair: new Repair({ api, clock, log, metrics, instance: "cni-x" }),
  };
}

test("a pod is broken when its validator found no rules, and nothing else breaks it", () => {
  assert.equal(brokenPod(broken("a")), {
    namespace: "shop",
    name: "a",
    uid: "uid-a",
    controlled: true,
  });
  assert.ok(brokenPod(pod("a", { state: terminated(95) })));
  assert.is(brokenPod(broken("a", { ownerReferences: [] }))?.controlled, false);
  for (
    const other of [
      pod("a", { lastState: terminated(1) }),
      pod("a", { state: { running: {} } }),
      pod("a", {}),
      broken("a", { deletionTimestamp: "2030-01-01T00:00:00Z" }),
      broken("a", { labels: {} }),
      broken("a", { annotations: { "kubernetes.io/config.mirror": "x" } }),
      {
        ...broken("a"),
        status: { initContainerStatuses: [{ name: "app", lastState: terminated(95) }] },
      },
      { metadata: { labels: { "linkerd.io/control-plane-ns": "linkerd" } } },
    ]
  ) assert.is(brokenPod(other), null, JSON.stringify(other));
});

test("a broken pod is deleted once, with an event and counts", async () => {
  const t = repair();
  t.repair.seen(broken("a"));
  t.repair.seen(broken("a"));
  await settle();
  assert.equal(t.deleted, ["a"]);
  const { event } = t.events[0]!;
  assert.is(event.reason, "LinkerdCNINotConfigured");
  assert.is(event.action, "Deleting");
  assert.is(event.type, "Normal");
  assert.is(event.reportingController, "linkerd-cni-repair-controller");
  assert.is(event.reportingInstance, "cni-x");
  assert.is(event.eventTime, "2030-01-01T00:00:00.000000Z");
  assert.is(t.metrics.value("pods_deleted_total"), 1);
  assert.match(t.metrics.text(), "linkerd_cni_repair_controller_pods_deleted_total 1\n");
  assert.match(t.metrics.text(), 'pods_delete_latency_seconds_bucket{le="+Inf"} 1\n');
  assert.is(t.clock.pending, 0);
});

test("a pod that nobody would make again is left, and told of once", async () => {
  const t = repair();
  for (let i = 0; i < 3; i++) {
    t.repair.seen(broken("bare", { ownerReferences: [] }));
    await settle();
  }
  assert.equal(t.deleted, []);
  assert.equal(t.events.map(({ event }) => [event.type, event.action]), [["Warning", "Leaving"]]);
  assert.is(t.metrics.value("pods_left_total"), 1);
});

test("more pods than the queue holds are counted, and taken when they are seen again", async () => {
  const gate = Promise.withResolvers<boolean>();
  const t = repair({ deletePod: () => gate.promise });
  for (let i = 0; i < 40; i++) t.repair.seen(broken(`p${i}`));
  assert.is(t.metrics.value("queue_overflow_total"), 8);
  gate.resolve(true);
  for (let i = 0; i < 50; i++) await settle();
  t.repair.seen(broken("p39"));
  await settle();
  assert.is(t.metrics.value("pods_deleted_total"), 33);
});

test("failures and silence of the API server are counted, and do not stop the next", async () => {
  const answers: ((signal: AbortSignal) => Promise<boolean>)[] = [
    () => Promise.reject(new Error("refused")),
    (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    () => Promise.resolve(false),
    () => Promise.resolve(true),
  ];
  const t = repair({
    deletePod: (_, signal) => answers.shift()!(signal),
    publish: () => Promise.reject(new Error("no events here")),
  });
  for (const name of ["a", "b", "c", "d"]) t.repair.seen(broken(name));
  await settle();
  await t.clock.advanceAsync(5_000);
  await settle();
  assert.is(t.metrics.value("pods_delete_errors_total"), 1);
  assert.is(t.metrics.value("pods_delete_timeout_total"), 1);
  assert.is(t.metrics.value("pods_deleted_total"), 1);
  assert.is(t.metrics.value("events_publish_errors_total"), 1);
  assert.match(t.lines.join("\n"), "A pod without rules was not deleted pod=shop/a why=refused");
  assert.is(t.clock.pending, 0);
});

test("what is no pod is said and left", () => {
  const t = repair();
  for (const object of [7, null, { metadata: [] }, { metadata: { labels: 5 } }]) {
    t.repair.seen(object);
  }
  t.repair.seen({ ...broken("a"), status: { initContainerStatuses: "x" } });
  assert.equal(t.deleted, []);
  assert.match(t.lines.join("\n"), "A pod cannot be read");
});

test("only the node's meshed pods are watched, and the calls are what the API takes", async () => {
  const server = await FakeApiServer.start();
  const pods = "/api/v1/pods";
  const one = broken("a");
  server.put(pods, one);
  const published: unknown[] = [];
  server.post = (path, body) => {
    published.push({ path, body });
    return {};
  };
  server.faults.push((path, response) => {
    if (path !== "/api/v1/namespaces/shop/pods/a") return false;
    status(response, 200, "deleted");
    return true;
  });
  const api = apiOf(server.url);
  const metrics = new RepairMetrics();
  const watch = watchNode({
    api,
    node: "node-1",
    instance: "cni-x",
    metrics,
    log: SILENT,
    clock: FAST_CLOCK,
  });
  try {
    await until(() => published.length === 1, "an event is published");
    assert.ok(watch.ready());
    const [list] = server.requests;
    const query = new URLSearchParams(list!.url.split("?")[1]);
    assert.is(query.get("fieldSelector"), "spec.nodeName=node-1");
    assert.is(query.get("labelSelector"), "linkerd.io/control-plane-ns");
    const gone = server.requests.find((r) => r.method === "DELETE")!;
    assert.equal(JSON.parse(gone.body), {
      apiVersion: "v1",
      kind: "DeleteOptions",
      gracePeriodSeconds: 0,
      preconditions: { uid: "uid-a" },
    });
    assert.is(
      (published[0] as { path: string }).path,
      "/apis/events.k8s.io/v1/namespaces/shop/events",
    );
    // one that fails later comes by the watch
    await until(() => server.watches.includes(pods), "it watches");
    server.faults.push((path, response) => {
      if (path !== "/api/v1/namespaces/shop/pods/b") return false;
      status(response, 404, "gone");
      return true;
    });
    server.put(pods, broken("b"));
    await until(
      () => server.requests.filter((r) => r.method === "DELETE").length === 2,
      "the second is deleted",
    );
  } finally {
    watch.close();
    await api.close();
    await server.close();
  }
});

test("flags win over Linkerd's variables, and what is missing is named", () => {
  const read = (argv: string[], env: Record<string, string> = {}) =>
    repairOptions(
      parseFlags(cniRepairCommand.flags, argv),
      new Map(
        Object.entries(env).map(([k, v]) => [`LINKERD_CNI_REPAIR_CONTROLLER_${k}`, v]),
      ),
    );
  const o = read(["--node-name", "b"], { NODE_NAME: "a", POD_NAME: "p", LOG_LEVEL: "debug" });
  assert.is(o.node, "b");
  assert.is(o.instance, "p");
  assert.is(o.log.level, "debug");
  assert.equal(o.adminAddr, { ip: "0.0.0.0", port: 9990 });
  assert.throws(() => read([]), /--node-name is missing/);
  assert.throws(() => read([], { NODE_NAME: "a,b" }), /is not a node's name/);
  assert.throws(() => read([], { NODE_NAME: "a", LOG_LEVEL: "loud" }), /is not one of/);
  assert.throws(() => read(["--node-name=a", "--admin-addr=x"]), /--admin-addr/);
});

test.run();
