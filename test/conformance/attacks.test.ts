// Attackers over real connections, many at once, on a `tulle proxy` that serves an honest client all the
// while: the client fails no request, each bound is counted, and memory stays flat.

import { spawn } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseSamples } from "../../src/cli/demo-scrape.ts";
import * as f from "../../src/proxy/http2/frames.ts";
import { HpackEncoder } from "../../src/proxy/http2/hpack.ts";
import { ask } from "../mesh/support/http.ts";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { frame, GET, u32 } from "../proxy/http2/raw-peer.ts";
import { withProxy } from "./proxy-process.ts";

/** More than this is not flat: one attacker's worth of everything they sent would be hundreds. */
const GROWTH_MIB = 120;
const ATTACKERS = 40;

function block(fields: readonly (readonly [string, string])[]): Uint8Array {
  const encoder = new HpackEncoder(0);
  const out = new Uint8Array(4096);
  let at = encoder.begin(out, 0);
  for (const [name, value] of fields) {
    const bytes = Uint8Array.from(name + value, (c) => c.charCodeAt(0));
    at = encoder.field(bytes, 0, name.length, name.length, bytes.length, out, at, 1);
  }
  return out.slice(0, at);
}

const HELLO = Buffer.concat([f.PREFACE, frame(f.SETTINGS, 0, 0), frame(f.SETTINGS, f.ACK, 0)]);

/** Each: bytes that an attacker sends, over and over until it is thrown out. */
const ATTACKS: Readonly<Record<string, (i: number) => Uint8Array>> = {
  frames: () => Buffer.concat(new Array(500).fill(frame(f.PING, 0, 0, new Uint8Array(8)))),
  continuation: (i) =>
    i === 0
      ? frame(f.HEADERS, 0, 1, new Uint8Array(16_384))
      : frame(f.CONTINUATION, 0, 1, new Uint8Array(16_384)),
};

/** Attacks until the proxy ends the connection. */
async function attack(port: number, bytes: (i: number) => Uint8Array): Promise<void> {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: false });
  socket.on("error", () => {});
  socket.resume();
  const closed = new Promise((done) => socket.once("close", done));
  await once(socket, "connect");
  socket.write(HELLO);
  for (let i = 0; !socket.destroyed && !socket.readableEnded && i < 100_000; i++) {
    const sent = new Promise((done) => socket.write(bytes(i), done));
    await Promise.race([sent, closed]);
  }
  socket.destroy();
  await closed;
}

/** Opens connections that ask for much, or for nothing, and read nothing. Returns what ends them. */
async function silent(port: number, count: number, bytes: Uint8Array | null): Promise<() => void> {
  const sockets: net.Socket[] = [];
  for (let i = 0; i < count; i++) {
    const socket = net.connect({ host: "127.0.0.1", port });
    socket.on("error", () => {});
    socket.pause();
    await once(socket, "connect");
    if (bytes !== null) socket.write(bytes);
    sockets.push(socket);
  }
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

/** Runs the application while `use` has its port. */
async function withApp(use: (port: number) => Promise<void>): Promise<void> {
  const runtime = process.versions.deno === undefined ? [] : ["run", "-A"];
  const file = fileURLToPath(new URL("plain-app.ts", import.meta.url));
  const child = spawn(process.execPath, [...runtime, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  try {
    const [port] = await once(child.stdout, "data") as [Uint8Array];
    await use(Number(String(port)));
  } finally {
    process.kill(child.pid as number, "SIGKILL");
    await ended;
  }
}

test("floods, slow readers and silent clients harm nobody else", async () => {
  await withApp(async (app) => {
    await withProxy(app, "http1", async (proxy) => {
      const client = http2.connect(`http://127.0.0.1:${proxy.port}`);
      client.on("error", () => {});
      let asked = 0;
      let stop = false;
      const honest = (async () => {
        while (!stop) {
          const stream = client.request({ ":path": "/" });
          let body = "";
          stream.setEncoding("utf8").on("data", (text: string) => (body += text));
          const ended = once(stream, "end");
          const [[head]] = await Promise.all([
            once(stream, "response") as Promise<[http2.IncomingHttpHeaders]>,
            ended,
          ]);
          assert.equal([head[":status"], body], [200, "fine"]);
          asked++;
        }
      })();
      honest.catch(() => {}); // awaited below
      await eventually("the honest client is served", () => assert.ok(asked > 50));
      const before = await proxy.rssMiB();
      // Those who stay: a window of nothing, no reading at all, nothing said.
      const large = block([...GET.slice(0, 3), [":path", "/large"]]);
      const greedy = Buffer.concat([
        HELLO,
        ...Array.from(
          { length: 20 },
          (_, i) => frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 2 * i + 1, large),
        ),
        frame(f.WINDOW_UPDATE, 0, 0, u32(1_000_000_000)),
      ]);
      const closed = Buffer.concat([
        f.PREFACE,
        frame(f.SETTINGS, 0, 0, [0, f.INITIAL_WINDOW_SIZE, ...u32(0)]),
        frame(f.SETTINGS, f.ACK, 0),
        ...Array.from(
          { length: 20 },
          (_, i) => frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 2 * i + 1, large),
        ),
      ]);
      const leave = [
        await silent(proxy.port, 20, greedy),
        await silent(proxy.port, 20, closed),
        await silent(proxy.port, 200, null),
        await silent(proxy.port, 100, f.PREFACE.slice(0, 5)),
      ];
      for (const bytes of Object.values(ATTACKS)) {
        await Promise.all(Array.from({ length: ATTACKERS }, () => attack(proxy.port, bytes)));
      }
      const during = asked;
      await eventually("the honest client is still served", () => assert.ok(asked > during + 20));
      const after = await proxy.rssMiB();
      for (const end of leave) end();
      stop = true;
      await honest;
      assert.not.ok(after - before > GROWTH_MIB, `memory grew from ${before} to ${after} MiB`);
      const metrics = await ask({ host: "127.0.0.1", port: proxy.admin, path: "/metrics" });
      const samples = parseSamples(metrics.body, () => true);
      for (const bound of Object.keys(ATTACKS)) {
        assert.is(sum(samples, "http2_bounds_total", { bound }), ATTACKERS, bound);
      }
      client.destroy();
    });
  });
});

test.run();
