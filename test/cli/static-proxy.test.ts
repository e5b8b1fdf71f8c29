// `tulle proxy` as a process: what it forwards, what it refuses and how it says so.

import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import net from "node:net";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Answer, ask, serveApp } from "../mesh/support/http.ts";
import { eventually } from "../mesh/support/waiting.ts";
import { freePort } from "../support/free-port.ts";
import {
  app,
  dir,
  get,
  metric,
  proxy,
  raw,
  seen,
  tulle,
  useStaticProxies,
} from "./support/static-proxy.ts";

useStaticProxies(test);

test("requests are forwarded, and balanced over several targets", async () => {
  const second = await serveApp("127.0.0.1", 0, () => ({ headers: { "x-app": "two" } }));
  const p = await proxy(`127.0.0.1:${app.port},127.0.0.1:${second.port}`);
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => get(p, { method: "POST", path: "/a?b=c" }, "body")),
  );
  assert.ok(answers.every((a) => a.status === 200));
  assert.equal([...new Set(answers.map((a) => a.headers["x-app"]))].sort(), ["one", "two"]);
  assert.equal([...new Set(seen.map((s) => `${s.method} ${s.path} ${s.body}`))], [
    "POST /a?b=c body",
  ]);
  await second.close();
});

test("filters run in order with their configuration", async () => {
  const config = async (name: string, value: unknown) => {
    await writeFile(dir.join(name), JSON.stringify(value));
    return `filters/build/header-modifier.wasm=${dir.join(name)}`;
  };
  const first = await config("a.json", {
    requestSet: { "x-one": "1" },
    responseSet: { "x-r": "1" },
  });
  const second = await config("b.json", {
    requestSet: { "x-one": "2" },
    responseAdd: { "x-s": "2" },
  });
  const p = await proxy(app.port, "--filter", first, "--filter", second);
  const { headers } = await get(p);
  assert.is(seen[0]?.headers["x-one"], "2");
  assert.equal([headers["x-r"], headers["x-s"]], ["1", "2"]);
});

for (const workers of ["1", "2"]) {
  test(`a filter asks the services that --callout names, with ${workers} workers`, async () => {
    const asked: string[] = [];
    const auth = await serveApp("127.0.0.1", 0, (request) => {
      asked.push(`${request.method} ${request.path} ${request.headers["x-token"]}`);
      if (request.headers["x-token"] === "bad") return { status: 403, body: "not you\n" };
      return { headers: { "x-user": "ann" }, body: "ok" };
    });
    const filter = "test/wasm/fixtures/auth.wasm";
    const at = `127.0.0.1:${auth.port}`;
    const flags = ["--filter", filter, "--callout", `auth=${at}`, "--workers", workers];
    const p = await proxy(app.port, ...flags, "--admin", "127.0.0.1:0");
    const good = await get(p, { headers: { "x-token": "good" } });
    assert.is(good.status, 200);
    assert.is(seen.at(-1)?.headers["x-user"], "ann", "the answer reached the application");
    const bad = await get(p, { headers: { "x-token": "bad" } });
    assert.equal([bad.status, bad.body], [403, "not you\n"]);
    assert.equal(asked, ["GET /check good", "GET /check bad"]);
    assert.is((await get(p)).status, 200, "who asks nothing passes");
    assert.is(seen.length, 2);
    await auth.close();
    const gone = await get(p, { headers: { "x-token": "good" } });
    assert.equal([gone.status, gone.body], [503, "nobody answers\n"]);
  });
}

test("a filter asks in the inbound direction, too", async () => {
  const auth = await serveApp("127.0.0.1", 0, () => ({ headers: { "x-user": "bob" }, body: "ok" }));
  const p = await proxy(
    app.port,
    ...["--inbound", "--filter", "test/wasm/fixtures/auth.wasm"],
    ...["--callout", `auth=127.0.0.1:${auth.port}`],
  );
  assert.is((await get(p, { headers: { "x-token": "good" } })).status, 200);
  assert.is(seen.at(-1)?.headers["x-user"], "bob");
  await auth.close();
});

test("a filter that asks what no flag allows does not start the proxy", async () => {
  const flags = ["--listen", "127.0.0.1:0", "--to", `127.0.0.1:${app.port}`];
  const p = tulle(...flags, "--filter", "test/wasm/fixtures/auth.wasm");
  assert.is(await p.ended, 64);
  assert.match(
    p.err(),
    /auth asks "auth", which is not allowed\n {2}Say where that is: --callout auth=IP/,
  );
});

