import { test } from "uvu";
import * as assert from "uvu/assert";
import { createLogger } from "../../../src/core/log.ts";
import type { FilterState } from "../../../src/control/admin/state.ts";
import { type KubeApi, KubeError, type KubeRequest } from "../../../src/control/k8s/api.ts";
import { StatusWriter } from "../../../src/control/k8s/status-writer.ts";
import { accepted, notAccepted, type StatusEntry } from "../../../src/control/status/entry.ts";
import { filterStatus } from "../../../src/control/status/filters.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const filter = (name: string, state: FilterState["state"], reason = ""): FilterState => ({
  ...{ name, namespace: "shop", state, reason, targets: [], builds: [], wanted: null },
  served: state === "serving" ? { sha256: "ab", size: 1, label: "" } : null,
});

function setUp() {
  const clock = new FakeClock();
  const objects = new Map<string, Record<string, unknown>>();
  const writes: KubeRequest[] = [];
  const lines: string[] = [];
  const t = {
    states: [] as FilterState[],
    more: [] as StatusEntry[],
    held: true,
    broken: false,
  };
  const api: KubeApi = {
    request(what) {
      const name =
        /(?:wasmfilters|httproutes|httplocalratelimitpolicies)\/([a-z]+)/.exec(what.path)?.[1] ??
          "";
      const object = objects.get(name);
      if (t.broken) return Promise.reject(new KubeError(403, "PATCH: forbidden"));
      if (object === undefined) return Promise.reject(new KubeError(404, "not found"));
      if (what.method === "PATCH") {
        writes.push(what);
        const { status } = what.body as { status: object };
        Object.assign(object, { status: { ...object["status"] as object | undefined, ...status } });
      }
      return Promise.resolve(structuredClone(object));
    },
    watch: () => assert.unreachable() as never,
    close: () => Promise.resolve(),
  };
  const writer = new StatusWriter({
    api,
    held: () => t.held,
    entries: () => [...filterStatus(t.states), ...t.more],
    clock,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: () => 0,
      write: (l) => lines.push(l),
    }),
  });
  const condition = (name: string) =>
    (objects.get(name)?.["status"] as { conditions: Record<string, unknown>[] } | undefined)
      ?.conditions[0];
  return { t, clock, objects, writes, lines, writer, condition };
}

test("a filter's status says what became of it, written once for each change", async () => {
  const { t, clock, objects, writes, writer, condition } = setUp();
  objects.set("a", {});
  objects.set("b", {});
  t.states = [filter("a", "serving"), filter("b", "refused", "its signature is wrong")];
  writer.begin();
  await clock.advanceAsync(0);
  assert.equal(condition("a"), {
    type: "Accepted",
    status: "True",
    reason: "Accepted",
    message: "proxies run ab",
    lastTransitionTime: "2030-01-01T00:00:00Z",
  });
  assert.equal([condition("b")?.["status"], condition("b")?.["reason"]], ["False", "Refused"]);
  assert.match(writes[0]?.path ?? "", /\/namespaces\/shop\/wasmfilters\/a\/status\?fieldManager=/);
  await clock.advanceAsync(60_000);
  assert.is(writes.length, 2);
  t.states = [filter("a", "refused", "gone"), filter("b", "refused", "no file")];
  for (let i = 0; i < 5; i++) writer.changed();
  await clock.advanceAsync(500);
  assert.is(writes.length, 4);
  // The time is of the last turn, not of the last word.
  assert.is(condition("b")?.["message"], "no file");
  assert.is(condition("b")?.["lastTransitionTime"], "2030-01-01T00:00:00Z");
  assert.not.equal(condition("a")?.["lastTransitionTime"], "2030-01-01T00:00:00Z");
  writer.close();
  assert.is(clock.pending, 0);
});

