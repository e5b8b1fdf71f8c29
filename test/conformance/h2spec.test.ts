// h2spec against `tulle proxy` as a process, with this runtime: before an application of HTTP/1 and one
// of HTTP/2, every case, default and strict. A case that is skipped counts as one that failed.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { testUnless } from "../support/skip.ts";
import { withProxy } from "./proxy-process.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const H2SPEC = join(ROOT, ".cache/h2spec/h2spec");
const MISSING = existsSync(H2SPEC) ? null : "h2spec is not built (tools/setup-h2spec)";

/** Enough for the cases that need several DATA frames. */
const BODY = "h2spec reads this. ".repeat(2000);

function onRequest(request: NodeJS.EventEmitter, answer: (body: string) => void): void {
  request.on("data", () => {});
  request.on("end", () => answer(BODY));
  request.on("error", () => {});
}

/** An application; `close` ends it with its connections. */
async function application(version: 1 | 2): Promise<{ port: number; close(): Promise<void> }> {
  const server = version === 1
    ? http.createServer((q, r) => onRequest(q, (body) => r.end(body)))
    : http2.createServer((q, r) => onRequest(q, (body) => r.end(body)));
  const open = new Set<{ destroy(): void }>();
  server.on("connection", (socket: { destroy(): void } & NodeJS.EventEmitter) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

async function h2spec(port: number, args: readonly string[]): Promise<string> {
  const child = spawn(H2SPEC, ["-h", "127.0.0.1", "-p", String(port), "-o", "5", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (out += text));
  }
  await once(child, "close");
  return out;
}

for (const [version, protocol] of [[1, "http1"], [2, "http2"]] as const) {
  testUnless(
    MISSING,
    test,
    `h2spec passes every case before an application of HTTP/${version}, also with -S`,
    async () => {
      const app = await application(version);
      try {
        await withProxy(app.port, protocol, async ({ port }) => {
          for (const [args, cases] of [[[], 145], [["-S"], 146]] as const) {
            const out = await h2spec(port, args);
            const failures = out.slice(Math.max(0, out.indexOf("Failures:")));
            assert.match(out, `${cases} tests, ${cases} passed, 0 skipped, 0 failed`, failures);
          }
        });
      } finally {
        await app.close();
      }
    },
  );
}

test.run();
