// The runtime's own resolver against a name server of ours on loopback, and the names that only the
// system knows.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { createControlDns } from "../../src/runtime/control-dns.ts";
import { serveDns } from "./dns-server.ts";

test("createControlDns() reads SRV and A records, with their time, from a real name server", async () => {
  const server = await serveDns();
  const dns = createControlDns([server.at]);
  server.zone.set("dst.linkerd.test", {
    srv: [{ target: "127-0-0-2.dst.linkerd.test", port: 8086 }],
    a: ["127.0.0.3", "127.0.0.4"],
    ttlSeconds: 7,
  });
  const [srv] = await dns.srv("dst.linkerd.test.");
  assert.is(srv?.name, "127-0-0-2.dst.linkerd.test");
  assert.is(srv?.port, 8086);
  const { ips, ttlMs } = await dns.addresses("dst.linkerd.test.");
  assert.equal([...ips].sort(), ["127.0.0.3", "127.0.0.4"]);
  assert.is(ttlMs, 7000);
  assert.ok(server.asked.includes("SRV dst.linkerd.test"));
  assert.ok(server.asked.includes("A dst.linkerd.test"));
  assert.ok(server.asked.includes("AAAA dst.linkerd.test"));

  server.zone.set("plain.test", { a: ["127.0.0.3"], ttlSeconds: 1 });
  let isFound = true;
  await dns.srv("plain.test.").catch(() => isFound = false);
  assert.not.ok(isFound, "a name without SRV records has none");
  await server.close();
});

test("createControlDns() finds a name of the hosts file where DNS knows nothing", async () => {
  const server = await serveDns();
  const dns = createControlDns([server.at]);
  const { ips } = await dns.addresses("localhost"); // Deno's resolver reads that file itself
  assert.ok(ips.includes("127.0.0.1") || ips.includes("::1"), ips.join());
  await server.close();
});

test.run();
