// Random bytes where a transport header should be, by seed.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { decodeTransportHeader, encodeTransportHeader } from "../../src/api/transport-header.ts";
import { WireError } from "../../src/api/wire-error.ts";
import { fuzzSeed, seeded } from "../support/random.ts";

const RUNS = 5000;
const MAX_BYTES = 1100;

test("a header comes back as it was, whole or not at all", () => {
  const random = seeded(fuzzSeed("transport header"));
  for (let run = 0; run < RUNS / 10; run++) {
    const header = {
      port: random.int(1, 65_535),
      name: random.pick(["", "web.shop.svc.cluster.local", "x".repeat(random.int(1, 253))]),
      protocol: random.pick(["http1", "http2", "opaque"] as const),
    };
    const bytes = encodeTransportHeader(header);
    const after = new Uint8Array([...bytes, ...random.bytes(10)]);
    assert.equal(decodeTransportHeader(after, 0, after.length), { header, bytes: bytes.length });
    for (let to = 0; to < bytes.length; to++) {
      assert.is(decodeTransportHeader(bytes, 0, to), null);
    }
  }
});

test("a damaged one is waited for, refused or read, never more than its bound", () => {
  const random = seeded(fuzzSeed("damaged transport header"));
  for (let run = 0; run < RUNS; run++) {
    const bytes = random() < 0.2
      ? random.bytes(random.int(1, 100))
      : encodeTransportHeader({ port: random.int(1, 65_535), name: "web.shop", protocol: "http2" });
    for (let k = random.int(1, 4); k > 0; k--) {
      bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    }
    const long = new Uint8Array(MAX_BYTES);
    long.set(bytes);
    try {
      const read = decodeTransportHeader(long, 0, long.length);
      assert.ok(read !== null, "the bound has no effect");
      assert.ok(read.bytes <= long.length);
      assert.ok(read.header.port > 0 && read.header.port <= 65_535);
    } catch (e) {
      assert.instance(e, WireError);
    }
  }
});

test.run();