test("only the holder of the lease writes, and one that begins writes only what differs", async () => {
  const { t, clock, objects, writes, writer } = setUp();
  objects.set("a", {});
  t.states = [filter("a", "serving"), filter("deleted", "pending")];
  t.held = false;
  writer.changed();
  await clock.advanceAsync(30_000);
  assert.is(writes.length, 0);
  t.held = true;
  writer.begin();
  await clock.advanceAsync(0);
  assert.is(writes.length, 1);
  writer.begin();
  await clock.advanceAsync(30_000);
  assert.is(writes.length, 1);
  writer.close();
});

test("a status that cannot be written is said once and tried again", async () => {
  const { t, clock, objects, writes, writer, lines } = setUp();
  objects.set("a", {});
  t.states = [filter("a", "serving")];
  t.broken = true;
  writer.begin();
  await clock.advanceAsync(35_000);
  assert.is(lines.filter((l) => /a status cannot be written.*forbidden/.test(l)).length, 1);
  t.broken = false;
  await clock.advanceAsync(10_000);
  assert.is(writes.length, 1);
  writer.close();
});

test("a route's answers stand beside those of other controllers, which stay", async () => {
  const { t, clock, objects, writes, writer } = setUp();
  const gateway = {
    parentRef: { name: "edge" },
    controllerName: "example.com/gateway",
    conditions: [{ type: "Accepted", status: "True" }],
  };
  const parentRef = { group: "core", kind: "Service", name: "web", port: 80 };
  objects.set("r", { metadata: { resourceVersion: "7" }, status: { parents: [gateway] } });
  const entry = (...parents: Extract<StatusEntry["status"], { parents: unknown }>["parents"]) => ({
    kind: "gateway.networking.k8s.io/HTTPRoute",
    namespace: "shop",
    name: "r",
    status: { parents },
  });
  const parents = () =>
    (objects.get("r")?.["status"] as { parents: Record<string, unknown>[] }).parents;
  t.more = [entry({ parentRef, conditions: [accepted()] })];
  writer.begin();
  await clock.advanceAsync(0);
  const own = {
    parentRef,
    controllerName: "linkerd.io/policy-controller",
    conditions: [{ ...accepted(), lastTransitionTime: "2030-01-01T00:00:00Z" }],
  };
  assert.equal(parents(), [gateway, own]);
  // Nothing that was written between our reading and our writing is lost.
  assert.equal((writes[0]?.body as { metadata: unknown }).metadata, { resourceVersion: "7" });
  t.more = [entry({ parentRef, conditions: [notAccepted("NoMatchingParent")] })];
  writer.changed();
  await clock.advanceAsync(500);
  assert.is((parents()[1]?.["conditions"] as { reason: string }[])[0]?.reason, "NoMatchingParent");
  // The route names no Service any more.
  t.more = [entry()];
  writer.changed();
  await clock.advanceAsync(500);
  assert.equal(parents(), [gateway]);
  await clock.advanceAsync(60_000);
  assert.is(writes.length, 3);
  writer.close();
});

test("what somebody writes over a status is set right", async () => {
  const { t, clock, objects, writes, writer } = setUp();
  const targetRef = { group: "policy.linkerd.io", kind: "Server", name: "web" };
  t.more = [{
    kind: "policy.linkerd.io/HTTPLocalRateLimitPolicy",
    namespace: "shop",
    name: "l",
    status: { conditions: [accepted()], targetRef },
  }];
  const foreign = { type: "Audited", status: "True" };
  objects.set("l", { status: { conditions: [foreign] } });
  writer.begin();
  await clock.advanceAsync(0);
  const right = {
    conditions: [foreign, { ...accepted(), lastTransitionTime: "2030-01-01T00:00:00Z" }],
    targetRef,
  };
  assert.equal(objects.get("l")?.["status"], right);
  objects.set("l", {
    status: { conditions: [foreign, { ...right.conditions[1], reason: "Odd" }] },
  });
  await clock.advanceAsync(310_000);
  assert.equal(objects.get("l")?.["status"], right);
  assert.is(writes.length, 2);
  writer.close();
});

test.run();
