// What first bytes are taken for: whole, cut anywhere, and random.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { detectProtocol, MAX_DETECT_BYTES, type Protocol } from "../../../src/proxy/tcp/detect.ts";
import { fuzzSeed, seeded } from "../../support/random.ts";

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
const detect = (text: string | Uint8Array) => {
  const b = typeof text === "string" ? bytes(text) : text;
  return detectProtocol(b, 0, b.length);
};

const WHOLE: readonly (readonly [string, Protocol])[] = [
  ["GET / HTTP/1.1\r\n", "http1"],
  ["GET / HTTP/1.0\r\n", "http1"],
  ["\r\nGET / HTTP/1.1\r\n", "http1"],
  ["POST /a?b=c HTTP/1.1\r\n", "http1"],
  ["PRI /x HTTP/1.1\r\n", "http1"],
  ["PATCH * HTTP/1.1\r\n", "http1"],
  ["CONNECT a:1 HTTP/1.1\r\n", "http1"],
  ["M-SEARCH * HTTP/1.1\r\n", "http1"],
  ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"],
  ["\x16\x03\x01\x05\xa8\x01\x00", "tls"],
  ["\x16\x03\x03\x05\xa8\x01\x00", "tls"],
  ["\x16\x02\x00", "opaque"],
  ["\x16\x03\x01\x05\xa8\x02", "opaque"], // a ServerHello
  ["\0\0\0\x08\x04\xd2\x16\x2f", "opaque"], // PostgreSQL asks for TLS
  ["*1\r\n$4\r\nPING\r\n", "opaque"], // Redis
  ["PING\r\n", "opaque"], // Redis inline, NATS
  ["CONNECT {}\r\n", "opaque"], // NATS
  ["SSH-2.0-OpenSSH\r\n", "opaque"],
  ["EHLO a.test\r\n", "opaque"],
  ["GET /\r\n", "opaque"], // HTTP/0.9
  ["GET / HTTP/2.0\r\n", "opaque"],
  ["PRI * HTTP/2.0 ", "opaque"],
  ["GET  / HTTP/1.1\r\n", "opaque"],
  ["GET /\tx HTTP/1.1\r\n", "opaque"],
  [" GET / HTTP/1.1\r\n", "opaque"],
  ["A".repeat(33), "opaque"],
  ["\0", "opaque"],
];

test("protocols are told by their first bytes", () => {
  for (const [text, protocol] of WHOLE) assert.is(detect(text), protocol, JSON.stringify(text));
});

test("cut anywhere, the answer is the same or not yet known", () => {
  for (const [text, protocol] of WHOLE) {
    const known: number[] = [];
    for (let n = 0; n <= text.length; n++) {
      const answer = detect(text.slice(0, n));
      if (answer === null) assert.is(known.length, 0, `${JSON.stringify(text)} forgot at ${n}`);
      else {
        assert.is(answer, protocol, `${JSON.stringify(text)} at ${n}`);
        known.push(n);
      }
    }
  }
});

test("the answer to what is no protocol comes with the byte that shows it", () => {
  assert.is(detect("PING"), null);
  assert.is(detect("PING\r"), "opaque");
  assert.is(detect("GET / HTTP/1"), null);
  assert.is(detect("GET / HTTP/1."), "http1");
  assert.is(detect("PRI * HTTP/2.0\r"), null);
});

test("a request whose target is long is told no later than at the bound", () => {
  const long = `GET /${"x".repeat(5000)} HTTP/1.1\r\n`;
  assert.is(detect(long.slice(0, MAX_DETECT_BYTES - 1)), null);
  assert.is(detect(long.slice(0, MAX_DETECT_BYTES)), "http1");
});

test("random bytes are never forgotten and never waited for past the bound", () => {
  const random = seeded(fuzzSeed("detection"));
  const starts = ["", "GET ", "GET / ", "GET / HTTP/1", "PRI * HTTP/2", "\x16\x03\x01", "\r\n"];
  for (let run = 0; run < 3000; run++) {
    const start = bytes(random.pick(starts));
    const rest = random() < 0.5
      ? random.bytes(1100)
      : bytes("abcXYZ/:. \r\n".repeat(100)).sort(() => random() - 0.5);
    const all = new Uint8Array([...start, ...rest]);
    let answer: Protocol | null = null;
    for (let n = 0; n <= all.length; n += random.int(1, 40)) {
      const now = detectProtocol(all, 0, n);
      if (answer !== null) assert.is(now, answer);
      answer = now;
    }
    assert.is.not(detectProtocol(all, 0, MAX_DETECT_BYTES), null);
  }
});

test.run();
