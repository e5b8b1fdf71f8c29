// A client in another process that sends much at once: no byte is lost between who looks at the first
// ones and who serves the connection, with and without mesh TLS on the listener, and after a greeting.

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Chan, Core, Peer } from "../../src/core/driver.ts";
import { MeshTls } from "../../src/runtime/mesh-tls.ts";
import { NetDriver } from "../../src/runtime/net-driver.ts";
import { listen } from "../../src/runtime/net-listener.ts";
import { echo, material } from "../support/driver-fixture.ts";
import { createTestCa } from "../support/test-ca.ts";

const COUNT = 30;
/** Sends two megabytes on each of so many connections, one by one, and counts the echoes that are right. */
const CLIENT = `
import net from "node:net";
import process from "node:process";
const data = Buffer.from(Uint8Array.from({ length: 2_000_000 }, (_, i) => i * 7 + (i >> 8)));
let right = 0;
for (let i = 0; i < ${COUNT}; i++) {
  const socket = net.connect(PORT, "127.0.0.1");
  const got = [];
  socket.on("data", (bytes) => got.push(bytes));
  socket.on("error", () => {});
  if (GREETED) await new Promise((resolve) => socket.once("data", resolve));
  socket.end(data);
  await new Promise((resolve) => socket.once("close", resolve));
  if (Buffer.concat(got).subarray(GREETED ? 5 : 0).equals(data)) right++;
}
process.stdout.write(String(right));
`;

/** Says hello to who is silent, then echoes. */
function greeter(driver: NetDriver): (ch: Chan, peer: Peer) => Core {
  const accept = echo(driver, []);
  return (ch, peer) => ({
    ...accept(ch, peer),
    opened: () => void driver.send(ch, new TextEncoder().encode("hello"), 0, 5),
  });
}

for (const how of ["with mesh TLS", "without mesh TLS", "with mesh TLS that greets"] as const) {
  test(`much at once is echoed whole by a listener ${how}`, async () => {
    const withTls = how !== "without mesh TLS";
    const greets = how === "with mesh TLS that greets";
    const mesh = new MeshTls();
    mesh.update(await material(await createTestCa(), "server.test"));
    const driver = new NetDriver(mesh);
    const defects: unknown[] = [];
    driver.onDefect = (e) => defects.push(e);
    const listener = await listen(driver, {
      at: { ip: "127.0.0.1", port: 0 },
      mesh: withTls ? mesh : null,
      anyName: false,
      detectMs: 60_000,
      accept: echo(driver, []),
      ...(greets ? { acceptSilent: greeter(driver) } : {}),
      refused: () => {},
    });
    const code = CLIENT.replace("PORT", String(listener.addr.port))
      .replaceAll("GREETED", String(greets));
    const args = process.versions.deno === undefined
      ? ["--input-type=module", "-e", code]
      : ["eval", `import { Buffer } from "node:buffer";${code}`];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout.on("data", (bytes: Uint8Array) => said += new TextDecoder().decode(bytes));
    await once(child, "close");
    assert.is(said, String(COUNT));
    assert.equal(defects, []);
    driver.destroy();
    await listener.close();
  });
}

test.run();
