// The admin server as a fetch handler: health, figures in both formats, and the operations with their
// access rules. No socket: who asks is handed in.

import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { LogThreshold } from "../../src/core/log.ts";
import { createProxyAdmin } from "../../src/proxy/admin.ts";
import { VERSION } from "../../src/core/version.ts";
import { ProxyMetrics } from "../../src/proxy/metrics.ts";
import { ProcessMetrics } from "../../src/proxy/process-metrics.ts";

function admin(options: { shutdown?: boolean } = {}) {
  const metrics = new ProxyMetrics();
  const threshold: LogThreshold = { level: "info" };
  const log = { filter: "warn,linkerd=info", threshold };
  const seen = { shutdowns: 0, ready: false };
  const app = createProxyAdmin({
    pod: "web-1",
    processMetrics: new ProcessMetrics(metrics.sheet, 1_000_500, () => ({
      refreshes: 3,
      failures: 1,
      refreshedMs: 2_000_000,
      expiresMs: 90_000_000,
      lastError: "",
    })),
    wall: () => 1_060_500,
    ready: () => seen.ready,
    report: () =>
      Promise.resolve({
        sheet: metrics.sheet,
        mtlsConnections: 2,
        plaintextConnections: 1,
        endpoints: [],
        filterStats: [],
        filterSeries: [{
          metric: {
            name: "denied",
            kind: "counter",
            help: "Requests denied",
            labels: [],
            bounds: [],
          },
          labels: { filter: "guard" },
          values: [3],
        }],
      }),
    filterStatus: () => null,
    process: () => ({ rssBytes: 50 << 20, cpuSeconds: 1.5 }),
    operations: {
      env: new Map([["LINKERD2_PROXY_LOG", "warn"], ["LINKERD2_PROXY_INBOUND_IPS", "10.1.2.3"]]),
      log,
      shutdown: options.shutdown === true ? () => void seen.shutdowns++ : null,
    },
  });
  const ask = (
    path: string,
    init: RequestInit = {},
    remoteIp = "127.0.0.1",
  ) => Promise.resolve(app.fetch(new Request(`http://10.1.2.3:4191${path}`, init), { remoteIp }));
  return { metrics, log, seen, ask };
}

test("/ready says 503 until listeners serve, /live is always 200", async () => {
  const { seen, ask } = admin();
  assert.is((await ask("/ready")).status, 503);
  assert.is((await ask("/live")).status, 200);
  seen.ready = true;
  assert.is(await (await ask("/ready")).text(), "ready\n");
});

test("/metrics is the text format, gzip where it is accepted", async () => {
  const { metrics, ask } = admin();
  for (let i = 0; i < 40; i++) metrics.count(metrics.inboundErrors, { error: `e${i}` });
  const plain = await ask("/metrics");
  assert.match(plain.headers.get("content-type") ?? "", "text/plain; version=0.0.4");
  const text = await plain.text();
  assert.match(text, 'inbound_http_errors_total{error="e1"} 1\n');
  assert.match(text, '# TYPE filter_denied counter\nfilter_denied{filter="guard"} 3\n');
  assert.ok(text.endsWith("# EOF\n"));
  for (const accept of ["text/plain", "application/openmetrics-text"]) {
    const packed = await ask("/metrics", { headers: { "accept-encoding": "gzip", accept } });
    assert.is(packed.headers.get("content-encoding"), "gzip", accept);
    const bytes = new Uint8Array(await packed.arrayBuffer());
    assert.match(gunzipSync(bytes).toString(), 'inbound_http_errors_total{error="e1"} 1\n');
  }
});

test("/metrics tells of the process, the build and the certificate", async () => {
  const text = await (await admin().ask("/metrics")).text();
  for (
    const line of [
      "process_start_time_seconds 1000",
      "process_uptime_seconds_total 60",
      "process_clock_time_seconds 1060.5",
      "process_resident_memory_bytes 52428800",
      "process_cpu_seconds_total 1.5",
      `proxy_build_info{date="",git_sha="",profile="release",vendor="tulle",version="${VERSION}"} 1`,
      "control_identity_cert_expiration_timestamp_seconds 90000",
      "control_identity_cert_refresh_timestamp_seconds 2000",
      'control_identity_cert_refreshes_total{result="success"} 3',
      'control_identity_cert_refreshes_total{result="failure"} 1',
    ]
  ) assert.ok(text.includes(`\n${line}\n`), line);
  const manifest = JSON.parse(
    await readFile(new URL("../../package.json", import.meta.url), "utf8"),
  ) as { version: string };
  assert.is(VERSION, manifest.version);
});

