// Other people's HTTP/2 clients through the proxy to an application of HTTP/1: what they send and get
// must be what they send and get without it.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type NetProxy, netProxy } from "../support/net-proxy.ts";
import { fuzzSeed, seeded } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Why a program of Debian is not there, or null. */
function missing(program: string, from: string): string | null {
  const found = (process.env["PATH"] ?? "").split(delimiter).some((dir) =>
    existsSync(join(dir, program))
  );
  return found ? null : `${program} is not installed (${from}, tools/setup-debian)`;
}

async function run(program: string, args: readonly string[], stdin?: Uint8Array) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  const out: Uint8Array[] = [];
  let err = "";
  child.stdout.on("data", (piece: Uint8Array) => out.push(piece));
  child.stderr.on("data", (piece: Uint8Array) => (err += String(piece)));
  child.stdin.on("error", () => {});
  child.stdin.end(stdin ?? new Uint8Array(0));
  const [code] = await once(child, "close");
  return { code: code as number, out: Buffer.concat(out), err };
}

let app: http.Server;
let p: NetProxy;

/** Says what it got, and answers with as many bytes as `?n=` asks for. */
test.before(async () => {
  app = http.createServer((request, response) => {
    const hash = createHash("sha256");
    request.on("data", (piece: Uint8Array) => hash.update(piece));
    request.on("error", () => {});
    request.on("end", () => {
      const n = Number(new URL(request.url ?? "/", "http://a").searchParams.get("n") ?? 0);
      response.setHeader("x-method", request.method ?? "");
      response.setHeader("x-sha", hash.digest("hex"));
      response.setHeader("x-cookie", request.headers.cookie ?? "");
      response.end(Buffer.alloc(n, "0123456789abcdef"));
    });
  });
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
  const to = { ip: "127.0.0.1", port: (app.address() as AddressInfo).port };
  p = await netProxy({ to: [to], protocol: "http1" });
});

test.after(async () => {
  await p.close();
  assert.equal(p.defects, []);
  app.closeAllConnections();
  await new Promise((done) => app.close(done));
});

testUnless(
  missing("curl", "curl"),
  test,
  "curl uploads and downloads through HTTP/2 what it means to",
  async () => {
    const random = seeded(fuzzSeed("curl"));
    for (const size of [0, 1, 65_535, 65_536, 700_000]) {
      const body = random.bytes(size);
      const url = `http://127.0.0.1:${p.port}/up?n=${size}`;
      const args = ["-s", "-i", "-m", "30", "--http2-prior-knowledge", "--data-binary", "@-", url];
      const { code, out, err } = await run("curl", args, body);
      assert.is(code, 0, err);
      const end = out.indexOf("\r\n\r\n");
      const head = out.subarray(0, end).toString("latin1");
      assert.match(head, /^HTTP\/2 200/);
      assert.match(head, `x-sha: ${sha(body)}`);
      assert.equal(sha(out.subarray(end + 4)), sha(Buffer.alloc(size, "0123456789abcdef")));
    }
  },
);

testUnless(
  missing("nghttp", "nghttp2-client"),
  test,
  "nghttp gets many streams at once, with small windows and padding",
  async () => {
    for (const more of [[], ["-w", "10", "-W", "10"], ["--padding=200"]]) {
      const url = `http://127.0.0.1:${p.port}/?n=100000`;
      const { code, out, err } = await run("nghttp", ["-m", "20", "-t", "30", ...more, url]);
      assert.is(code, 0, err);
      assert.is(out.length, 20 * 100_000, err.slice(0, 300));
    }
  },
);

testUnless(
  missing("h2load", "nghttp2-client"),
  test,
  "h2load fails no request on many connections and streams",
  async () => {
    const url = `http://127.0.0.1:${p.port}/?n=2000`;
    const { code, out, err } = await run("h2load", ["-n2000", "-c10", "-m20", url]);
    assert.is(code, 0, err);
    assert.match(
      out.toString(),
      /2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout/,
    );
  },
);

test("node:http2 gets through the proxy what HTTP/1 gets without it", async () => {
  const random = seeded(fuzzSeed("node:http2"));
  const client = http2.connect(`http://127.0.0.1:${p.port}`);
  try {
    await Promise.all(Array.from({ length: 40 }, async () => {
      const method = random.pick(["GET", "POST", "PUT", "DELETE", "PATCH"]);
      const body = method === "GET" ? new Uint8Array(0) : random.bytes(random.int(0, 200_000));
      const n = random.int(0, 200_000);
      const stream = client.request(
        { ":method": method, ":path": `/x?n=${n}`, cookie: "a=1; b=2" },
        { endStream: body.length === 0 },
      );
      if (body.length > 0) stream.end(body);
      const pieces: Uint8Array[] = [];
      stream.on("data", (piece: Uint8Array) => pieces.push(piece));
      const [[head]] = await Promise.all([
        once(stream, "response") as Promise<[http2.IncomingHttpHeaders]>,
        once(stream, "end"),
      ]);
      assert.is(head[":status"], 200);
      assert.is(head["x-method"], method);
      assert.is(head["x-sha"], sha(body));
      assert.is(head["x-cookie"], "a=1; b=2");
      assert.is(sha(Buffer.concat(pieces)), sha(Buffer.alloc(n, "0123456789abcdef")));
    }));
  } finally {
    const closed = once(client, "close");
    client.close();
    await closed;
  }
});

test.run();
