// ServiceProfiles by `l5d-dst-canonical`: who is believed, what is counted, and that names cost no more
// than their bound.

import { test } from "uvu";
import * as assert from "uvu/assert";
import type { PeerTls } from "../../../src/core/driver.ts";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import type { Route } from "../../../src/model/route.ts";
import type {
  OutboundSnapshot,
  TargetKey,
  Watched,
} from "../../../src/proxy/discovery/discovery.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { Profiles, type ProfilesOptions } from "../../../src/proxy/inbound/profiles.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { answering, inboundFixture, inboundSnapshot } from "../../support/inbound-fixture.ts";
import { MemoryDriver } from "../../support/memory-driver.ts";
import { route, snapshot } from "../../support/outbound-fixture.ts";

const WEB = "web.shop.svc.cluster.local:8080";
const IDLE_MS = 90_000;
const CLIENT: PeerTls = { identity: "web.shop", alpn: null };

/** One name's profile in the test's hands. */
class FakeProfile implements Watched<OutboundSnapshot> {
  value: OutboundSnapshot | null = null;
  why = "";
  released = false;
  #listener: ((value: OutboundSnapshot) => void) | null = null;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  subscribe(listener: (value: OutboundSnapshot) => void): () => void {
    this.#listener = listener;
    return () => {};
  }

  release(): void {
    this.released = true;
  }

  set(...routes: readonly Route[]): void {
    this.value = {
      ...snapshot(null, routes.map((route) => ({ route, chain: NO_FILTERS }))),
      authority: this.name,
    };
    this.#listener?.(this.value);
  }
}

const ROUTES: readonly Route[] = [
  route({
    name: "a",
    match: { kind: "path-prefix", prefix: "/a" },
    labels: { route: "a" },
    responseClasses: [{
      match: { kind: "status", range: { min: 404, max: 404 } },
      isFailure: true,
    }],
  }),
  route({ labels: {} }),
];

function fixture(more: Partial<ProfilesOptions> = {}) {
  const driver = new MemoryDriver();
  const metrics = new ProxyMetrics();
  const asked: FakeProfile[] = [];
  const profiles = new Profiles({
    driver,
    metrics,
    discovery: {
      inbound: () => {
        throw new Error("not used here");
      },
      outbound: (key: TargetKey) => {
        if (!("profile" in key)) throw new Error("not a profile");
        const made = new FakeProfile(key.profile);
        asked.push(made);
        return made;
      },
    },
    config: {
      destination: { profileSuffixes: ["svc.cluster.local"] },
      clusterDomain: "cluster.local",
      namespace: "shop",
    } as unknown as ProfilesOptions["config"],
    idleMs: IDLE_MS,
    ...more,
  });
  const lines = (name: string) =>
    exposition(metrics.sheet, []).split("\n").filter((line) => line.startsWith(name));
  return { driver, metrics, profiles, asked, lines };
}

/** Requests through the whole stack; each with its path and what it says. */
function proxy(chain = NO_FILTERS) {
  const f = fixture();
  const p = inboundFixture(inboundSnapshot([{ route: route(), chain }]), { profiles: f.profiles });
  const ask = (tls: PeerTls | null, path: string, says: string | null, status = 200): string => {
    const client = p.connect(tls);
    const more = says === null ? "" : `l5d-dst-canonical: ${says}\r\n`;
    const before = p.driver.connects.length;
    p.driver.feed(client, `GET ${path} HTTP/1.1\r\nhost: web\r\n${more}\r\n`);
    if (p.driver.connects.length > before) p.driver.open(p.app());
    const got = p.driver.connects.length === 0 ? "" : p.app().take();
    if (got !== "") p.driver.feed(p.app(), `HTTP/1.1 ${status} Some\r\ncontent-length: 0\r\n\r\n`);
    client.take();
    return got;
  };
  return { ...f, ask };
}

test("requests of meshed clients count by the routes of the profile, whose classes say what failed", () => {
  const f = proxy();
  f.ask(CLIENT, "/a", WEB);
  assert.equal(f.asked.map((p) => p.name), [WEB]);
  assert.equal(f.lines("route_"), [], "a profile that is not known yet counts nothing");
  f.asked[0]?.set(...ROUTES);
  f.ask(CLIENT, "/a", WEB);
  f.ask(CLIENT, "/a/b", WEB, 404);
  f.ask(CLIENT, "/c", WEB, 404);
  f.ask(CLIENT, "/c", WEB, 503);
  assert.is(f.asked.length, 1);
  const labels = (rt: string, more = "") => `{direction="inbound",dst="${WEB}"${rt}${more}}`;
  const A = ',rt_route="a"';
  const said = f.lines("route_").filter((line) => /^route_re(quest|sponse)_total/.test(line));
  const response = (rt: string, status: number, how: string) =>
    `route_response_total${labels(rt, `,status_code="${status}",classification="${how}"`)} 1`;
  assert.equal(
    said.sort(),
    [
      `route_request_total${labels(A)} 2`,
      `route_request_total${labels("")} 2`,
      response(A, 200, "success"),
      response(A, 404, "failure"),
      response("", 404, "success"),
      response("", 503, "failure"),
    ].sort(),
  );
  assert.equal(
    f.lines("route_response_latency_ms_count").sort(),
    [
      `route_response_latency_ms_count${labels(A)} 2`,
      `route_response_latency_ms_count${labels("")} 2`,
    ]
      .sort(),
  );
  assert.equal(f.lines("route_actual"), [], "attempts are the outbound side's");
  f.profiles.release();
});

