// Names outside the mesh: DNS says where, the control plane what may be done there.

import { Code } from "@connectrpc/connect";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { OutboundSnapshot, Watched } from "../../../src/proxy/discovery/discovery.ts";
import { settle } from "../../support/fake-clock.ts";
import { setUp } from "./mesh-fixture.ts";

type Answer = { ips: readonly string[]; ttlMs: number | null } | Error;

function withDns(first: Answer) {
  const asked: string[] = [];
  const dns = { answer: first, asked };
  const s = setUp({
    resolve: (host) => {
      asked.push(host);
      return dns.answer instanceof Error ? Promise.reject(dns.answer) : Promise.resolve(dns.answer);
    },
  });
  return { ...s, dns };
}

/** The control plane knows nothing of the address. */
async function unknown(s: ReturnType<typeof withDns>, addr: string): Promise<void> {
  s.control.outbound.at(addr).fail(Code.NotFound);
  await settle();
}

const ips = (watched: Watched<OutboundSnapshot>) =>
  watched.value?.endpoints?.endpoints.map(({ addr }) => addr.ip);

test("a name outside the mesh leads to its address, which the control plane is asked about", async () => {
  const s = withDns({ ips: ["192.0.2.7", "192.0.2.8"], ttlMs: 60_000 });
  const watched = s.mesh.outbound({ authority: "www.example.com:8080" });
  await settle();
  assert.equal(s.dns.asked, ["www.example.com"]);
  assert.is(watched.value, null, "nothing before the control plane has answered");
  await unknown(s, "192.0.2.7:8080");
  assert.equal(ips(watched), ["192.0.2.7"]);
  assert.is(watched.value?.authority, "www.example.com:8080");
  assert.is(watched.value?.exists, true);
  watched.release();
  await s.done();
});

test("an address that is still one stays, another takes its place when it is gone", async () => {
  const s = withDns({ ips: ["192.0.2.7"], ttlMs: 10_000 });
  const watched = s.mesh.outbound({ authority: "www.example.com" });
  await settle();
  await unknown(s, "192.0.2.7:80");
  s.dns.answer = { ips: ["192.0.2.9", "192.0.2.7"], ttlMs: 10_000 };
  s.clock.advance(10_000);
  await settle();
  assert.equal(ips(watched), ["192.0.2.7"]);
  s.dns.answer = { ips: ["192.0.2.9"], ttlMs: 10_000 };
  s.clock.advance(10_000);
  await settle();
  await unknown(s, "192.0.2.9:80");
  assert.equal(ips(watched), ["192.0.2.9"]);
  s.dns.answer = new Error("name server away");
  s.clock.advance(10_000);
  await settle();
  assert.equal(ips(watched), ["192.0.2.9"], "the last address stays");
  watched.release();
  await s.done();
});

test("a name without an address does not exist, and is asked for again", async () => {
  const s = withDns(new Error("ENOTFOUND"));
  const watched = s.mesh.outbound({ authority: "no.such.example" });
  await settle();
  assert.is(watched.value?.exists, false);
  assert.match(watched.why, /outside the mesh and cannot be resolved: ENOTFOUND/);
  s.dns.answer = { ips: ["192.0.2.7"], ttlMs: null };
  s.clock.advance(2_000);
  await settle();
  await unknown(s, "192.0.2.7:80");
  assert.equal(ips(watched), ["192.0.2.7"]);
  watched.release();
  await s.done();
});

test("a name that leads to this machine, or to its cloud's secrets, leads nowhere", async () => {
  for (
    const ip of ["127.0.0.1", "0.0.0.0", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1"]
  ) {
    const s = withDns({ ips: [ip], ttlMs: null });
    const watched = s.mesh.outbound({ authority: "rebound.evil.example" });
    await settle();
    assert.is(watched.value?.exists, false, ip);
    assert.match(watched.why, /no address outside of this machine/);
    watched.release();
    await s.done();
  }
});

test("DNS is asked only for what cannot be the cluster's", async () => {
  const s = withDns({ ips: ["192.0.2.7"], ttlMs: null });
  for (const authority of ["svc.cluster.local", "a b", "web:0", "x.cluster.local", "10.0.0.1:80"]) {
    s.mesh.outbound({ authority }).release();
  }
  await settle();
  assert.equal(s.dns.asked, []);
  s.mesh.outbound({ authority: "example.com." }).release();
  await settle();
  assert.equal(s.dns.asked, ["example.com"]);
  await s.done();
});

test.run();
