// Writes that the system takes at once, past the queue of a Node socket: `node:net` asks the handle to
// write at once, too, and queues nothing when all was taken, but only after it has kept its books. What is
// not taken at once, and every error, goes the socket's own way. Elsewhere every write does.

import type net from "node:net";
import process from "node:process";

/** The part of a socket's handle that is used; Node's own, and none of its public interface. */
interface Handle {
  writeBuffer: Write;
}
/** 0: all was taken; else a number that says why not, or the request that will be done later. */
type Write = (this: Handle, request: unknown, bytes: Uint8Array) => unknown;
type Handled = net.Socket & { readonly _handle?: Handle | null };

const IS_DENO = process.versions.deno !== undefined;
const NOTHING = Symbol("nothing");

/** What handles have by themselves. */
let original: Write | null = null;
/** Node itself was seen to write without a request, and to be told 0. */
let isProven = false;
/** What a write came to whose socket is yet to hear of it. */
let untold: unknown = NOTHING;

/**
 * Stands before a handle's own, until Node was seen to write and where the system once did not take all:
 * sees how Node writes, and tells it what came of a write of ours.
 */
function watched(this: Handle, request: unknown, bytes: Uint8Array): unknown {
  if (untold !== NOTHING) {
    const result = untold;
    untold = NOTHING;
    return result;
  }
  const result = (original as Write).call(this, request, bytes);
  if (request === null && result === 0) isProven = true;
  return result;
}

/** Prepares a connected socket without TLS for `writeNow`. False: it has to be asked to write. */
export function mayWriteNow(socket: net.Socket): boolean {
  const handle = (socket as Handled)._handle;
  if (IS_DENO || handle === null || typeof handle?.writeBuffer !== "function") return false;
  if (handle.writeBuffer === watched) return true;
  original ??= handle.writeBuffer;
  if (handle.writeBuffer !== original) return false;
  if (!isProven) handle.writeBuffer = watched;
  return true;
}

/**
 * Writes to a socket that `mayWriteNow`. True: the system has the bytes, and nothing refers to them any
 * more. False: the socket has them, and tells by `drain` and `error` what becomes of them.
 */
export function writeNow(socket: net.Socket, bytes: Uint8Array): boolean {
  const handle = (socket as Handled)._handle;
  if (isProven && handle !== null && handle !== undefined && socket.writableLength === 0) {
    const result = handle.writeBuffer(null, bytes);
    if (result === 0) return true;
    handle.writeBuffer = watched;
    untold = result;
  }
  socket.write(bytes);
  untold = NOTHING;
  return socket.writableLength === 0;
}
