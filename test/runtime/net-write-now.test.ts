// Writes past a socket's queue: whole, queued, refused. On Deno nothing passes it by, and the same is true.

import { Buffer } from "node:buffer";
import net from "node:net";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mayWriteNow, writeNow } from "../../src/runtime/net-write-now.ts";

const IS_DENO = process.versions.deno !== undefined;

/** A connection within this process. */
async function pair(): Promise<{ near: net.Socket; far: net.Socket; close(): Promise<void> }> {
  const server = net.createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const accepted = new Promise<net.Socket>((resolve) => server.once("connection", resolve));
  const { port } = server.address() as net.AddressInfo;
  const near = net.connect({ host: "127.0.0.1", port });
  await new Promise((resolve) => near.once("connect", resolve));
  const far = await accepted;
  return {
    near,
    far,
    close: () => {
      near.destroy();
      far.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** All that comes until the end, as how many bytes and the sum of them. */
function read(socket: net.Socket): Promise<{ bytes: number; sum: number }> {
  return new Promise((resolve, reject) => {
    const seen = { bytes: 0, sum: 0 };
    socket.on("data", (chunk: Uint8Array) => {
      seen.bytes += chunk.length;
      for (const byte of chunk) seen.sum += byte;
    });
    socket.once("end", () => resolve(seen));
    socket.once("error", reject);
    socket.resume();
  });
}

test("what the system takes at once leaves nothing in the socket", async () => {
  const { near, far, close } = await pair();
  assert.is(mayWriteNow(near), !IS_DENO);
  for (let i = 0; i < 4; i++) {
    const whole = writeNow(near, Buffer.from("abc"));
    if (!IS_DENO) assert.ok(whole);
    if (whole) assert.is(near.writableLength, 0);
  }
  near.end();
  assert.equal(await read(far), { bytes: 12, sum: 4 * (97 + 98 + 99) });
  await close();
});

test("what is not taken stays in order, and drain tells when it is gone", async () => {
  const { near, far, close } = await pair();
  mayWriteNow(near);
  let bytes = 0;
  let sum = 0;
  let queued = 0;
  // until the system's buffers are full, and then some that can only wait behind them
  for (let i = 0; queued < 8; i++) {
    const piece = Buffer.alloc(64 * 1024, i % 251);
    if (!writeNow(near, piece)) queued++;
    bytes += piece.length;
    sum += piece.length * (i % 251);
    assert.ok(bytes < 256 * 1024 * 1024, "the peer reads nothing, and all was taken");
    if (IS_DENO) await new Promise((resolve) => setTimeout(resolve));
  }
  assert.ok(near.writableNeedDrain);
  const drained = new Promise((resolve) => near.once("drain", resolve));
  const seen = read(far);
  await drained;
  assert.is(near.writableLength, 0);
  const whole = writeNow(near, Buffer.from([1]));
  if (!IS_DENO) assert.ok(whole);
  near.end();
  assert.equal(await seen, { bytes: bytes + 1, sum: sum + 1 });
  await close();
});

test("a write to a connection that is gone is the socket's error", async () => {
  const { near, far, close } = await pair();
  mayWriteNow(near);
  writeNow(near, Buffer.from("a"));
  const failed = new Promise<Error & { code?: string }>((resolve) => near.once("error", resolve));
  far.resetAndDestroy();
  const writing = setInterval(() => writeNow(near, Buffer.from("b")), 5);
  const { code } = await failed;
  clearInterval(writing);
  assert.match(code ?? "", /^(EPIPE|ECONNRESET)$/);
  assert.is(writeNow(near, Buffer.from("c")), near.writableLength === 0);
  await close();
});

test("a socket that is not connected any more is asked to write, and throws nothing", async () => {
  const { near, close } = await pair();
  mayWriteNow(near);
  writeNow(near, Buffer.from("a"));
  near.on("error", () => {});
  near.destroy();
  writeNow(near, Buffer.from("b"));
  await close();
  writeNow(near, Buffer.from("c"));
});

test.run();
