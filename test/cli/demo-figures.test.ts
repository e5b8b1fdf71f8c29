import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  countServices,
  FilterLedger,
  type MeshSnapshot,
  percentile,
  share,
  since,
} from "../../src/cli/demo-figures.ts";
import { demoPods } from "../../src/cli/demo-plan.ts";
import { type FilterFigures, parseSamples, type ProxyStats } from "../../src/cli/demo-scrape.ts";

const PODS = demoPods("127.77");
const STATS: ProxyStats = {
  proxy: { rssMiB: 50, mtlsConnections: 1, plaintextConnections: 0 },
  endpoints: [],
  filters: [],
};

function snapshot(pods: Record<string, string>): MeshSnapshot {
  return new Map(
    Object.entries(pods).map((
      [pod, text],
    ) => [pod, { samples: parseSamples(text, () => true), stats: STATS }]),
  );
}

const WEB = `# HELP route_response_total Responses
# TYPE route_response_total counter
route_response_total{direction="outbound",dst="catalogue.shop.svc.cluster.local:8080",rt_route="GET /items",classification="success",status_code="200"} 95
route_response_total{direction="outbound",dst="catalogue.shop.svc.cluster.local:8080",rt_route="GET /items",classification="failure",status_code="503"} 5
route_response_total{direction="outbound",dst="vote.shop.svc.cluster.local:8080",classification="success"} 7
route_actual_response_total{direction="outbound",dst="catalogue.shop.svc.cluster.local:8080",classification="success"} 95
route_actual_response_total{direction="outbound",dst="catalogue.shop.svc.cluster.local:8080",classification="failure"} 25
route_response_latency_ms_bucket{direction="outbound",dst="catalogue.shop.svc.cluster.local:8080",le="10"} 50
route_response_latency_ms_bucket{direction="outbound",dst="catalogue.shop.svc.cluster.local:8080",le="20"} 90
route_response_latency_ms_bucket{direction="outbound",dst="catalogue.shop.svc.cluster.local:8080",le="+Inf"} 100
route_response_total{direction="inbound",dst="catalogue.shop.svc.cluster.local:8080",classification="success"} 1000
`;
const REPLICA = (mtls: number, plain: number) => `
request_total{direction="inbound",tls="true",client_id="web.shop.serviceaccount.identity.linkerd.cluster.local"} ${mtls}
request_total{direction="inbound",tls="no_identity",no_tls_reason="no_tls_from_remote"} ${plain}
request_total{direction="outbound",tls="true",server_id="x"} 99
`;

test("parseSamples() reads names, labels with escapes, and values, and skips what is no sample", () => {
  const samples = parseSamples(
    '# EOF\na 1\nb{x="1",y="a\\"b\\\\c\\nd"} 2.5 1700000000\nc{le="+Inf"} +Inf\nnot a sample line\nd NaN\n',
    (name) => name !== "a",
  );
  assert.equal(samples, [
    { name: "b", labels: { x: "1", y: 'a"b\\c\nd' }, value: 2.5 },
    { name: "c", labels: { le: "+Inf" }, value: Infinity },
  ]);
});

test("countServices() tells effective from actual, and looks at the callers' proxies", () => {
  const mesh = snapshot({
    web: WEB,
    "catalogue-a": REPLICA(60, 0),
    "catalogue-b": REPLICA(40, 20),
  });
  const catalogue = countServices(mesh, PODS).get("catalogue")!;
  assert.equal(
    { ...catalogue, latency: [...catalogue.latency] },
    {
      requests: 100,
      failures: 5,
      attempts: 120,
      failedAttempts: 25,
      latency: [[10, 50], [20, 90], [Infinity, 100]],
      arrived: 120,
      arrivedMtls: 100,
    },
  );
  assert.is(countServices(mesh, PODS).get("vote")!.requests, 7);
  assert.is(countServices(mesh, PODS).get("web")!.requests, 0);
});

test("since() subtracts, and counts from 0 where a counter went back", () => {
  const before = countServices(snapshot({ web: WEB }), PODS).get("catalogue")!;
  const now = { ...before, requests: 150, failures: 2, latency: new Map([[10, 60], [20, 95]]) };
  const between = since(now, before);
  assert.is(between.requests, 50);
  assert.is(between.failures, 2);
  assert.equal([...between.latency], [[10, 10], [20, 5]]);
  assert.is(since(now, undefined), now);
});

test("percentile() is linear within a bucket", () => {
  const latency = new Map([[Infinity, 100], [10, 50], [20, 90]]);
  assert.is(percentile(latency, 0.25), 5);
  assert.is(percentile(latency, 0.5), 10);
  assert.is(percentile(latency, 0.7), 15);
  assert.is(percentile(latency, 0.99), 20, "above the last bound nothing is known");
  assert.is(percentile(new Map(), 0.5), null);
  assert.is(percentile(new Map([[10, 0], [Infinity, 0]]), 0.5), null);
});

test("share() of nothing is nothing", () => {
  assert.is(share(1, 4), 0.25);
  assert.is(share(0, 0), null);
});

const filter = (more: Partial<FilterFigures>): FilterFigures => ({
  name: "retry",
  sha256: "aa",
  calls: 0,
  nsPerCall: 0,
  traps: 0,
  lastError: "",
  state: "active",
  ...more,
});
const withFilters = (pods: Record<string, readonly FilterFigures[]>): MeshSnapshot =>
  new Map(
    Object.entries(pods).map((
      [pod, filters],
    ) => [pod, { samples: [], stats: { ...STATS, filters } }]),
  );

test("FilterLedger sums over proxies and weighs the time by the calls", () => {
  const ledger = new FilterLedger();
  ledger.add(withFilters({
    a: [filter({ calls: 100, nsPerCall: 1_000, traps: 1 })],
    b: [filter({ calls: 300, nsPerCall: 2_000 })],
    c: [filter({ calls: 10, nsPerCall: 0 })],
  }));
  assert.equal(ledger.totals(), [{
    name: "retry",
    sha256: "aa",
    calls: 410,
    nsPerCall: 1_750,
    traps: 1,
    state: "active",
    lastError: "",
  }]);
});

test("FilterLedger keeps what a proxy no longer tells, and lists builds apart", () => {
  const ledger = new FilterLedger();
  ledger.add(withFilters({ a: [filter({ calls: 100 })] }));
  ledger.add(withFilters({ a: [filter({ calls: 5, sha256: "bb" })] }));
  ledger.add(
    withFilters({ a: [filter({ calls: 9, sha256: "bb", state: "refused", lastError: "trap" })] }),
  );
  const totals = ledger.totals();
  assert.equal(totals.map((t) => [t.sha256, t.calls, t.state]), [["aa", 100, "active"], [
    "bb",
    9,
    "refused",
  ]]);
  assert.is(totals[1]!.lastError, "trap");
});

test.run();
