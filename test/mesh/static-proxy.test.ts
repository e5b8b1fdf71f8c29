// `tulle proxy` as a user runs it: on its own, without a control plane.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { tempDir } from "../support/temp-dir.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Starts `tulle proxy` and resolves with the address that it says it listens on. */
async function startProxy(
  ...args: readonly string[]
): Promise<{ child: ChildProcess; at: string }> {
  const runtime = process.versions.deno === undefined ? [] : ["run", "-A"];
  const listen = args.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const child = spawn(
    process.execPath,
    [...runtime, "src/cli/main.ts", "proxy", ...listen, ...args],
    { cwd: ROOT, stdio: ["ignore", "inherit", "pipe"] },
  );
  let text = "";
  for await (const part of child.stderr!) {
    text += String(part);
    const at = / listen=(\S+)/.exec(text)?.[1];
    if (at !== undefined) return { child, at };
  }
  throw new Error(`the proxy did not start: ${text}`);
}

function ask(at: string): Promise<{ status: number; served: string; body: string }> {
  return new Promise((resolve, reject) => {
    get(`http://${at}/things`, { agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (part: string) => (body += part));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          served: String(response.headers["x-served-by"] ?? ""),
          body,
        }));
    }).on("error", reject);
  });
}

for (const args of [[], ["--workers", "3"]]) {
  test(`tulle proxy${args.map((a) => ` ${a}`).join("")} balances, runs its filter, and ends when it is asked`, async () => {
    await using dir = await tempDir("static");
    await writeFile(dir.join("config.json"), '{"responseSet":{"x-served-by":"tulle"}}');
    const servers = ["one", "two"].map((name) =>
      createServer((request, response) => response.end(`${name} ${request.url}`))
    );
    const ports = await Promise.all(servers.map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return (server.address() as AddressInfo).port;
    }));
    const module = join(ROOT, "filters", "build", "header-modifier.wasm");
    const { child, at } = await startProxy(
      ...["--to", ports.map((port) => `127.0.0.1:${port}`).join(",")],
      ...args,
      ...["--filter", `${module}=${dir.join("config.json")}`],
    );
    const bodies = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const { status, served, body } = await ask(at);
      assert.is(status, 200);
      assert.is(served, "tulle");
      bodies.add(body);
    }
    assert.equal([...bodies].sort(), ["one /things", "two /things"]);
    process.kill(child.pid!, "SIGTERM");
    const [status] = await once(child, "close");
    assert.is(status, 0);
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });
}

test("tulle proxy with workers refuses an address that another process has", async () => {
  const { child, at } = await startProxy("--to", "127.0.0.1:9", "--workers", "2");
  try {
    await startProxy("--to", "127.0.0.1:9", "--workers", "2", "--listen", at);
    assert.unreachable();
  } catch (e) {
    assert.match((e as Error).message, `Listen on ${at} failed: the port is taken`);
  } finally {
    process.kill(child.pid!, "SIGTERM");
    assert.equal(await once(child, "close"), [0, null]);
  }
});

test("tulle proxy with a module that is none says why, in one line", async () => {
  await using dir = await tempDir("static");
  await writeFile(dir.join("bad.wasm"), "not a module");
  try {
    await startProxy("--to", "127.0.0.1:9", "--filter", dir.join("bad.wasm"));
    assert.unreachable();
  } catch (e) {
    assert.match((e as Error).message, /^the proxy did not start: tulle: filter "bad".*\n$/);
  }
});

test.run();
