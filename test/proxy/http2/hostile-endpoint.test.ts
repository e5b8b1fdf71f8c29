// Endpoints that break HTTP/2, on purpose or not: the request gets an answer, the proxy stays whole, and
// the next request is served.

import net, { type AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  Frame,
  GOAWAY,
  HEADERS,
  PING,
  PREFACE,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
  writeFrameHeader,
} from "../../../src/proxy/http2/frames.ts";
import { netProxy } from "../../support/net-proxy.ts";
import { fuzzSeed, seeded } from "../../support/random.ts";

function frame(type: number, flags: number, stream: number, payload: readonly number[]): number[] {
  const out = new Uint8Array(9 + payload.length);
  writeFrameHeader(out, 0, payload.length, type, flags, stream);
  out.set(payload, 9);
  return [...out];
}

const repeat = (n: number, bytes: readonly number[]) =>
  Array.from({ length: n }, () => bytes).flat();
const text = (t: string) => Array.from(t, (c) => c.charCodeAt(0));
const literal = (name: string, value: string) => [
  0,
  name.length,
  ...text(name),
  value.length,
  ...text(value),
];
const OK = 0x88; // :status: 200
const good = (stream: number) => [
  ...frame(HEADERS, END_HEADERS, stream, [OK]),
  ...frame(DATA, END_STREAM, stream, text("good")),
];
const head = (...block: number[]) => frame(HEADERS, END_HEADERS, 1, block);

