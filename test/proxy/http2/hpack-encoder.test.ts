import * as http2 from "node:http2";
import * as net from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Frame, HEADERS, PREFACE, writeFrameHeader } from "../../../src/proxy/http2/frames.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";

type Fields = (readonly [string, string])[];

/** The fields of response `i`: repeated ones, ones that evict, ones larger than the table. */
function response(i: number): Fields {
  return [
    [":status", i % 2 === 0 ? "200" : "418"],
    ["server", "tulle"],
    ["x-n", String(i % 5)],
    ["x-long", `<${i % 3}>`.repeat(i * 20)],
    [`x-name-${i % 4}`, "\\^~"],
  ];
}

test("what the encoder writes, the runtime's own HTTP/2 client reads", async () => {
  const total = 80;
  let client: http2.ClientHttp2Session | undefined;
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.write(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0));
    const encoder = new HpackEncoder();
    const frame = new Frame();
    let held: Uint8Array = new Uint8Array(0);
    let skip = PREFACE.length;
    let answered = 0;
    socket.on("data", (chunk: Uint8Array) => {
      held = Uint8Array.from([...held, ...chunk]);
      let at = skip;
      if (held.length < at) return;
      while (held.length - at >= 9) {
        frame.read(held, at);
        if (held.length < frame.to) break;
        at = frame.to;
        if (frame.type !== HEADERS) continue;
        // as if the peer lowered and raised its table
        if (answered % 7 === 3) encoder.limit(100);
        if (answered % 7 >= 3) encoder.limit(4096 - answered);
        const dst = new Uint8Array(16384);
        let end = encoder.begin(dst, 9);
        for (const [name, value] of response(answered)) {
          const buf = Uint8Array.from(name + value, (c) => c.charCodeAt(0));
          end = encoder.field(buf, 0, name.length, name.length, buf.length, dst, end);
        }
        writeFrameHeader(dst, 0, end - 9, HEADERS, 5, frame.stream);
        socket.write(dst.subarray(0, end));
        answered++;
      }
      held = held.slice(at);
      skip = 0;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const session = http2.connect(
      `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    );
    client = session;
    for (let i = 0; i < total; i++) {
      const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
        session.removeAllListeners("error").on("error", reject);
        const stream = session.request({ ":path": "/" });
        stream.on("error", reject);
        stream.on("response", resolve);
        stream.end();
      });
      for (const [name, value] of response(i)) assert.is(String(headers[name]), value);
    }
  } finally {
    client?.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
});

test.run();
