import { test } from "uvu";
import * as assert from "uvu/assert";
import * as f from "../../../src/proxy/http2/frames.ts";
import { seeded } from "../../support/random.ts";

function frame(length: number, type: number, flags: number, stream: number): f.Frame {
  const buf = new Uint8Array(9);
  assert.is(f.writeFrameHeader(buf, 0, length, type, flags, stream), 9);
  const read = new f.Frame();
  read.read(buf, 0);
  return read;
}

test("a frame header is read as it was written, without the reserved bit", () => {
  const read = frame(0xabcdef, f.HEADERS, 0x25, 0xfffffffe);
  assert.equal([read.length, read.type, read.flags, read.stream], [0xabcdef, 1, 0x25, 0x7ffffffe]);
  assert.equal([read.from, read.to], [9, 9 + 0xabcdef]);
});

test("check() refuses wrong lengths and wrong streams and lets unknown types pass", () => {
  const cases: [number, number, number, number, number][] = [
    [16385, f.DATA, 0, 1, f.FRAME_SIZE_ERROR],
    [16384, f.DATA, 0, 1, f.NO_ERROR],
    [0, f.DATA, 0, 0, f.PROTOCOL_ERROR],
    [0, f.HEADERS, 0, 0, f.PROTOCOL_ERROR],
    [5, f.PRIORITY, 0, 0, f.PROTOCOL_ERROR],
    [4, f.RST_STREAM, 0, 0, f.PROTOCOL_ERROR],
    [5, f.RST_STREAM, 0, 1, f.FRAME_SIZE_ERROR],
    [6, f.SETTINGS, 0, 1, f.PROTOCOL_ERROR],
    [6, f.SETTINGS, f.ACK, 0, f.FRAME_SIZE_ERROR],
    [7, f.SETTINGS, 0, 0, f.FRAME_SIZE_ERROR],
    [12, f.SETTINGS, 0, 0, f.NO_ERROR],
    [8, f.PING, 0, 1, f.PROTOCOL_ERROR],
    [7, f.PING, 0, 0, f.FRAME_SIZE_ERROR],
    [8, f.GOAWAY, 0, 1, f.PROTOCOL_ERROR],
    [7, f.GOAWAY, 0, 0, f.FRAME_SIZE_ERROR],
    [3, f.WINDOW_UPDATE, 0, 0, f.FRAME_SIZE_ERROR],
    [0, f.CONTINUATION, 0, 0, f.PROTOCOL_ERROR],
    [99, 0xee, 0xff, 0, f.NO_ERROR],
  ];
  for (const [length, type, flags, stream, want] of cases) {
    assert.is(frame(length, type, flags, stream).check(16384), want, `${length} ${type} ${stream}`);
  }
});

test("unpad() finds what is left between priority and padding", () => {
  const buf = new Uint8Array(29);
  buf[9] = 4;
  const headers = frame(20, f.HEADERS, f.PADDED | f.HAS_PRIORITY, 1);
  assert.is(headers.unpad(buf), f.NO_ERROR);
  assert.equal([headers.from, headers.to], [15, 25]);
  buf[9] = 20;
  assert.is(frame(20, f.DATA, f.PADDED, 1).unpad(buf), f.PROTOCOL_ERROR);
  buf[9] = 19;
  const empty = frame(20, f.DATA, f.PADDED, 1);
  assert.is(empty.unpad(buf), f.NO_ERROR);
  assert.is(empty.from, empty.to);
  assert.is(frame(0, f.DATA, f.PADDED, 1).unpad(buf), f.FRAME_SIZE_ERROR);
  assert.is(frame(4, f.HEADERS, f.HAS_PRIORITY, 1).unpad(buf), f.FRAME_SIZE_ERROR);
});

test("checkSetting() bounds push, window and frame size only", () => {
  assert.is(f.checkSetting(f.ENABLE_PUSH, 2), f.PROTOCOL_ERROR);
  assert.is(f.checkSetting(f.INITIAL_WINDOW_SIZE, 0x80000000), f.FLOW_CONTROL_ERROR);
  assert.is(f.checkSetting(f.MAX_FRAME_SIZE, 16383), f.PROTOCOL_ERROR);
  assert.is(f.checkSetting(f.MAX_FRAME_SIZE, 0x1000000), f.PROTOCOL_ERROR);
  assert.is(f.checkSetting(f.MAX_FRAME_SIZE, 0xffffff), f.NO_ERROR);
  assert.is(f.checkSetting(0x99, 0xffffffff), f.NO_ERROR);
});

test("random headers never make a payload reach outside of its frame", () => {
  const random = seeded(4);
  const read = new f.Frame();
  for (let i = 0; i < 5000; i++) {
    const buf = random.bytes(9 + 64);
    buf[0] = buf[1] = 0;
    buf[2] = random.int(0, 64);
    buf[3] = random.int(0, 1);
    read.read(buf, 0);
    const end = read.to;
    if (read.unpad(buf) !== f.NO_ERROR) continue;
    assert.ok(read.from >= 9 && read.from <= read.to && read.to <= end);
  }
});

test.run();
