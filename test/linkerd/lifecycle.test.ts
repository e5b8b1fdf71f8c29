// A proxy that is asked to end, and what its admin server tells: connections finish what runs, and
// everything that went through is counted.

import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { raw, serveTcp, type Way } from "./support/apps.ts";
import { World } from "./support/world.ts";

const BYE = "custom tcp bye";
const HELLO = "custom tcp hello\n";
const REQUEST = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const NET = 138;

/** Runs `body` with a proxy of its own, which `body` may end. */
async function withProxy(body: (world: World) => Promise<void>): Promise<void> {
  const world = await World.start(NET);
  try {
    await body(world);
  } finally {
    await world.end();
  }
}

function connect2(way: Way): http2.ClientHttp2Session {
  const socket = net.connect(way);
  const session = http2.connect("http://test", { createConnection: () => socket });
  session.on("error", () => {});
  return session;
}

test("HTTP/2: an idle connection is told to go away, and closed", () =>
  withProxy(async (world) => {
    const app = await world.app("http2", "hello", world.proxy.ip);
    world.proxy.inbound = app.at;
    const session = connect2(world.proxy.inboundAt);
    const stream = session.request({ ":path": "/" });
    stream.resume();
    await once(stream, "end");
    const closed = once(session, "close");
    world.proxy.signal();
    await closed;
    await world.proxy.ended;
  }));

test("HTTP/2: bodies that were begun before the end come whole", () =>
  withProxy(async (world) => {
    const body = "1".repeat(16 * 1024);
    const app = await world.app("http2", body, world.proxy.ip);
    world.proxy.inbound = app.at;
    const session = connect2(world.proxy.inboundAt);
    const streams = Array.from({ length: 20 }, () => session.request({ ":path": "/" }));
    const lengths = streams.map(() => 0);
    const ends = streams.map((stream) => once(stream, "end"));
    await Promise.all(streams.map((stream) => once(stream, "response")));
    const closed = once(session, "close");
    world.proxy.signal();
    for (const [i, stream] of streams.entries()) {
      stream.on("data", (piece: Uint8Array) => (lengths[i] = (lengths[i] ?? 0) + piece.length));
    }
    await Promise.all(ends);
    assert.equal(lengths, streams.map(() => body.length));
    await closed;
    await world.proxy.ended;
  }));

test("HTTP/1: the answer of a request that runs is the connection's last", () =>
  withProxy(async (world) => {
    const app = await world.app("http1", () => {
      world.proxy.signal();
      return { body: "1".repeat(16 * 1024), headers: { "content-length": String(16 * 1024) } };
    }, world.proxy.ip);
    world.proxy.inbound = app.at;
    const one = raw(world.proxy.inboundAt, REQUEST);
    await one.ended();
    assert.is(one.text().split("\r\n\r\n").at(-1)?.length, 16 * 1024);
    one.socket.destroy();
    await world.proxy.ended;
  }));

test("TCP: /metrics counts connections and bytes of both sides, and those that are open", () =>
  withProxy(async (world) => {
    const { proxy } = world;
    const sides = [
      ["inbound", proxy.inboundAt, proxy.ip],
      ["outbound", proxy.outboundAt, `${world.net}.50`],
    ] as const;
    for (const [direction, way, ip] of sides) {
      const app = await serveTcp(ip, (socket) => {
        socket.once("data", () => socket.write(BYE));
        socket.on("end", () => socket.end());
      });
      world.onEnd(() => app.close());
      if (direction === "inbound") proxy.inbound = app.at;
      else proxy.outbound = world.service("counted", app.at).clusterAddr;
      const are = (name: string, labels: Readonly<Record<string, string>>, value: number) =>
        eventually(`${name} of ${direction} is ${value}`, async () => {
          const samples = await proxy.metrics();
          assert.is(sum(samples, name, { direction, ...labels }), value);
        });
      for (const opened of [1, 2]) {
        const one = raw(way, HELLO);
        await one.saw(/bye$/);
        await are("tcp_open_total", { peer: "src" }, opened);
        await are("tcp_open_total", { peer: "dst" }, opened);
        await are("tcp_open_connections", { peer: "src" }, 1);
        one.socket.end();
        await one.ended();
        await are("tcp_close_total", { peer: "src", errno: "" }, opened);
        await are("tcp_open_connections", { peer: "src" }, 0);
      }
      await are("tcp_read_bytes_total", { peer: "src" }, 2 * HELLO.length);
      await are("tcp_write_bytes_total", { peer: "src" }, 2 * BYE.length);
      await are("tcp_read_bytes_total", { peer: "dst" }, 2 * BYE.length);
      await are("tcp_write_bytes_total", { peer: "dst" }, 2 * HELLO.length);
    }
  }));

test("HTTP: requests and responses of both directions are counted once", () =>
  withProxy(async (world) => {
    const { proxy } = world;
    const inner = await world.app("http1", "in", proxy.ip);
    const outer = await world.app("http1", "out");
    const service = world.service("counted", outer.at);
    proxy.inbound = inner.at;
    const one = raw(proxy.inboundAt, REQUEST);
    await one.saw(/in\r\n0\r\n\r\n$/);
    one.socket.destroy();
    assert.is((await world.ask("HTTP/1", service)).body, "out");
    await eventually("both are counted", async () => {
      const samples = await proxy.metrics();
      const outbound = { direction: "outbound", target_addr: outer.at };
      const inbound = { direction: "inbound", target_addr: inner.at };
      for (const labels of [outbound, inbound]) {
        assert.is(sum(samples, "request_total", labels), 1);
        assert.is(sum(samples, "response_total", { ...labels, status_code: "200" }), 1);
      }
    });
  }));

test("/metrics has its start time, and no empty label; /env.json says what is set", () =>
  withProxy(async (world) => {
    const { body } = await world.proxy.admin("/metrics");
    assert.match(body, /^process_start_time_seconds \d+/m);
    assert.not.ok(body.includes(",,"));
    const name = "LINKERD2_PROXY_POLICY_WORKLOAD";
    const all = JSON.parse((await world.proxy.admin("/env.json")).body) as Record<string, string>;
    assert.match(all[name] ?? "", /"pod":"web"/);
    const some = await world.proxy.admin(`/env.json?NOBODY_SETS_IT&${name}`);
    assert.equal(JSON.parse(some.body), { [name]: all[name], NOBODY_SETS_IT: null });
  }));

test.run();
