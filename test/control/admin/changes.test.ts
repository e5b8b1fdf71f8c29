import { test } from "uvu";
import * as assert from "uvu/assert";
import type { FilterView, Snapshot } from "../../../src/api/admin.ts";
import { changesBetween } from "../../../src/control/admin/changes.ts";
import { buildView } from "../../../src/control/admin/view.ts";
import { digest, endpoint, FakeState, filter, service } from "./fixture.ts";

function view(fill: (state: FakeState) => void): Snapshot {
  const state = new FakeState();
  fill(state);
  return buildView(state, new Map(), 0, 1000);
}

function running(view: Snapshot, proxies: Record<string, string>): Snapshot {
  const load = (proxy: string, c: string): FilterView["running"][number] => ({
    proxy,
    // In capitals: replaced, and listed for its counts.
    sha256: digest(c.toLowerCase()),
    current: c === c.toLowerCase(),
    calls: 1,
    nsPerCall: 1,
    traps: 0,
    fuelExhausted: 0,
    lastError: "",
    state: "running",
  });
  const loads = Object.entries(proxies).flatMap(([proxy, cs]) =>
    [...cs].map((c) => load(proxy, c))
  );
  return { ...view, filters: view.filters.map((f) => ({ ...f, running: loads })) };
}

const RETRY_A = view((s) => s.filterList = [filter("retry", "a", "ab")]);
const RETRY_B = view((s) => s.filterList = [filter("retry", "b", "ab")]);

test("nothing changed tells nothing", () => {
  assert.equal(changesBetween(RETRY_A, RETRY_A), []);
  assert.equal(changesBetween(running(RETRY_A, { p: "a" }), running(RETRY_A, { p: "a" })), []);
});

test("another served module is a swap at the control plane", () => {
  const data = { at: 1000, filter: "retry", proxy: null, from: digest("a"), to: digest("b") };
  assert.equal(changesBetween(RETRY_A, RETRY_B), [{ type: "swap", data }]);
});

test("a proxy that runs another module has swapped, one that is new has not", () => {
  const events = changesBetween(
    running(RETRY_B, { one: "a", two: "a" }),
    running(RETRY_B, { one: "b", two: "ab", three: "b" }),
  );
  assert.equal(
    events.map(({ data }) => "proxy" in data && [data.proxy, data.from, data.to]),
    [["one", digest("a"), digest("b")], ["two", digest("a"), digest("b")]],
  );
});

test("a proxy that drops the old module swaps no second time", () => {
  assert.equal(changesBetween(running(RETRY_B, { p: "ab" }), running(RETRY_B, { p: "b" })), []);
  assert.equal(changesBetween(running(RETRY_B, { p: "ab" }), running(RETRY_B, { p: "Ab" })), []);
});

test("a swap back to a module that is still listed is a swap", () => {
  const events = changesBetween(
    running(RETRY_B, { p: "Ab", idle: "AB" }),
    running(RETRY_B, { p: "aB", idle: "AB" }),
  );
  assert.equal(
    events.map(({ data }) => "proxy" in data && [data.proxy, data.from, data.to]),
    [["p", digest("b"), digest("a")]],
  );
});

test("endpoints that join, leave or change are one event for each service", () => {
  const before = view((s) =>
    s.serviceList = [
      service("web", [endpoint("10.0.0.1:80", "web-0"), endpoint("10.0.0.2:80", "web-1")]),
      service("gone", [endpoint("10.0.0.9:80", "gone-0")]),
      service("same", [endpoint("10.0.0.8:80", "same-0")]),
    ]
  );
  const after = view((s) =>
    s.serviceList = [
      service("web", [endpoint("10.0.0.2:80", "web-1", false), endpoint("10.0.0.3:80", "web-2")]),
      service("same", [endpoint("10.0.0.8:80", "same-0")]),
    ]
  );
  assert.equal(changesBetween(before, after).map(({ data }) => data), [
    {
      at: 1000,
      service: "shop/web",
      added: ["10.0.0.3:80"],
      removed: ["10.0.0.1:80"],
      ready: [],
      notReady: ["10.0.0.2:80"],
    },
    {
      at: 1000,
      service: "shop/gone",
      added: [],
      removed: ["10.0.0.9:80"],
      ready: [],
      notReady: [],
    },
  ]);
});

test("an endpoint that is ready again is told as such", () => {
  const web = (ready: boolean) =>
    view((s) => s.serviceList = [service("web", [endpoint("10.0.0.1:80", "web-0", ready)])]);
  const [event] = changesBetween(web(false), web(true));
  assert.equal(event?.type === "endpoints" && event.data.ready, ["10.0.0.1:80"]);
});

test("an error is told when it is new, again when its text changes, and not while it stands", () => {
  const problem = (message: string) =>
    view((s) => s.problemList = [{ source: "shop.yaml:3", message }]);
  const none = view(() => {});
  const data = { at: 1000, source: "shop.yaml:3", message: "not YAML" };
  assert.equal(changesBetween(none, problem("not YAML")), [{ type: "failure", data }]);
  assert.equal(changesBetween(problem("not YAML"), problem("not YAML")), []);
  assert.is(changesBetween(problem("not YAML"), problem("no name")).length, 1);
  assert.equal(changesBetween(problem("not YAML"), none), []);
});

test("a refused module is an error that names the filter and why", () => {
  const refused = view((s) =>
    s.filterList = [{ ...filter("retry", "a", "a"), state: "refused", reason: "too large" }]
  );
  const data = { at: 1000, source: "filter retry", message: "too large" };
  assert.equal(changesBetween(RETRY_A, refused), [{ type: "failure", data }]);
  const source = "WasmFilter shop/retry";
  const told = { ...refused, problems: [{ source, message: "too large" }] };
  assert.equal(changesBetween(RETRY_A, told), [{ type: "failure", data: { ...data, source } }]);
});

test.run();
