// The environment as configuration: defaults, grammar, and that every mistake is named at once.

import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ConfigError, parseConfig } from "../../src/proxy/config.ts";
import { workerCount } from "../../src/proxy/config/cores.ts";
import * as grammar from "../../src/proxy/config/grammar.ts";
import { parseLogFilter } from "../../src/proxy/config/log-filter.ts";
import { PROXY_ENV } from "../../src/proxy/config/names.ts";
import { NO_EFFECT, withoutEffect } from "../../src/proxy/config/no-effect.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const IDENTITY = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const CONTROL = "linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local";

const MINIMAL: Record<string, string> = {
  LINKERD2_PROXY_DESTINATION_SVC_ADDR: "localhost.:8086",
  LINKERD2_PROXY_POLICY_SVC_ADDR: "127.0.0.1:8090",
  LINKERD2_PROXY_IDENTITY_SVC_ADDR: "[::1]:8080",
  LINKERD2_PROXY_POLICY_WORKLOAD: '{"ns":"shop", "pod":"web-1"}\n',
  LINKERD2_PROXY_IDENTITY_DIR: "/var/run/linkerd/identity/end-entity",
  LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS: PEM,
  LINKERD2_PROXY_IDENTITY_TOKEN_FILE: "/var/run/secrets/tokens/linkerd-identity-token",
  LINKERD2_PROXY_IDENTITY_LOCAL_NAME: IDENTITY,
};

const parse = (more: Record<string, string | undefined> = {}) =>
  parseConfig(
    new Map(
      Object.entries({ ...MINIMAL, ...more }).filter((e): e is [string, string] =>
        e[1] !== undefined
      ),
    ),
  );

function problems(more: Record<string, string | undefined>): readonly string[] {
  try {
    parse(more);
  } catch (e) {
    assert.instance(e, ConfigError);
    return (e as ConfigError).problems;
  }
  return [];
}

test("parseConfig() gives the documented defaults", () => {
  const c = parse();
  assert.equal(c.inbound.listen, { ip: "0.0.0.0", port: 4143 });
  assert.equal(c.outbound.listen, [{ ip: "127.0.0.1", port: 4140 }]);
  assert.equal(c.admin, { listen: { ip: "127.0.0.1", port: 4191 }, shutdownEndpoint: false });
  assert.equal(c.tap.listen, { ip: "0.0.0.0", port: 4190 });
  assert.is(c.inbound.connectTimeoutMs, 300);
  assert.is(c.outbound.connectTimeoutMs, 1000);
  assert.equal(c.inbound.connectBackoff, { minMs: 100, maxMs: 10_000, jitter: 0.1 });
  assert.equal(c.outbound.connectBackoff, { minMs: 100, maxMs: 60_000, jitter: 0.1 });
  assert.is(c.inbound.failfastMs, 1000);
  assert.is(c.outbound.failfastMs, 3000);
  assert.is(c.outbound.tcpFailfastMs, 3000);
  assert.is(c.inbound.discoveryIdleMs, 90_000);
  assert.is(c.outbound.discoveryIdleMs, 5000);
  assert.is(c.inbound.maxInFlight, 100_000);
  assert.is(c.inbound.queueCapacity, 10_000);
  assert.is(c.inbound.poolIdleMs, 3000);
  assert.is(c.inbound.defaultPolicy, "all-unauthenticated");
  assert.equal(c.inbound.ports, [4191], "the admin port is always watched");
  assert.is(c.identity.minRefreshMs, 10_000);
  assert.is(c.identity.maxRefreshMs, 86_400_000);
  assert.is(c.shutdownGraceMs, 120_000);
  assert.equal(c.destination.profileSuffixes, ["svc.cluster.local"]);
  assert.is(c.clusterDomain, "cluster.local");
  assert.is(c.replayMaxBytes, 65_536);
  assert.is(c.sourceIp, null);
  assert.is(c.filterCacheDir, null);
  assert.is(c.namespace, "shop");
  assert.is(c.log.level, "info");
});

