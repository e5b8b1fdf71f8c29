// `tulle proxy --upstream-protocol` as a process: which protocol the target sees, for clients of both.

import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { COMPILE_CACHE } from "../../src/cli/entries.ts";
import { ask } from "../mesh/support/http.ts";
import { eventually } from "../mesh/support/waiting.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const RUNTIME = process.versions.deno === undefined ? ["--disable-sigusr1"] : ["run", "-A"];

/** A server of both protocols on one port, which answers with the version that it was spoken to in. */
async function bilingual() {
  const sockets = new Set<net.Socket>();
  const one = http.createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (piece: string) => (body += piece));
    request.on("end", () => response.end(`1 ${request.method} ${request.url} ${body}`));
  });
  const two = http2.createServer();
  two.on("session", (session: http2.ServerHttp2Session) => session.on("error", () => {}));
  two.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    let body = "";
    stream.on("error", () => {});
    stream.setEncoding("utf8").on("data", (piece: string) => (body += piece));
    stream.on("end", () => {
      stream.respond({ ":status": 200 });
      stream.end(`2 ${headers[":method"]} ${headers[":path"]} ${body}`);
    });
  });
  const ports: number[] = [];
  for (const server of [one, two]) {
    server.on("connection", (socket: net.Socket) => sockets.add(socket));
    ports.push(await listening(server));
  }
  const door = net.createServer((near) => {
    sockets.add(near);
    near.on("error", () => {});
    near.once("data", (first: Uint8Array) => {
      const isHttp2 = String.fromCharCode(...first.subarray(0, 3)) === "PRI";
      const far = net.connect(ports[isHttp2 ? 1 : 0]!, "127.0.0.1");
      sockets.add(far);
      far.on("error", () => {});
      far.write(first);
      near.pipe(far).pipe(near);
    });
  });
  return {
    port: await listening(door),
    async close() {
      for (const socket of sockets) socket.destroy();
      for (const server of [door, one, two]) await new Promise((done) => server.close(done));
    },
  };
}

async function listening(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** `tulle proxy`, serving. */
async function proxy(...args: readonly string[]) {
  const child = spawn(
    process.execPath,
    [...RUNTIME, "src/cli/main.ts", "proxy", "--listen", "127.0.0.1:0", ...args],
    {
      cwd: ROOT,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, NO_COLOR: "1", NODE_COMPILE_CACHE: COMPILE_CACHE ?? "" },
    },
  );
  let err = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = once(child, "close");
  const port = await eventually("the proxy is ready", () => {
    const at = /ready listen=127\.0\.0\.1:(\d+)/.exec(err)?.[1];
    assert.ok(at !== undefined, err);
    return Number(at);
  }, 20_000);
  return {
    port,
    async [Symbol.asyncDispose]() {
      process.kill(child.pid!, "SIGKILL");
      await ended;
    },
  };
}

async function askHttp2(port: number, body: string): Promise<string> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  try {
    const stream = session.request({ ":method": "POST", ":path": "/a?b" });
    let text = "";
    stream.setEncoding("utf8").on("data", (piece: string) => (text += piece));
    const ended = once(stream, "end");
    const answered = once(stream, "response");
    stream.end(body);
    const [headers] = await answered as [http2.IncomingHttpHeaders];
    await ended;
    return `${headers[":status"]} ${text}`;
  } finally {
    session.close();
  }
}

async function askHttp1(port: number, body: string): Promise<string> {
  const answer = await ask(
    { host: "127.0.0.1", port, path: "/a?b", method: "POST", agent: false },
    body,
  );
  return `${answer.status} ${answer.body}`;
}

for (
  const [flags, toHttp1, toHttp2] of [
    [["--upstream-protocol", "http1"], 1, 1],
    [["--upstream-protocol", "http2"], 2, 2],
    [["--upstream-protocol", "same"], 1, 2],
    [[], 1, 2],
    [["--inbound", "--upstream-protocol", "http1"], 1, 1],
    [["--inbound", "--upstream-protocol", "http2"], 2, 2],
    [["--inbound"], 1, 2],
  ] as const
) {
  test(`tulle proxy ${flags.join(" ")} speaks to its target as it was told`, async () => {
    const target = await bilingual();
    try {
      await using p = await proxy("--to", `127.0.0.1:${target.port}`, ...flags);
      const body = "0123456789".repeat(3000);
      assert.is(await askHttp1(p.port, body), `200 ${toHttp1} POST /a?b ${body}`);
      assert.is(await askHttp2(p.port, body), `200 ${toHttp2} POST /a?b ${body}`);
    } finally {
      await target.close();
    }
  });
}

test.run();
