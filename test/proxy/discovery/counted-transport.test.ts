// Calls to the control plane, as they are counted around a transport.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { Destination, UpdateSchema } from "../../../src/api/gen/destination_pb.ts";
import { exposition } from "../../../src/proxy/exposition.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { countedTransport } from "../../../src/proxy/discovery/counted-transport.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const TARGET = { host: "destination.linkerd", port: 8086, identity: "destination.sa" };

function setUp() {
  const metrics = new ProxyMetrics();
  const clock = new FakeClock();
  const inner = createRouterTransport(({ service }) => {
    service(Destination, {
      async *get({ path }) {
        if (path === "bad") throw new ConnectError("no", Code.NotFound);
        clock.advance(30);
        yield create(UpdateSchema);
        await Promise.resolve();
        yield create(UpdateSchema);
      },
    });
  });
  const client = createClient(Destination, countedTransport(inner, TARGET, metrics, clock));
  const lines = (name: string) =>
    exposition(metrics.sheet, []).split("\n").filter((line) => line.startsWith(name));
  return { client, lines };
}

const LABELS = 'addr="destination.linkerd:8086",tls="true",server_id="destination.sa"';

test("a stream is a request when it begins and a response when it has ended", async () => {
  const { client, lines } = setUp();
  for await (const _ of client.get({ path: "good" })) {
    assert.equal(lines("control_request_total"), [`control_request_total{${LABELS}} 1`]);
    assert.equal(lines("control_response_total"), []);
  }
  assert.equal(lines("control_response_total"), [
    `control_response_total{${LABELS},status_code="200",classification="success",grpc_status="0",error=""} 1`,
  ]);
  assert.match(lines("control_response_latency_ms_sum").join(), / 30$/);
});

test("a stream that fails, and one that is cancelled, end once", async () => {
  const { client, lines } = setUp();
  try {
    for await (const _ of client.get({ path: "bad" })) assert.unreachable();
  } catch (e) {
    assert.is(ConnectError.from(e).code, Code.NotFound);
  }
  const leave = new AbortController();
  try {
    for await (const _ of client.get({ path: "good" }, { signal: leave.signal })) leave.abort();
  } catch (e) {
    assert.is(ConnectError.from(e).code, Code.Canceled);
  }
  assert.equal(
    lines("control_response_total").map((l) => /grpc_status="(\d+)".* (\d+)$/.exec(l)?.slice(1)),
    [["5", "1"], ["1", "1"]],
  );
});

test.run();
