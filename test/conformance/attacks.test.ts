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
import { HpackEncoder } from "../../src/proxy/http2/hpack-encoder.ts";
import { ask } from "../mesh/support/http.ts";
import { eventually, sum } from "../mesh/support/waiting.ts";
import { frame, GET, POST, u32 } from "../proxy/http2/raw-peer.ts";
import { withProxy } from "./proxy-process.ts";

/** What attackers leave behind is freed: later rounds find the memory of the second and the third. */
const ROUNDS = 5;
const GROWTH_MIB = 8;
const ATTACKERS = 10;

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

/** A long field in the table, and a block that says nothing but its index: 4 KiB for each byte. */
function bomb(): Uint8Array {
  const value = "v".repeat(4000);
  const encoder = new HpackEncoder(4096);
  const out = new Uint8Array(8192);
  let at = encoder.begin(out, 0);
  for (const [name, text] of [...GET, ["x-bomb", value]] as const) {
    const bytes = Uint8Array.from(name + text, (c) => c.charCodeAt(0));
    at = encoder.field(bytes, 0, name.length, name.length, bytes.length, out, at, 0);
  }
  const first = frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, out.slice(0, at));
  const refs = Buffer.concat([block(GET), Buffer.alloc(16_000, 0x80 | 62)]);
  return Buffer.concat([first, frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 3, refs)]);
}

const HELLO = Buffer.concat([f.PREFACE, frame(f.SETTINGS, 0, 0), frame(f.SETTINGS, f.ACK, 0)]);

const GET_BLOCK = block(GET);
const ping = frame(f.PING, 0, 0, new Uint8Array(8));

/** Of 100 streams, from the `i`th hundred on. */
function streams(i: number, frames: (id: number) => readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(Array.from({ length: 100 }, (_, k) => frames(2 * (100 * i + k) + 1)).flat());
}

interface Attack {
  /** Bytes that an attacker sends, over and over until it is thrown out. */
  readonly bytes: (i: number) => Uint8Array;
  /** By which bound; null: by a rule of the protocol, or by a bound, whichever comes first. */
  readonly bound: "frames" | "continuation" | "resets" | null;
}

const ATTACKS: Readonly<Record<string, Attack>> = {
  pings: { bound: "frames", bytes: () => Buffer.concat(new Array(500).fill(ping)) },
  settings: {
    bound: "frames",
    bytes: () => Buffer.concat(new Array(100).fill(frame(f.SETTINGS, 0, 0))),
  },
  "empty frames": {
    bound: null, // the stream may be answered and forgotten meanwhile
    bytes: (i) =>
      Buffer.concat([
        ...(i === 0 ? [frame(f.HEADERS, f.END_HEADERS, 1, block(POST))] : []),
        ...new Array(200).fill(frame(f.DATA, 0, 1)),
      ]),
  },
  continuation: {
    bound: "continuation",
    bytes: (i) => frame(i === 0 ? f.HEADERS : f.CONTINUATION, 0, 1, new Uint8Array(16_384)),
  },
  // CVE-2023-44487
  "rapid reset": {
    bound: "resets",
    bytes: (i) =>
      streams(i, (id) => [
        frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, id, GET_BLOCK),
        frame(f.RST_STREAM, 0, id, u32(8)),
      ]),
  },
  // The proxy is made to reset them itself (CVE-2025-8671).
  "made you reset": {
    bound: "resets",
    bytes: (i) =>
      streams(i, (id) => [
        frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, id, GET_BLOCK),
        frame(f.WINDOW_UPDATE, 0, id, u32(0)),
      ]),
  },
};

/** Attacks until the proxy ends the connection. */
async function attack(port: number, { bytes }: Attack): Promise<void> {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: false });
  socket.on("error", () => {});
  socket.resume();
  const closed = new Promise((done) => socket.once("close", done));
  await once(socket, "connect");
  socket.write(HELLO);
  for (let i = 0; !socket.destroyed && !socket.readableEnded && i < 100_000; i++) {
    const sent = new Promise((done) => socket.write(bytes(i), done));
    await Promise.race([sent, closed]);
    await new Promise(setImmediate); // a write that is taken at once would leave no turn to hear the end
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
      let failed: unknown = null;
      honest.catch((e: unknown) => (failed = e)); // awaited below
      await eventually("the honest client is served", () => assert.ok(asked > 50));
      const large = block([...GET.slice(0, 3), [":path", "/large"]]);
      const twenty = Array.from(
        { length: 20 },
        (_, i) => frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 2 * i + 1, large),
      );
      /** Those who stay: no reading at all, a window of nothing, half a head, a body that stops, silence. */
      const staying: readonly (readonly [count: number, bytes: Uint8Array | null])[] = [
        [20, Buffer.concat([HELLO, ...twenty, frame(f.WINDOW_UPDATE, 0, 0, u32(1_000_000_000))])],
        [
          20,
          Buffer.concat([
            f.PREFACE,
            frame(f.SETTINGS, 0, 0, [0, f.INITIAL_WINDOW_SIZE, ...u32(0)]),
            frame(f.SETTINGS, f.ACK, 0),
            ...twenty,
          ]),
        ],
        [20, Buffer.concat([HELLO, bomb()])],
        [100, Buffer.from("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")],
        [50, Buffer.from("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc")],
        [20, Buffer.from("GET /large HTTP/1.1\r\nhost: a\r\n\r\n")],
        [100, f.PREFACE.slice(0, 5)],
        [100, null],
      ];
      const sizes: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const leave: (() => void)[] = [];
        for (const [count, bytes] of staying) leave.push(await silent(proxy.port, count, bytes));
        for (const one of Object.values(ATTACKS)) {
          await Promise.all(Array.from({ length: ATTACKERS }, () => attack(proxy.port, one)));
        }
        const during = asked;
        await eventually("the honest client is still served", () => {
          assert.is(failed, null);
          assert.ok(asked > during + 20);
        });
        for (const end of leave) end();
        // It hears of each end in its own time.
        await eventually(`what round ${round} left is freed`, async () => {
          const held = await proxy.heldMiB();
          // Neither alone: code that is compiled, or thrown away, weighs as much as some attackers.
          const growth = held - (round < 3 ? Infinity : Math.max(...sizes.slice(1, 3)));
          assert.not.ok(growth > GROWTH_MIB, `${held} MiB after ${sizes.join(", ")}`);
          sizes[round] = held;
        });
      }
      stop = true;
      await honest;
      const metrics = await ask({ host: "127.0.0.1", port: proxy.admin, path: "/metrics" });
      const samples = parseSamples(metrics.body, () => true);
      const times = new Map<string, number>();
      for (const { bound } of Object.values(ATTACKS)) {
        if (bound !== null) times.set(bound, (times.get(bound) ?? 0) + ROUNDS * ATTACKERS);
      }
      for (const [bound, count] of times) {
        assert.ok(sum(samples, "http2_bounds_total", { bound }) >= count, bound);
      }
      client.destroy();
    });
  });
});

test.run();
