// The C library by the runtime's own foreign function interface: the one call that Node and Deno have
// no API for. Node finds libc in its own process, Deno opens the file. The only file that opens
// libraries; what is read with it is in `original-dst.ts`.

import process from "node:process";

/** What is called of libc. Numbers are C ints. */
export interface Libc {
  /** 0, or -1. Writes to `value`, and its length as a native 32-bit integer to `length`. */
  getsockopt(
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: Uint8Array,
  ): number;
  close(fd: number): number;
}

/** What is used of `node:ffi`, whose types are experimental. */
interface NodeFfi {
  dlopen(
    path: string | null,
    symbols: Record<string, { arguments: readonly string[]; return: string }>,
  ): { readonly functions: unknown };
}

/** What is used of Deno, where this runs on it. */
interface DenoFfi {
  readonly build: { readonly arch: string };
  dlopen(
    path: string,
    symbols: Record<string, { parameters: readonly string[]; result: string }>,
  ): { readonly symbols: unknown };
}

let opened: Libc | string | null = null;

/** libc, opened once a thread; or why not, in one line that says what to do. */
export function openLibc(): Libc | string {
  return opened ??= open();
}

function open(): Libc | string {
  const deno = (globalThis as { Deno?: DenoFfi }).Deno;
  return deno === undefined ? openInNode() : openInDeno(deno);
}

const GETSOCKOPT = ["int32", "int32", "int32", "buffer", "buffer"];

function openInNode(): Libc | string {
  // Node warns of an experiment once; that it is one is said in the documentation.
  const warn = process.emitWarning;
  process.emitWarning = () => {};
  try {
    const ffi = process.getBuiltinModule("node:ffi") as unknown as NodeFfi | undefined;
    if (ffi === undefined) {
      return "this Node has no node:ffi: run Node 26.1 or later, without --no-experimental-ffi";
    }
    return ffi.dlopen(null, {
      getsockopt: { arguments: GETSOCKOPT, return: "int32" },
      close: { arguments: ["int32"], return: "int32" },
    }).functions as Libc;
  } catch (e) {
    if ((e as { code?: string }).code === "ERR_ACCESS_DENIED") {
      return "Node may not use FFI: start it with --allow-ffi";
    }
    return `libc cannot be opened: ${(e as Error).message}`;
  } finally {
    process.emitWarning = warn;
  }
}

/** Where Debian and its kin, and others, have it. Deno grants and opens by absolute path. */
export function libcPaths(arch: string): readonly string[] {
  return [`/lib/${arch}-linux-gnu/libc.so.6`, "/lib64/libc.so.6", "/usr/lib/libc.so.6"];
}

function openInDeno(deno: DenoFfi): Libc | string {
  const paths = libcPaths(deno.build.arch);
  let why = "";
  for (const path of paths) {
    try {
      return deno.dlopen(path, {
        getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
        close: { parameters: ["i32"], result: "i32" },
      }).symbols as Libc;
    } catch (e) {
      if ((e as Error).name === "NotCapable") {
        why ||= `Deno may not use FFI: start it with --allow-ffi=${path}`;
      }
    }
  }
  return why || `there is no libc at ${paths.join(", ")}`;
}
