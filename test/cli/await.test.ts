import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { COMMANDS, runTulle } from "../../src/cli/main.ts";
import { serveHttp } from "../../src/runtime/http-server.ts";
import { freePort } from "../support/free-port.ts";
import { fakeTerminal } from "./fake-terminal.ts";

/** A proxy's admin server that is ready from the `ready`-th look on. */
async function proxy(ready: number, shutdown = 200) {
  const asked: string[] = [];
  const server = await serveHttp({ ip: "127.0.0.1", port: 0 }, (request) => {
    asked.push(`${request.method} ${new URL(request.url).pathname}`);
    if (request.method === "POST") return new Response("", { status: shutdown });
    return new Response("", { status: asked.length >= ready ? 200 : 503 });
  });
  return { asked, port: `${server.addr.port}`, close: () => server.close(0) };
}
async function tulle(...argv: string[]) {
  const terminal = fakeTerminal();
  const status = await runTulle(argv, COMMANDS, terminal);
  return { status, error: terminal.stderr.join("\n") };
}

test("await ends when the proxy is ready, and asks until then", async () => {
  const { port, asked, close } = await proxy(3);
  const done = await tulle("await", "--port", port, "--backoff=10ms", "--timeout=20s");
  assert.is(done.status, 0);
  assert.is(done.error, `Waiting for the proxy on port ${port}: it answers 503`);
  assert.is(asked.length, 3);
  await close();
});

test("await fails in time when nobody is ready", async () => {
  const port = `${await freePort()}`;
  const { status, error } = await tulle("await", `--port=${port}`, "--timeout=50ms");
  assert.is(status, 1);
  assert.match(error, /not ready in time: it does not answer/);
});

test("await runs the command with its status, and ends the proxy after it", async () => {
  const { port, asked, close } = await proxy(1);
  const dir = await mkdtemp(join(tmpdir(), "tulle-await-"));
  const touched = join(dir, "ran");
  assert.is((await tulle("await", "--port", port, "--shutdown", `touch ${touched}`)).status, 0);
  assert.is(await readFile(touched, "utf8"), "");
  assert.equal(asked, ["GET /ready", "POST /shutdown"]);
  assert.is((await tulle("await", "--port", port, "false")).status, 1);
  assert.is((await tulle("await", "--port", port, "/no/such/program")).status, 127);
  await rm(dir, { recursive: true });
  await close();
});

test("a proxy that does not end is named", async () => {
  const { port, close } = await proxy(1, 404);
  const { status, error } = await tulle("await", "--port", port, "-S", "true");
  assert.is(status, 0);
  assert.match(error, /\/shutdown answered 404/);
  await close();
});

test.run();