test("parseConfig() reads what an injector sets", () => {
  const c = parse({
    LINKERD2_PROXY_INBOUND_LISTEN_ADDR: "127.77.1.2:4143",
    LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS: "127.0.0.1:4140,[::1]:4140",
    LINKERD2_PROXY_INBOUND_IPS: "10.1.2.3,fd00::1",
    LINKERD2_PROXY_INBOUND_PORTS: "8080,9090-9092",
    LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION: "25,3306,4444-4446",
    LINKERD2_PROXY_DESTINATION_CONTEXT: '{"ns":"books", "nodeName":"n1", "pod":"web-1"}\n',
    LINKERD2_PROXY_DESTINATION_PROFILE_SUFFIXES: "svc.Cluster.Local.,.",
    LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS: "10.0.0.0/8, fd00::/8",
    LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MIN: "50ms",
    LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MAX: "2s",
    LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_JITTER: "0.5",
    LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED: "true",
    LINKERD2_PROXY_LOG: "warn,linkerd=debug,hickory=error,[{headers}]=off,[{request}]=off",
    LINKERD2_PROXY_LOG_FORMAT: "json",
    LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT: "365d",
    TULLE_PROXY_SOURCE_IP: "127.77.1.2",
    TULLE_PROXY_FILTER_CACHE_DIR: "/tmp/filters",
    TULLE_PROXY_FILTER_KEYS: `# ours\n${"A".repeat(43)}=\n`,
    TULLE_PROXY_CLUSTER_DOMAIN: "example.org.",
    TULLE_PROXY_REPLAY_MAX_BYTES: "1024",
  });
  assert.equal(c.outbound.listen.map((a) => a.ip), ["127.0.0.1", "::1"]);
  assert.equal(c.inbound.ips, ["10.1.2.3", "fd00::1"]);
  assert.equal(c.inbound.ports, [8080, 9090, 9091, 9092, 4191]);
  assert.ok(grammar.hasPort(c.inbound.opaquePorts, 4445));
  assert.not.ok(grammar.hasPort(c.inbound.opaquePorts, 4447));
  assert.equal(c.destination.profileSuffixes, ["svc.cluster.local", ""]);
  assert.equal(c.inbound.connectBackoff, { minMs: 50, maxMs: 2000, jitter: 0.5 });
  assert.is(c.namespace, "books");
  assert.is(c.admin.shutdownEndpoint, true);
  assert.is(c.log.level, "debug");
  assert.is(c.log.format, "json");
  assert.is(c.outbound.detectTimeoutMs, 365 * 86_400_000);
  assert.is(c.sourceIp, "127.77.1.2");
  assert.match(c.filterKeys!, "A".repeat(43));
  assert.is(c.clusterDomain, "example.org");
  assert.is(c.replayMaxBytes, 1024);
});

test("parseConfig() takes public keys of filters, and never shows a private one", () => {
  assert.equal(problems({ TULLE_PROXY_FILTER_KEYS: "nonsense" }), [
    "TULLE_PROXY_FILTER_KEYS holds no public key",
  ]);
  const pem = "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----";
  const [problem = ""] = problems({ TULLE_PROXY_FILTER_KEYS: pem });
  assert.match(problem, /^TULLE_PROXY_FILTER_KEYS.* holds a private key/);
  assert.not.match(problem, /MC4C/);
});

test("parseConfig() names every mistake in one error", () => {
  const found = problems({
    LINKERD2_PROXY_POLICY_SVC_ADDR: undefined,
    LINKERD2_PROXY_IDENTITY_DIR: undefined,
    LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT: "100",
    LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED: "yes",
    LINKERD2_PROXY_INBOUND_PORTS: "80,99999",
    LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS: "10.0.0.0/33",
    LINKERD2_PROXY_ADMIN_LISTEN_ADDR: "localhost:4191",
    LINKERD2_PROXY_LOG: "linkerd=loud",
    TULLE_PROXY_SOURCE_IP: "pod",
  });
  for (
    const name of [
      "LINKERD2_PROXY_POLICY_SVC_ADDR must be set",
      "LINKERD2_PROXY_IDENTITY_DIR must be set",
      "LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT is not a duration",
      "LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED is neither true nor false",
      'LINKERD2_PROXY_INBOUND_PORTS holds "99999"',
      'LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS holds "10.0.0.0/33"',
      "LINKERD2_PROXY_ADMIN_LISTEN_ADDR is",
      'LINKERD2_PROXY_LOG holds the level "loud"',
      'TULLE_PROXY_SOURCE_IP holds "pod"',
    ]
  ) {
    assert.ok(found.some((p) => p.startsWith(name)), `${name} in ${found.join("\n")}`);
  }
  assert.is(found.length, 9);
});