test("the application is told nothing of it", () => {
  const f = proxy();
  for (const tls of [CLIENT, null]) {
    assert.not.match(f.ask(tls, "/a", WEB), /canonical/i);
  }
  assert.match(f.ask(CLIENT, "/a", WEB), /^GET \/a HTTP\/1\.1\r\n/);
});

test("nobody else is believed: plain text, clients that are refused, what a filter answers", () => {
  const f = proxy(answering(1, 403, (path) => path === "/no"));
  f.ask(null, "/a", WEB);
  f.ask({ identity: null, alpn: null }, "/a", WEB);
  f.ask({ identity: "other.shop", alpn: null }, "/a", WEB);
  f.ask(CLIENT, "/no", WEB);
  f.ask(CLIENT, "/a", null);
  assert.is(f.asked.length, 0);
});

test("only full names of services below the configured suffixes are looked up", () => {
  const f = fixture();
  for (
    const name of [
      "",
      "web",
      "web.shop:80",
      "example.com:80",
      "10.1.2.3:80",
      "web.shop.svc.cluster.local", // without a port
      "WEB.shop.svc.cluster.local:80",
      "web.shop.svc.cluster.local:0",
      "web.shop.svc.cluster.local:80:80",
      "x".repeat(5000),
      `${"x.".repeat(200)}svc.cluster.local:80`,
    ]
  ) {
    assert.equal(f.profiles.of(name)?.routes, [], name);
  }
  assert.is(f.asked.length, 0);
  assert.is(f.profiles.size, 0);
  const g = fixture({
    config: {
      destination: { profileSuffixes: ["shop.svc.cluster.local"] },
      clusterDomain: "cluster.local",
      namespace: "shop",
    } as unknown as ProfilesOptions["config"],
  });
  g.profiles.of("web.other.svc.cluster.local:80");
  assert.is(g.asked.length, 0);
  g.profiles.of(WEB);
  assert.is(g.asked.length, 1);
  g.profiles.release();
});

test("a client that makes up names gets no more than the bound, and costs nobody a profile in use", () => {
  const f = fixture({ max: 10 });
  f.profiles.of(WEB);
  f.asked[0]?.set(...ROUTES);
  for (let i = 0; i < 1000; i++) f.profiles.of(`n${i}.shop.svc.cluster.local:80`);
  assert.is(f.profiles.size, 10);
  assert.is(f.asked.length, 10, "looked up");
  assert.equal(f.lines("inbound_http_profiles_refused_total"), [
    "inbound_http_profiles_refused_total 991",
  ]);
  // What led nowhere makes room later, each time for as many.
  f.driver.advance(10_000);
  for (let i = 0; i < 1000; i++) f.profiles.of(`m${i}.shop.svc.cluster.local:80`);
  assert.is(f.asked.length, 19);
  assert.is(f.asked.filter((p) => p.released).length, 9);
  assert.is(f.profiles.size, 10);
  assert.is(f.profiles.of(WEB)?.routes.length, 2);
  assert.is(f.asked[0]?.released, false);
  f.profiles.release();
  assert.ok(f.asked.every((p) => p.released));
});

test("a name that is not met any more is let go, and looked up again when it is", () => {
  const f = fixture();
  const used = f.profiles.of(WEB);
  const other = f.profiles.of("vote.shop.svc.cluster.local:80");
  if (used === null || other === null) throw new Error("refused");
  f.driver.advance(IDLE_MS / 2);
  used.lastUsedMs = f.driver.now;
  f.driver.advance(IDLE_MS / 2 + 100);
  assert.equal([used.live, other.live, f.profiles.size], [true, false, 1]);
  f.driver.advance(IDLE_MS + 100);
  assert.equal([used.live, f.profiles.size], [false, 0]);
  assert.not.equal(f.profiles.of(WEB), used);
  assert.is(f.asked.length, 3);
  f.driver.advance(2 * IDLE_MS + 200);
  assert.is(f.profiles.size, 0);
});

test.run();
