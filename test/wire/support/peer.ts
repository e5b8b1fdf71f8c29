// The peer that is not ours: Linkerd's API by Linkerd's own types, a program of tools/wire-peer. Here it is
// started and spoken to; what its roles say is for the tests to judge.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createFileRegistry, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** Longer than anything takes that is asked of it here. */
const ANSWER_MS = 60_000;
const BUILT = fileURLToPath(new URL("../../../.cache/wire-peer/", import.meta.url));

/** Why there is no peer here; null: there is one. */
export const NO_PEER: string | null = existsSync(`${BUILT}wire-peer`)
  ? null
  : "the peer with Linkerd's types is not there (tools/setup-wire-peer builds it)";

/** The descriptors of the API that the peer's types were generated from. */
export function linkerdApi(): FileRegistry {
  return createFileRegistry(
    fromBinary(FileDescriptorSetSchema, readFileSync(`${BUILT}linkerd.binpb`)),
  );
}

/** Starts a role of the peer. Its stderr is kept for errors. */
export function startPeer(...args: readonly string[]): Peer {
  return new Peer(spawn(`${BUILT}wire-peer`, args, { stdio: ["pipe", "pipe", "pipe"] }));
}

/** A running peer. Ends when its stdin is closed: `await using` does. */
export class Peer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  #errors = "";
  /** What came and was not read. */
  #came: Buffer = Buffer.alloc(0);
  #wake: () => void = () => {};
  #isEnded = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.#errors += text));
    child.stdin?.on("error", () => {});
    child.stdout?.on("data", (piece: Buffer) => {
      this.#came = Buffer.concat([this.#came, piece]);
      this.#wake();
    });
    this.#exited = new Promise((resolve) => {
      child.once("error", (e) => (this.#errors += e.message));
      child.once("close", (code) => {
        this.#isEnded = true;
        this.#wake();
        resolve(code);
      });
    });
  }

  /** What it wrote on stderr. */
  get errors(): string {
    return this.#errors;
  }

  /** Writes bytes; what the pipe does not take yet is kept. */
  write(...pieces: readonly Uint8Array[]): void {
    this.#child.stdin?.write(Buffer.concat(pieces));
  }

  /** Writes a line of JSON. */
  tell(value: unknown): void {
    this.write(Buffer.from(`${JSON.stringify(value)}\n`));
  }

  /** The next `length` bytes of its output. */
  async read(length: number): Promise<Buffer> {
    while (this.#came.length < length) await this.#more();
    const taken = this.#came.subarray(0, length);
    this.#came = this.#came.subarray(length);
    return taken;
  }

  /** The next line of its output, which is JSON; `withinMs` null waits until it ends. */
  // deno-lint-ignore no-explicit-any
  async heard(withinMs: number | null = ANSWER_MS): Promise<any> {
    let end: number;
    while ((end = this.#came.indexOf(10)) < 0) await this.#more(withinMs);
    const line = await this.read(end + 1);
    return JSON.parse(line.toString("utf8"));
  }

  /** All of its output until it ends, as text. */
  async rest(): Promise<string> {
    await this.#exited;
    return this.#came.toString("utf8");
  }

  async #more(withinMs: number | null = ANSWER_MS): Promise<void> {
    if (this.#isEnded) throw new Error(`the peer ended: ${this.#errors}`);
    await new Promise<void>((resolve, reject) => {
      const late = () => reject(new Error(`the peer says nothing: ${this.#errors}`));
      const timer = withinMs === null ? undefined : setTimeout(late, withinMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#exited;
  }
}

/** Messages through Linkerd's types and back; one at a time. */
export class Codec implements AsyncDisposable {
  readonly #peer = startPeer("codec");

  /** What `bytes` of the message `name` are after Linkerd's types have read and written them. */
  async again(name: string, bytes: Uint8Array): Promise<Uint8Array> {
    const text = Buffer.from(name);
    this.#peer.write(length32(text.length), text, length32(bytes.length), bytes);
    const head = await this.#peer.read(5);
    const body = await this.#peer.read(head.readUInt32BE(1));
    if (head[0] !== 0) throw new Error(`${name}: ${body.toString("utf8")}`);
    return body;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#peer[Symbol.asyncDispose]();
  }
}

function length32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
