// `tulle proxy` as a process, with this runtime, before an application of the test.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { parseSamples } from "../../../src/cli/demo-scrape.ts";
import { COMPILE_CACHE } from "../../../src/cli/entries.ts";
import { ask, type Seen, serveApp } from "../../mesh/support/http.ts";
import { eventually, sum } from "../../mesh/support/waiting.ts";
import { type TempDir, tempDir } from "../../support/temp-dir.ts";
import { keyObject, newKeys, type TestCa } from "../../support/test-ca.ts";
import type { test as Test } from "uvu";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const RUNTIME = process.versions.deno === undefined ? ["--disable-sigusr1"] : ["run", "-A"];
export const NAME = (app: string) => `${app}.shop.serviceaccount.identity.linkerd.cluster.local`;

export interface Tulle {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  err(): string;
}

/** A proxy that serves. */
export interface Proxy extends Tulle {
  readonly port: number;
  /** Of `--admin`; 0 without. */
  readonly admin: number;
}

export let dir: TempDir;
export let app: Awaited<ReturnType<typeof serveApp>>;
export const seen: Seen[] = [];
const running = new Set<Tulle>();

/** Registers what each file with these proxies needs around its tests. */
export function useStaticProxies(test: typeof Test): void {
  test.before(async () => {
    dir = await tempDir("static");
    app = await serveApp("127.0.0.1", 0, (request) => {
      seen.push(request);
      return { headers: { "x-app": "one" }, body: `${request.method} ${request.body}` };
    });
  });
  test.before.each(() => {
    seen.length = 0;
  });
  test.after.each(async () => {
    for (const { child, ended } of running) {
      process.kill(child.pid!, "SIGKILL");
      await ended;
    }
  });
  test.after(async () => {
    await app.close();
    await dir[Symbol.asyncDispose]();
  });
}

/** Runs `tulle proxy` with the arguments. */
export function tulle(...args: readonly string[]): Tulle {
  const child = spawn(process.execPath, [...RUNTIME, "src/cli/main.ts", "proxy", ...args], {
    cwd: ROOT,
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, NO_COLOR: "1", NODE_COMPILE_CACHE: COMPILE_CACHE ?? "" },
  });
  let err = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (err += text));
  const started: Tulle = {
    child,
    err: () => err,
    ended: once(child, "close").then(([code]) => {
      running.delete(started);
      return code as number | null;
    }),
  };
  running.add(started);
  return started;
}

/** Runs `tulle proxy --listen 127.0.0.1:0 --to PORT …` and waits until it serves. */
export async function proxy(to: number | string, ...args: readonly string[]): Promise<Proxy> {
  const target = typeof to === "number" ? `127.0.0.1:${to}` : to;
  const started = tulle("--listen", "127.0.0.1:0", "--to", target, ...args);
  const ended = started.ended.then((code) => {
    throw new Error(`it ended with ${code}: ${started.err()}`);
  });
  ended.catch(() => {});
  const ready = eventually("the proxy is ready", () => {
    const [, port, admin] =
      /ready listen=127\.0\.0\.1:(\d+) to=\S+(?: admin=127\.0\.0\.1:(\d+))?/.exec(started.err()) ??
        [];
    assert.ok(port !== undefined, started.err());
    return { ...started, port: Number(port), admin: Number(admin ?? 0) };
  }, 20_000);
  return await Promise.race([ready, ended]);
}

export function get(of: { readonly port: number }, o: http.RequestOptions = {}, body = "") {
  return ask({ host: "127.0.0.1", port: of.port, path: "/", agent: false, ...o }, body);
}

export async function metric(of: Proxy, name: string, labels: Record<string, string> = {}) {
  const { body } = await ask({ host: "127.0.0.1", port: of.admin, path: "/metrics" });
  return sum(parseSamples(body, () => true), name, labels);
}

/** Sends raw bytes and resolves with all that came back until the proxy closed. */
export async function raw(of: Proxy, text: string): Promise<string> {
  const socket = net.connect({ host: "127.0.0.1", port: of.port });
  let got = "";
  socket.setEncoding("latin1").on("data", (piece: string) => (got += piece));
  socket.on("error", () => {});
  socket.write(text, "latin1");
  const timer = setTimeout(() => socket.destroy(new Error("still open")), 8_000);
  await once(socket, "close");
  clearTimeout(timer);
  return got;
}

/** A folder with `tls.key`, `tls.crt` and `ca.crt`. */
export async function identity(ca: TestCa, name: string): Promise<string> {
  const keys = await newKeys();
  const leaf = await ca.issue({
    publicKey: keys.publicKey,
    names: [{ type: "dns", value: name }],
  });
  const folder = dir.join(`${name}-${crypto.randomUUID()}`);
  await mkdir(folder);
  const key = (await keyObject(keys)).export({ format: "pem", type: "pkcs8" });
  await writeFile(join(folder, "tls.key"), key);
  await writeFile(join(folder, "tls.crt"), leaf.toString("pem"));
  await writeFile(join(folder, "ca.crt"), ca.pem);
  return folder;
}