test("parseConfig() takes loopback control addresses as clear text without stream limits", () => {
  const c = parse({ LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT: "3s" });
  for (const svc of [c.destination.svc, c.policy.svc, c.identity.svc]) {
    assert.is(svc.identity, null);
    assert.is(svc.initialTimeoutMs, null);
    assert.equal(svc.backoff, c.inbound.connectBackoff);
  }
});

test("parseConfig() wants the identity of a control address that is not loopback", () => {
  const remote = {
    LINKERD2_PROXY_DESTINATION_SVC_ADDR: "linkerd-dst.linkerd.svc.cluster.local.:8086",
  };
  assert.ok(problems(remote)[0]?.startsWith("LINKERD2_PROXY_DESTINATION_SVC_NAME must name"));
  const c = parse({
    ...remote,
    LINKERD2_PROXY_DESTINATION_SVC_NAME: CONTROL,
    LINKERD2_PROXY_CONTROL_STREAM_INITIAL_TIMEOUT: "3s",
    LINKERD2_PROXY_CONTROL_STREAM_IDLE_TIMEOUT: "",
    LINKERD2_PROXY_CONTROL_STREAM_LIFETIME: "1h",
  });
  assert.is(c.destination.svc.identity, CONTROL);
  assert.is(c.destination.svc.host, "linkerd-dst.linkerd.svc.cluster.local.");
  assert.is(c.destination.svc.initialTimeoutMs, 3000);
  assert.is(c.destination.svc.idleTimeoutMs, null);
  assert.is(c.destination.svc.lifetimeMs, 3_600_000);
  assert.equal(c.destination.svc.backoff, c.outbound.connectBackoff);
});

test("parseConfig() exempts 127.0.0.1 and the pod's own addresses only, not all of 127.0.0.0/8", () => {
  const other = { LINKERD2_PROXY_POLICY_SVC_ADDR: "127.77.1.9:8090" };
  assert.ok(problems(other)[0]?.startsWith("LINKERD2_PROXY_POLICY_SVC_NAME must name"));
  assert.is(
    parse({ ...other, LINKERD2_PROXY_INBOUND_IPS: "127.77.1.9" }).policy.svc.identity,
    null,
  );
});

test("parseConfig() takes SERVER_ID with SERVER_NAME instead of LOCAL_NAME", () => {
  const c = parse({
    LINKERD2_PROXY_IDENTITY_LOCAL_NAME: undefined,
    LINKERD2_PROXY_IDENTITY_SERVER_ID: "spiffe://root/external/web",
    LINKERD2_PROXY_IDENTITY_SERVER_NAME: "web.external.cluster.local",
  });
  assert.is(c.identity.id, "spiffe://root/external/web");
  assert.is(c.identity.serverName, "web.external.cluster.local");
  assert.equal(
    problems({
      LINKERD2_PROXY_IDENTITY_LOCAL_NAME: undefined,
      LINKERD2_PROXY_IDENTITY_SERVER_ID: IDENTITY,
    }),
    ["LINKERD2_PROXY_IDENTITY_SERVER_NAME must be set with _SERVER_ID"],
  );
  assert.equal(
    problems({ LINKERD2_PROXY_IDENTITY_LOCAL_NAME: undefined }),
    ["LINKERD2_PROXY_IDENTITY_LOCAL_NAME must be set"],
  );
});

test("parseConfig() refuses half a back-off, a refused default policy and a disabled identity", () => {
  assert.equal(problems({ LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_MIN: "1s" }), [
    "LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_MAX must be set with _MIN",
  ]);
  assert.is(problems({ LINKERD2_PROXY_INBOUND_DEFAULT_POLICY: "allow" }).length, 1);
  assert.is(problems({ LINKERD2_PROXY_INBOUND_DEFAULT_POLICY: "cluster-authenticated" }).length, 1);
  assert.is(
    parse({
      LINKERD2_PROXY_INBOUND_DEFAULT_POLICY: "cluster-authenticated",
      LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS: "10.0.0.0/8",
    }).inbound.defaultPolicy,
    "cluster-authenticated",
  );
  assert.is(problems({ LINKERD2_PROXY_IDENTITY_DISABLED: "1" }).length, 1);
  assert.is(problems({ LINKERD2_PROXY_IDENTITY_DISABLED: "" }).length, 0);
});

test("parseConfig() never repeats the trust anchors' text in an error", () => {
  const [problem] = problems({ LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS: "SECRET" });
  assert.is(problem, "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS holds no PEM certificate");
});

