// The client of the control plane over several addresses, which a real name server on loopback gives:
// both are used, one that is killed is left alone, one that is new gets calls, one that left none.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { Destination } from "../../src/api/gen/destination_pb.ts";
import { noEndpointsUpdate } from "../../src/api/endpoint.ts";
import { createControlDns } from "../../src/runtime/control-dns.ts";
import { createGrpcClient, type GrpcClient } from "../../src/runtime/grpc-client.ts";
import { eventually } from "../mesh/support/waiting.ts";
import { type DnsServer, serveDns } from "./dns-server.ts";

/** A control plane at one address; streams stay open until it or the client ends them. */
async function serve(ip: string, port = 0) {
  const sessions = new Set<http2.ServerHttp2Session>();
  const counts = { calls: 0, open: 0, connections: 0 };
  const server = http2.createServer(connectNodeAdapter({
    routes: (router) => {
      router.service(Destination, {
        async *get(_request, { signal }) {
          counts.calls++;
          counts.open++;
          yield noEndpointsUpdate(true);
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          counts.open--;
        },
      });
    },
  }));
  server.on("session", (s: http2.ServerHttp2Session) => {
    counts.connections++;
    sessions.add(s);
    s.on("error", () => {}).once("close", () => sessions.delete(s));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, ip, () => resolve());
  });
  return {
    ip,
    port: (server.address() as AddressInfo).port,
    counts,
    /** Connections that are open. */
    connected: () => sessions.size,
    close: async () => {
      for (const s of sessions) s.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Plane = Awaited<ReturnType<typeof serve>>;

const NAME = "dst.linkerd.test";

function publish(dns: DnsServer, ...planes: readonly Plane[]): void {
  const srv = planes.map(({ ip, port }) => ({
    target: `${ip.replaceAll(".", "-")}.${NAME}`,
    port,
  }));
  dns.zone.set(NAME, { srv, ttlSeconds: 1 });
}

function clientOf(dns: DnsServer, told: string[] = []): GrpcClient {
  return createGrpcClient({ host: `${NAME}.`, port: 1, identity: null }, () => null, {
    dns: createControlDns([dns.at]),
    ttl: { minMs: null, maxMs: 1000 },
    backoff: { minMs: 60_000, maxMs: 60_000, jitter: 0 },
    resolved: (type, isFound) => told.push(`${type} ${isFound}`),
  });
}

/** A stream whose first message has come. */
async function open(client: GrpcClient) {
  const abort = new AbortController();
  const updates = createClient(Destination, client.transport).get({}, { signal: abort.signal });
  const stream = updates[Symbol.asyncIterator]();
  assert.is((await stream.next()).done, false);
  const ended = stream.next().then(() => {}, () => {});
  return {
    ended,
    close: async () => {
      abort.abort();
      await ended;
    },
  };
}

test("streams spread over the addresses of SRV records, one connection to each", async () => {
  const dns = await serveDns();
  const [a, b] = [await serve("127.0.0.1"), await serve("127.0.0.2")];
  publish(dns, a, b);
  const told: string[] = [];
  const client = clientOf(dns, told);
  const streams = [];
  for (let i = 0; i < 10; i++) streams.push(await open(client));
  // Of two addresses both are drawn, and the less loaded one is taken: the halves are exact.
  assert.equal([a.counts.calls, b.counts.calls], [5, 5]);
  assert.equal([a.counts.connections, b.counts.connections], [1, 1]);
  assert.is(told[0], "SRV true");
  assert.ok(!told.includes("A/AAAA true"), "SRV records were enough");
  client.close();
  await Promise.all(streams.map(({ ended }) => ended));
  for (const one of [a, b, dns]) await one.close();
});

test("calls go on with the other address when one is killed, and none fails", async () => {
  const dns = await serveDns();
  const [a, b] = [await serve("127.0.0.1"), await serve("127.0.0.2")];
  publish(dns, a, b);
  const client = clientOf(dns);
  const streams = [await open(client), await open(client)];
  assert.equal([a.counts.calls, b.counts.calls], [1, 1]);
  await a.close();
  await Promise.race(streams.map(({ ended }) => ended)); // the stream of the killed one ends
  for (let i = 0; i < 20; i++) streams.push(await open(client));
  assert.is(b.counts.calls, 21);
  client.close();
  await Promise.all(streams.map(({ ended }) => ended));
  for (const one of [b, dns]) await one.close();
});

test("an address that DNS gains gets calls, one that it loses no new ones, but its streams go on", async () => {
  const dns = await serveDns();
  const [a, b] = [await serve("127.0.0.1"), await serve("127.0.0.2")];
  publish(dns, a);
  const client = clientOf(dns);
  const old = await open(client);
  assert.is(a.counts.open, 1);
  publish(dns, b);
  const streams = [old];
  await eventually("a call to the new address", async () => {
    streams.push(await open(client));
    if (b.counts.calls === 0) throw new Error("it got none");
  });
  const before = a.counts.calls;
  for (let i = 0; i < 5; i++) streams.push(await open(client));
  assert.is(a.counts.calls, before, "the address that left gets no new ones");
  assert.is(a.counts.open, before, "and its streams are open");
  assert.is(a.connected(), 1);
  await Promise.all(streams.slice(0, before).map(({ close }) => close()));
  await eventually("the end of the connection that nobody uses", () => {
    if (a.connected() > 0) throw new Error("it is open");
  });
  client.close();
  await Promise.all(streams.map(({ ended }) => ended));
  for (const one of [a, b, dns]) await one.close();
});

test("a call fails once no address can be reached, and works again with the service", async () => {
  const dns = await serveDns();
  const [a, b] = [await serve("127.0.0.1"), await serve("127.0.0.2")];
  publish(dns, a, b);
  const client = clientOf(dns);
  await a.close();
  await b.close();
  const failed = await open(client).then(() => false, () => true);
  assert.ok(failed);
  // All are within their back-off; a call tries one all the same.
  const again = [await serve(a.ip, a.port), await serve(b.ip, b.port)];
  const stream = await open(client);
  client.close();
  await stream.ended;
  for (const one of [...again, dns]) await one.close();
});

test("a name that no server knows fails its calls, and is looked up by the next one", async () => {
  const dns = await serveDns();
  const a = await serve("127.0.0.1");
  const told: string[] = [];
  const client = clientOf(dns, told);
  assert.ok(await open(client).then(() => false, () => true));
  assert.equal(told, ["SRV false", "A/AAAA false"]);
  publish(dns, a);
  const stream = await open(client);
  client.close();
  await stream.ended;
  for (const one of [a, dns]) await one.close();
});

test.run();