test("/metrics is OpenMetrics where a scraper asks for it: names of counters without _total", async () => {
  const { metrics, ask } = admin();
  metrics.count(metrics.inboundErrors, { error: "x" });
  const answer = await ask("/metrics", {
    headers: { accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" },
  });
  assert.match(answer.headers.get("content-type") ?? "", "application/openmetrics-text");
  const text = await answer.text();
  assert.match(text, "# TYPE inbound_http_errors counter\n");
  assert.match(text, 'inbound_http_errors_total{error="x"} 1\n');
  assert.match(text, '# TYPE filter_denied counter\nfilter_denied_total{filter="guard"} 3\n');
});

test("exemplars are in OpenMetrics only", async () => {
  const { metrics, ask } = admin();
  const { sheet, latency } = metrics;
  const cell = sheet.cell(latency, { direction: "inbound" });
  const bucket = sheet.observe(latency, cell, 7);
  sheet.exemplify(cell, bucket, { traceId: "ab".repeat(16), value: 7, wallMs: 1500 });
  const accept = "application/openmetrics-text";
  const shown = await (await ask("/metrics", { headers: { accept } })).text();
  const at = 'response_latency_ms_bucket{direction="inbound",le="10"} 1';
  assert.match(shown, `${at} # {trace_id="${"ab".repeat(16)}"} 7 1.5\n`);
  assert.match(await (await ask("/metrics")).text(), `${at}\n`);
});

test("/env.json shows what the proxy may read, all or by name", async () => {
  const { ask } = admin();
  assert.equal(await (await ask("/env.json", {}, "10.9.9.9")).json(), {
    LINKERD2_PROXY_LOG: "warn",
    LINKERD2_PROXY_INBOUND_IPS: "10.1.2.3",
  });
  assert.equal(await (await ask("/env.json?LINKERD2_PROXY_LOG&PATH")).json(), {
    LINKERD2_PROXY_LOG: "warn",
    PATH: null,
  });
  assert.is((await ask("/env.json?LINKERD2_PROXY_LOG=1")).status, 400);
  assert.is((await ask("/env.json", { headers: { accept: "text/html" } })).status, 406);
  assert.is((await ask("/env.json", { headers: { accept: "*/*;q=0.1" } })).status, 200);
  assert.is(
    (await ask("/env.json", { headers: { accept: "application/json;q=0" } })).status,
    406,
  );
});

test("/proxy-log-level is read and changed on loopback only", async () => {
  const { log, ask } = admin();
  assert.is((await ask("/proxy-log-level", {}, "10.9.9.9")).status, 403);
  assert.is((await ask("/proxy-log-level", {}, "127.9.9.9")).status, 403);
  assert.is((await ask("/proxy-log-level", {}, "")).status, 403);
  assert.is(await (await ask("/proxy-log-level")).text(), "warn,linkerd=info\n");
  const put = (body: string) => ask("/proxy-log-level", { method: "PUT", body });
  assert.is((await put("warn,linkerd=debug")).status, 204);
  assert.is(log.threshold.level, "debug");
  assert.is(await (await ask("/proxy-log-level")).text(), "warn,linkerd=debug\n");
  const bad = await put("linkerd=loud");
  assert.is(bad.status, 400);
  assert.match(await bad.text(), 'the filter holds the level "loud"');
  assert.is((await put("")).status, 400);
  assert.is((await put("x".repeat(5000))).status, 413);
  assert.is((await ask("/proxy-log-level", { method: "POST" })).status, 405);
  assert.is(log.threshold.level, "debug", "the last good filter stays");
});

test("/shutdown is 404 unless enabled, and then for the pod itself", async () => {
  const off = admin();
  assert.is((await off.ask("/shutdown", { method: "POST" })).status, 404);
  const { seen, ask } = admin({ shutdown: true });
  assert.is((await ask("/shutdown", { method: "POST" }, "10.9.9.9")).status, 403);
  assert.is((await ask("/shutdown")).status, 405);
  assert.is(seen.shutdowns, 0);
  const answer = await ask("/shutdown", { method: "POST" }, "::1");
  assert.is(await answer.text(), "shutdown\n");
  assert.is(seen.shutdowns, 1);
});

test.run();
