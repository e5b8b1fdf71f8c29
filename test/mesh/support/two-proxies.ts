// An application behind two meshed proxies in this process, over real sockets and mutual TLS.

import * as assert from "uvu/assert";
import { parseSamples } from "../../../src/cli/demo-scrape.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import type { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { material } from "../../support/driver-fixture.ts";
import { netProxy } from "../../support/net-proxy.ts";
import { createTestCa } from "../../support/test-ca.ts";

export const INBOUND = "app.shop.serviceaccount.identity.linkerd.cluster.local";
export const OUTBOUND = "web.shop.serviceaccount.identity.linkerd.cluster.local";

export interface TwoProxies {
  /** Of the outbound proxy. */
  readonly port: number;
  /** Connections between the proxies so far. */
  connections(): number;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Connections that came for HTTP. Where a client is slow to speak, as many at once are, the outbound proxy
 * also opens one for bytes, and ends it when it turns out to be HTTP.
 */
function httpConnections(metrics: ProxyMetrics): number {
  const name = "inbound_tcp_transport_header_connections_total";
  const samples = parseSamples(exposition(metrics.sheet, []), (n) => n === name);
  return samples.filter(({ labels }) => labels["session_protocol"] !== "")
    .reduce((n, { value }) => n + value, 0);
}

/** Puts them before a port of this machine. */
export async function twoProxies(port: number): Promise<TwoProxies> {
  const ca = await createTestCa();
  const local = await netProxy({
    to: [{ ip: "127.0.0.1", port }],
    inbound: true,
    identity: await material(ca, INBOUND),
  });
  const proxy = await netProxy({
    to: [{
      addr: local.addr,
      weight: 10_000,
      labels: {},
      identity: { name: INBOUND, serverName: INBOUND },
      transportPort: local.port,
      hint: "h2",
    }],
    identity: await material(ca, OUTBOUND),
  });
  return {
    port: proxy.port,
    connections: () => httpConnections(local.metrics),
    async [Symbol.asyncDispose]() {
      await proxy.close();
      await local.close();
      assert.equal([...proxy.defects, ...local.defects], []);
    },
  };
}