test("parseDuration() follows the reference's grammar", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["0s", 0],
    [" 100ms ", 100],
    ["3s", 3000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["365d", 31_536_000_000],
  ];
  for (const [text, ms] of cases) assert.is(grammar.parseDuration(text), ms, text);
  for (const text of ["", "1", "1.5s", "-1s", "1 s", "1S", "1w", "s", "99999999999999999999d"]) {
    assert.throws(() => grammar.parseDuration(text), undefined, text);
  }
});

test("parsePorts() merges ranges and refuses what is no port", () => {
  assert.equal(grammar.parsePorts("").ranges, []);
  assert.equal(grammar.parsePorts("80,81-90,85-95,1").ranges, [[1, 1], [80, 95]]);
  for (const text of ["0", "65536", "9-8", "80;81", "http"]) {
    assert.throws(() => grammar.parsePorts(text), undefined, text);
  }
  assert.throws(() => grammar.listPorts(grammar.parsePorts("1-65535"), 1000));
});

test("parseHostPort() refuses what would ask a name server for a mistyped address", () => {
  assert.equal(grammar.parseHostPort("localhost.:8086"), { host: "localhost.", port: 8086 });
  assert.equal(grammar.parseHostPort("[FD00::1]:1"), { host: "fd00::1", port: 1 });
  for (const text of ["300.1.2.3:80", "host", "host:0", "ho st:80", ":80", "a..b:1", "-a:1"]) {
    assert.throws(() => grammar.parseHostPort(text), undefined, text);
  }
});

test("hasSuffix() matches whole labels only", () => {
  assert.ok(grammar.hasSuffix(["svc.cluster.local"], "a.b.svc.cluster.local"));
  assert.ok(grammar.hasSuffix([""], "example.org"));
  assert.not.ok(grammar.hasSuffix(["svc.cluster.local"], "xsvc.cluster.local"));
  assert.not.ok(grammar.hasSuffix([], "a.b"));
});

test("parseLogFilter() finds our level among Linkerd's directives", () => {
  assert.is(parseLogFilter("warn,linkerd=info,hickory=error,[{headers}]=off"), "info");
  assert.is(parseLogFilter("error"), "error");
  assert.is(parseLogFilter("linkerd=info,tulle=trace"), "trace");
  assert.is(parseLogFilter("linkerd"), "trace");
  assert.is(parseLogFilter(""), "warn");
  for (const bad of ["linkerd=", "=,=", "warn;info", "a b"]) {
    assert.throws(() => parseLogFilter(bad), undefined, bad);
  }
});

test("parseConfig() reads the HTTP/2 knobs and refuses half a pair and what no frame can be", () => {
  const base = "LINKERD2_PROXY_INBOUND_SERVER_HTTP2_";
  const c = parse({
    [`${base}KEEP_ALIVE_INTERVAL`]: "10s",
    [`${base}KEEP_ALIVE_TIMEOUT`]: "3s",
    [`${base}MAX_CONCURRENT_STREAMS`]: "7",
    [`${base}INITIAL_STREAM_WINDOW_SIZE`]: "100000",
    LINKERD2_PROXY_HTTP2_INITIAL_CONNECTION_WINDOW_SIZE: "2000000",
  });
  assert.equal(c.inbound.http2.keepAlive, { intervalMs: 10_000, timeoutMs: 3000 });
  assert.is(c.inbound.http2.maxConcurrentStreams, 7);
  assert.is(c.inbound.http2.streamWindowBytes, 100_000);
  assert.is(c.inbound.http2.maxFrameBytes, null);
  assert.is(c.outbound.http2.keepAlive, null);
  assert.equal(c.outbound.http2Client, {
    streamWindowBytes: 65_535,
    connectionWindowBytes: 2_000_000,
  });
  assert.equal(problems({ [`${base}KEEP_ALIVE_INTERVAL`]: "10s" }), [
    `${base}KEEP_ALIVE_TIMEOUT must be set with _INTERVAL`,
  ]);
  assert.equal(problems({ [`${base}MAX_FRAME_SIZE`]: "100" }), [
    `${base}MAX_FRAME_SIZE is 100: write 16384 to 16777215`,
  ]);
});

test("ingress mode spares applications the error header unless told otherwise", () => {
  assert.is(parse({ LINKERD2_PROXY_INGRESS_MODE: "true" }).outbound.informationalHeaders, false);
  assert.is(
    parse({
      LINKERD2_PROXY_INGRESS_MODE: "true",
      LINKERD2_PROXY_OUTBOUND_DISABLE_INFORMATIONAL_HEADERS: "false",
    }).outbound.informationalHeaders,
    true,
  );
});

