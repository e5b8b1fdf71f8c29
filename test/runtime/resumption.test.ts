// The attack of ADR 6: a TLS session that was got from a lax server of the process opens a strict one.
// The attacker is OpenSSL's own client, since Deno's does not resume sessions.

import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import net from "node:net";
import tls from "node:tls";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fixture, material } from "../support/driver-fixture.ts";
import { testUnless } from "../support/skip.ts";
import { tempDir } from "../support/temp-dir.ts";
import { createTestCa } from "../support/test-ca.ts";

/** Runs `openssl s_client`, sends one line, and resolves with what it printed. */
function client(port: number, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${port}`, "-servername", "server.test", "-tls1_3"],
      ...args,
    ]);
    let out = "";
    child.stdout.on("data", (d: Uint8Array) => out += new TextDecoder().decode(d));
    child.stderr.on("data", (d: Uint8Array) => out += new TextDecoder().decode(d));
    child.once("error", reject);
    child.once("close", () => resolve(out));
    child.stdin.on("error", () => {});
    child.stdin.write("ping\n");
    setTimeout(() => child.stdin.end(), 400);
    setTimeout(() => child.kill("SIGKILL"), 3000).unref();
  });
}

async function hasOpenssl(): Promise<string | null> {
  return await new Promise((resolve) => {
    const child = spawn("openssl", ["version"], { stdio: "ignore" });
    child.once("error", () => resolve("openssl is not installed"));
    child.once("close", (code) => resolve(code === 0 ? null : "openssl does not run"));
  });
}

testUnless(
  await hasOpenssl(),
  test,
  "a ticket of a lax server of the process does not open the mesh server",
  async () => {
    const f = await fixture(true);
    await using dir = await tempDir("resumption");
    const forged = await material(await createTestCa("attacker"), "admin.test");
    await writeFile(dir.join("key.pem"), forged.keyPem);
    await writeFile(dir.join("cert.pem"), forged.certPem);
    const own = await material(f.ca, "server.test");
    const lax = tls.createServer({
      key: own.keyPem,
      cert: own.certPem,
      requestCert: true,
      rejectUnauthorized: false,
    }, (socket) => {
      socket.on("error", () => {});
      socket.write("hello\n");
    });
    await new Promise<void>((resolve) => lax.listen(0, "127.0.0.1", resolve));
    const { port } = lax.address() as net.AddressInfo;
    const identity = ["-key", dir.join("key.pem"), "-cert", dir.join("cert.pem")];
    const session = dir.join("session");
    const first = await client(port, [...identity, "-sess_out", session]);
    assert.match(first, /hello/);
    const second = await client(f.listener.addr.port, [...identity, "-sess_in", session]);
    assert.is(f.peers.length, 0, "the forged client got in");
    assert.not.match(second, /\bping\b\s*$/m, "the mesh server answered");
    assert.match(f.refused.join(), /resumed|does not chain/);
    lax.close();
    await f.close();
  },
);

test.run();
