import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { HeaderSchema } from "../../src/api/gen/transport_header_pb.ts";
import { decodeTransportHeader, encodeTransportHeader } from "../../src/proxy/transport-header.ts";
import { seeded } from "../support/random.ts";

const PREFIX = 23;

test("encodeTransportHeader() writes what a protobuf library reads", () => {
  for (const protocol of ["opaque", "http1", "http2"] as const) {
    for (const port of [1, 80, 8080, 65535]) {
      const bytes = encodeTransportHeader({ port, name: port === 80 ? "web.shop" : "", protocol });
      assert.is(new TextDecoder().decode(bytes.subarray(0, PREFIX)), "transport.l5d.io/v1\r\n\r\n");
      assert.is(new DataView(bytes.buffer).getUint32(PREFIX), bytes.length - PREFIX - 4);
      const message = fromBinary(HeaderSchema, bytes.subarray(PREFIX + 4));
      assert.is(message.port, port);
      assert.is(message.name, port === 80 ? "web.shop" : "");
      assert.is(message.sessionProtocol?.kind.case, protocol === "opaque" ? undefined : protocol);
    }
  }
});

test("decodeTransportHeader() reads what a protobuf library writes, unknown fields too", () => {
  const body = toBinary(
    HeaderSchema,
    create(HeaderSchema, { port: 7000, sessionProtocol: { kind: { case: "http1", value: {} } } }),
  );
  const unknown = Uint8Array.of(0x78, 1, 0x82, 1, 2, 65, 66);
  const message = Uint8Array.of(...body, ...unknown);
  const bytes = new Uint8Array(PREFIX + 4 + message.length + 3);
  bytes.set(encodeTransportHeader({ port: 1, name: "", protocol: "opaque" }).subarray(0, PREFIX));
  new DataView(bytes.buffer).setUint32(PREFIX, message.length);
  bytes.set(message, PREFIX + 4);
  assert.equal(decodeTransportHeader(bytes, 0, bytes.length), {
    header: { port: 7000, name: "", protocol: "http1" },
    length: PREFIX + 4 + message.length,
  });
});

test("decodeTransportHeader() waits for a whole header and refuses others at their first wrong byte", () => {
  const bytes = encodeTransportHeader({ port: 8080, name: "a.b", protocol: "http1" });
  for (let cut = 0; cut < bytes.length; cut++) {
    assert.is(decodeTransportHeader(bytes, 0, cut), null);
  }
  const http = new TextEncoder().encode("GET / HTTP/1.1\r\n");
  assert.type(decodeTransportHeader(http, 0, 1), "string");
  const huge = bytes.slice();
  new DataView(huge.buffer).setUint32(PREFIX, 1 << 20);
  assert.match(String(decodeTransportHeader(huge, 0, huge.length)), /1048576 bytes, more than/);
  const none = encodeTransportHeader({ port: 0, name: "", protocol: "opaque" });
  assert.match(String(decodeTransportHeader(none, 0, none.length)), /port 0/);
});

test("decodeTransportHeader() never throws on random messages", () => {
  const random = seeded(4);
  const prefix = encodeTransportHeader({ port: 1, name: "", protocol: "opaque" }).subarray(
    0,
    PREFIX,
  );
  for (let i = 0; i < 20_000; i++) {
    const message = random.bytes(random.int(0, 24));
    const bytes = new Uint8Array(PREFIX + 4 + message.length);
    bytes.set(prefix);
    new DataView(bytes.buffer).setUint32(PREFIX, message.length);
    bytes.set(message, PREFIX + 4);
    decodeTransportHeader(bytes, 0, bytes.length);
  }
});

test.run();