/** An endpoint that reads a request and answers with these bytes, then with those of a good one. */
async function endpoint(first: readonly number[], ends = false) {
  let requests = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    socket.write(Uint8Array.from(frame(SETTINGS, 0, 0, [])));
    let got = new Uint8Array(0);
    let at = PREFACE.length;
    socket.on("data", (bytes: Uint8Array) => {
      got = Uint8Array.from([...got, ...bytes]);
      const f = new Frame();
      for (; at + 9 <= got.length; at = f.to) {
        f.read(got, at);
        if (f.to > got.length) return;
        if (f.type !== HEADERS) continue;
        socket.write(Uint8Array.from(requests === 0 ? first : good(f.stream)));
        if (requests++ === 0 && ends) return socket.end(); // what is not whole is not waited for
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const to = { ip: "127.0.0.1", port: (server.address() as AddressInfo).port };
  const proxy = await netProxy({ to: [to], protocol: "http2" });
  return {
    get: () => answerOf(proxy.port),
    /** Labels of what was counted. */
    bounds: () => [...proxy.metrics.sheet.families.get("http2_bounds_total")?.series.keys() ?? []],
    async [Symbol.asyncDispose]() {
      await proxy.close();
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
      assert.equal(proxy.defects, []);
    },
  };
}

/** Status and body of the answer to a request that is not safe to repeat; `cut`: it was not whole. */
function answerOf(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: "127.0.0.1", port });
    let got = "";
    socket.setEncoding("latin1").on("data", (piece: string) => (got += piece)).on(
      "error",
      () => {},
    );
    socket.on("close", () => {
      const [, status, fields = "", body = ""] =
        /^HTTP\/1\.1 (\d{3}) [^\r]*\r\n([^]*?)\r\n\r\n([^]*)$/.exec(got) ?? [];
      const length = Number(
        /content-length: (\d+)/.exec(fields)?.[1] ?? (status === "204" ? 0 : -1),
      );
      const chunks = /^(?:[0-9a-f]+\r\n([^]*)\r\n)?0\r\n\r\n$/.exec(body);
      if (status === undefined) resolve("cut");
      else if (length >= 0) resolve(body.length === length ? `${status} ${body}` : "cut");
      else resolve(chunks === null ? "cut" : `${status} ${chunks[1] ?? ""}`);
    });
    socket.write("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  });
}

for (
  const [what, bytes, expected] of [
    ["HTTP/1", text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "502 "],
    ["a block that is no HPACK", head(0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "502 "],
    ["no status", head(...literal("x-a", "1")), "502 "],
    ["a switch of protocols", head(...literal(":status", "101")), "502 "],
    ["a status that is none", head(...literal(":status", "2x0")), "502 "],
    ["two statuses", head(OK, OK), "502 "],
    ["a request's pseudo-header", head(OK, ...literal(":path", "/")), "502 "],
    ["a name in capitals", head(OK, ...literal("X-A", "1")), "502 "],
    ["a line break in a value", head(OK, ...literal("x-a", "1\r\nx-b: 2")), "502 "],
    ["a field of one connection", head(OK, ...literal("connection", "close")), "502 "],
    ["two lengths", head(OK, ...repeat(2, literal("content-length", "1"))), "502 "],
    [
      "a body that is shorter than it said",
      [
        ...head(OK, ...literal("content-length", "9")),
        ...frame(DATA, END_STREAM, 1, text("short")),
      ],
      "cut",
    ],
    [
      "a body where there is none",
      [...head(...literal(":status", "204")), ...frame(DATA, END_STREAM, 1, text("body"))],
      "cut",
    ],
    [
      "an interim response that ends",
      frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(":status", "103")),
      "502 ",
    ],
    ["a body before its head", frame(DATA, END_STREAM, 1, text("early")), "502 "],
    ["a push", frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2, OK]), "502 "],
    ["a stream that nobody opened", frame(HEADERS, END_HEADERS | END_STREAM, 99, [OK]), "502 "],
    ["a frame over its bound", frame(DATA, 0, 1, new Array(20_000).fill(0)), "502 "],
    [
      "a window over its bound",
      repeat(2, frame(WINDOW_UPDATE, 0, 1, [0x7f, 0xff, 0xff, 0xff])),
      "502 ",
    ],
    ["an empty window update", frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 0]), "502 "],
    [
      "a header block without end",
      [
        ...frame(HEADERS, 0, 1, [OK]),
        ...repeat(300, frame(CONTINUATION, 0, 1, literal("x-a", "0123456789"))),
      ],
      "502 ",
    ],
    [
      "a header block larger than allowed",
      [
        ...frame(HEADERS, 0, 1, [OK]),
        ...repeat(20, frame(CONTINUATION, 0, 1, repeat(100, literal("x-a", "0".repeat(120))))),
      ],
      "502 ",
    ],
    ["a flood of SETTINGS", repeat(5000, frame(SETTINGS, 0, 0, [])), "502 "],
    ["a flood of PING", repeat(5000, frame(PING, 0, 0, new Array(8).fill(0))), "502 "],
    ["a flood of GOAWAY", repeat(5000, frame(GOAWAY, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0])), "502 "],
    ["a flood of empty frames", [...head(OK), ...repeat(5000, frame(DATA, 0, 1, []))], "cut"],
    ["a reset after the head", [...head(OK), ...frame(RST_STREAM, 0, 1, [0, 0, 0, 2])], "cut"],
  ] as const
) {
  test(`an endpoint that sends ${what} harms its own request only`, async () => {
    await using t = await endpoint(bytes);
    assert.is(await t.get(), expected);
    assert.is(await t.get(), "200 good");
    const isFlood = what.startsWith("a flood") || what.startsWith("a header block");
    assert.is(t.bounds().filter((labels) => labels.includes('peer="dst"')).length, isFlood ? 1 : 0);
  });
}

test("random bytes of an endpoint end in an answer, never in a defect", async () => {
  const seed = fuzzSeed("hostile-endpoint");
  const random = seeded(seed);
  for (let round = 0; round < 40; round++) {
    const bytes = good(1);
    for (let i = 0; i < 3; i++) {
      const at = random.int(0, bytes.length - 1);
      const kind = random.int(0, 9);
      if (kind < 5) bytes[at] = random.int(0, 255);
      else if (kind < 8) bytes.splice(at, 1);
      else bytes.splice(at, 0, random.int(0, 255));
    }
    await using t = await endpoint(bytes, true);
    const answer = await t.get();
    assert.ok(/^(\d{3} |cut)/.test(answer), `seed ${seed}, round ${round}: ${answer}`);
  }
});

test.run();
