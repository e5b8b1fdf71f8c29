// A worker's share of the proxy's bounds.

import { test } from "uvu";
import * as assert from "uvu/assert";
import type { ProxyConfig } from "../../../src/proxy/config.ts";
import { shareOf } from "../../../src/proxy/workers/share.ts";

test("bounds of requests and queues are divided, so that all workers together keep them", () => {
  const direction = { maxInFlight: 100, queueCapacity: 10, connectTimeoutMs: 300 };
  const config = {
    inbound: direction,
    outbound: { ...direction, tcpQueueCapacity: 7 },
    replayMaxBytes: 64,
  } as unknown as ProxyConfig;
  const mine = shareOf({ kind: "mesh", config }, 3);
  assert.equal(mine, {
    kind: "mesh",
    config: {
      inbound: { maxInFlight: 34, queueCapacity: 4, connectTimeoutMs: 300 },
      outbound: { maxInFlight: 34, queueCapacity: 4, connectTimeoutMs: 300, tcpQueueCapacity: 3 },
      replayMaxBytes: 64,
    },
  });
});

test.run();