/** Variables that are text of any form. */
const FREE = [
  "LINKERD2_PROXY_DESTINATION_CONTEXT",
  "LINKERD2_PROXY_IDENTITY_DIR",
  "LINKERD2_PROXY_IDENTITY_TOKEN_FILE",
  "LINKERD2_PROXY_POLICY_WORKLOAD",
  "TULLE_PROXY_FILTER_CACHE_DIR",
];

test("every variable that has a form is refused without it, all of them at once", () => {
  const wrong = Object.fromEntries(PROXY_ENV.map((name) => [name, "\u0001 ?!"]));
  const found = problems(wrong).map((p) => p.split(" ")[0]);
  const free = PROXY_ENV.filter((n) => FREE.includes(n) || n.includes("_PROXY_TRACE_"));
  assert.equal(found.sort(), PROXY_ENV.filter((n) => !free.includes(n)).sort());
});

test("threads: the minimum, the maximum or its share, never more than there are CPUs", () => {
  const count = (env: Record<string, string>, cpus: number) => workerCount(parse(env).cores, cpus);
  assert.is(count({}, 8), 1);
  assert.is(count({ LINKERD2_PROXY_CORES: "3" }, 8), 3);
  assert.is(count({ LINKERD2_PROXY_CORES: "3" }, 2), 2);
  assert.is(count({ LINKERD2_PROXY_CORES: "3", LINKERD2_PROXY_CORES_MIN: "2" }, 8), 2);
  assert.is(count({ LINKERD2_PROXY_CORES_MIN: "2", LINKERD2_PROXY_CORES_MAX: "4" }, 8), 4);
  assert.is(count({ LINKERD2_PROXY_CORES_MAX_RATIO: "0.25" }, 8), 2);
  assert.is(count({ LINKERD2_PROXY_CORES_MAX_RATIO: ".1" }, 2), 1);
  assert.is(count({ LINKERD2_PROXY_CORES_MIN: "4", LINKERD2_PROXY_CORES_MAX_RATIO: "0.25" }, 8), 4);
});

test("docs/CONFIGURATION.md names every variable, and those without effect with their reason", async () => {
  const text = await readFile(new URL("../../docs/CONFIGURATION.md", import.meta.url), "utf8");
  for (const side of ["INBOUND", "OUTBOUND"]) {
    assert.match(text, `\`LINKERD2_PROXY_${side}_SERVER_HTTP2_…\``);
  }
  for (const name of PROXY_ENV) {
    const ending = /_SERVER_HTTP2_(.+)$/.exec(name)?.[1];
    assert.ok(text.includes(`\`${ending ?? name}\``), name);
  }
  for (const [name, why] of NO_EFFECT) {
    const ending = /_SERVER_HTTP2_(.+)$/.exec(name)?.[1];
    const row = text.split("\n").find((l) =>
      l.includes(`\`${ending ?? name}\``) && l.includes(why)
    );
    assert.ok(row !== undefined, `${name}: ${why}`);
  }
});

test("withoutEffect() names what is set in vain, but not what every injector sets", () => {
  assert.equal(
    withoutEffect(
      new Map([
        ["LINKERD2_PROXY_TRACE_PROTOCOL", "opentelemetry"],
        ["LINKERD2_PROXY_INBOUND_ACCEPT_USER_TIMEOUT", "30s"],
      ]),
    ),
    ["LINKERD2_PROXY_TRACE_PROTOCOL has no effect: spans are not exported"],
  );
});

test("parseConfig() reads the bounds of DNS answers", () => {
  assert.equal(parse().dnsTtl, { minMs: null, maxMs: null });
  const [min, max] = ["LINKERD2_PROXY_DNS_MIN_TTL", "LINKERD2_PROXY_DNS_MAX_TTL"] as const;
  assert.equal(parse({ [min]: "2s", [max]: "1m" }).dnsTtl, { minMs: 2000, maxMs: 60_000 });
  assert.match(problems({ [min]: "soon" }).join(), /^LINKERD2_PROXY_DNS_MIN_TTL /);
});

test("PROXY_ENV lists each name once", () => {
  assert.is(new Set(PROXY_ENV).size, PROXY_ENV.length);
  assert.ok(PROXY_ENV.every((n) => /^(LINKERD2|TULLE)_PROXY_[A-Z0-9_]+$/.test(n)));
});

test.run();