test("the admin server says that it lives, is ready, and what it did", async () => {
  const p = await proxy(app.port, "--admin", "127.0.0.1:0");
  await get(p);
  const admin = (path: string) => ask({ host: "127.0.0.1", port: p.admin, path });
  assert.equal(
    await Promise.all(["/live", "/ready", "/x"].map(async (path) => (await admin(path)).status)),
    [200, 200, 404],
  );
  const ok = { direction: "outbound", status_code: "200", classification: "success" };
  assert.is(await metric(p, "request_total", { direction: "outbound" }), 1);
  assert.is(await metric(p, "response_total", ok), 1);
  assert.ok(await metric(p, "process_resident_memory_bytes") > 0);
});

test("a malformed request is 400, an endless head 431, and both are counted and closed", async () => {
  const p = await proxy(app.port, "--admin", "127.0.0.1:0");
  const bad = [
    "GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
  ];
  for (const text of bad) {
    const answer = await raw(p, text);
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(answer, /\r\nl5d-proxy-error: \S/);
    assert.match(answer, /\r\nconnection: close\r\n/);
  }
  assert.is(await metric(p, "outbound_http_errors_total", { error: "bad-request" }), bad.length);
  const long = await raw(p, `GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(70_000)}\r\n\r\n`);
  assert.match(long, /^HTTP\/1\.1 431 [^]*\r\nl5d-proxy-error: \S/);
  assert.is(await metric(p, "outbound_http_errors_total", { error: "head-too-large" }), 1);
  assert.is(seen.length, 0);
  assert.is((await get(p)).status, 200);
});

test("a target that refuses connections is 502 with its address", async () => {
  const nobody = await freePort();
  const p = await proxy(nobody, "--admin", "127.0.0.1:0");
  const { status, headers } = await get(p);
  assert.is(status, 502);
  assert.match(headers["l5d-proxy-error"] ?? "", `127.0.0.1:${nobody}`);
  assert.is(await metric(p, "outbound_http_errors_total", { error: "i/o" }), 1);
});

test("asked to end, it finishes what it began and leaves with status 0", async () => {
  let release: (() => void) | null = null;
  const slow = await serveApp(
    "127.0.0.1",
    0,
    () => new Promise((resolve) => (release = () => resolve({ body: "late" }))),
  );
  const p = await proxy(slow.port);
  const asked: Promise<Answer> = get(p);
  asked.catch(() => {}); // should the test fail before it looks
  const answer = await eventually("the request arrived", () => {
    if (release === null) throw new Error("not yet");
    return release;
  });
  process.kill(p.child.pid!, "SIGTERM");
  await eventually("it takes no more", async () => {
    const late = net.connect({ host: "127.0.0.1", port: p.port });
    const why = await once(late, "connect").then(() => "it does", (e: Error) => e.message);
    late.destroy();
    assert.match(why, "ECONNREFUSED");
  });
  answer();
  assert.is((await asked).body, "late");
  assert.is(await p.ended, 0);
  await slow.close();
});

test("an unknown flag is one line, a hint and status 2", async () => {
  const t = tulle("--listen", "127.0.0.1:0", "--too", "127.0.0.1:1");
  assert.is(await t.ended, 2);
  assert.is(t.err(), 'tulle: Unknown flag "--too"\n  Did you mean --to?\n');
});

test("a port that is taken, a folder without keys and a file that is no filter are one line each", async () => {
  const listen = ["--listen", `127.0.0.1:${app.port}`, "--to", "127.0.0.1:1"];
  const taken = tulle(...listen);
  assert.is(await taken.ended, 1);
  assert.is(
    taken.err(),
    `tulle: Listen on 127.0.0.1:${app.port} failed: the port is taken; ` +
      "end the other process or choose another port\n",
  );
  const free = ["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"];
  for (const workers of ["1", "2"]) {
    const admin = ["--admin", `127.0.0.1:${app.port}`, "--workers", workers];
    const unwatched = tulle(...free, ...admin);
    assert.is(await unwatched.ended, 1);
    assert.match(
      unwatched.err(),
      /^tulle: Listen on 127\.0\.0\.1:\d+ failed: the port is taken.*\n$/,
    );
  }
  const keyless = tulle(...free, "--identity", dir.path);
  assert.is(await keyless.ended, 64);
  assert.is(
    keyless.err(),
    `tulle: Cannot read ${dir.join("tls.key")} (ENOENT): ` +
      "--identity wants tls.key, tls.crt and ca.crt\n",
  );
  await writeFile(dir.join("no.wasm"), "not a module");
  for (const workers of ["1", "2"]) {
    const wrong = tulle(...free, "--filter", dir.join("no.wasm"), "--workers", workers);
    assert.is(await wrong.ended, 64);
    assert.match(
      wrong.err(),
      /^tulle: filter "no" \([0-9a-f]{12}\): .*not a WebAssembly module.*\n$/,
    );
  }
});

test.run();
