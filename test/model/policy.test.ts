import { test } from "uvu";
import * as assert from "uvu/assert";
import { inCidr } from "../../src/model/policy.ts";
import { seeded } from "../support/random.ts";

test("an address is in the networks whose first bits it has", () => {
  const table: [ip: string, cidr: string, is: boolean][] = [
    ["10.1.2.3", "10.0.0.0/8", true],
    ["11.1.2.3", "10.0.0.0/8", false],
    ["10.1.2.3", "10.1.2.3", true],
    ["10.1.2.3", "10.1.2.2/31", true],
    ["10.1.2.3", "10.1.2.3/32", true],
    ["10.1.2.3", "0.0.0.0/0", true],
    ["255.255.255.255", "128.0.0.0/1", true],
    ["127.255.255.255", "128.0.0.0/1", false],
    ["10.1.2.3", "10.9.9.9/8", true],
    ["fd12::1", "fd00::/8", true],
    ["fe00::1", "fd00::/8", false],
    ["2001:db8::1", "2001:db8::1", true],
    ["2001:db8:0:0::1", "2001:DB8::/64", true],
    ["::ffff:10.0.0.1", "::ffff:10.0.0.0/104", true],
    ["2001:db8::1", "::/0", true],
    ["10.1.2.3", "::/0", false],
    ["::1", "0.0.0.0/0", false],
  ];
  for (const [ip, cidr, is] of table) assert.is(inCidr(ip, cidr), is, `${ip} in ${cidr}`);
});

test("what is no address or no network holds nothing", () => {
  for (
    const bad of [
      ...[
        "",
        "10.0.0",
        "10.0.0.0.0",
        "10.0.0.256",
        "1000.0.0.0",
        "10..0.0",
        " 10.0.0.0",
        "a.b.c.d",
      ],
      ...[":", "::1::", "fe80::1%eth0", "::1]/x[", "12345::"],
    ]
  ) {
    const all = bad.includes(":") ? "::/0" : "0.0.0.0/0";
    assert.not(inCidr(bad, all), bad);
    assert.not(inCidr(bad.includes(":") ? "::1" : "10.0.0.1", `${bad}/0`), bad);
  }
  for (const length of ["", "-1", "33", "8.5", " 8", "0x8", "8/8", "1e1", "+8"]) {
    assert.not(inCidr("10.0.0.1", `10.0.0.0/${length}`), `/${length}`);
  }
  assert.not(inCidr("::1", "::/129"));
});

test("every prefix length agrees with the bits written out", () => {
  const random = seeded(7);
  const bits = (ip: string) =>
    ip.split(".").map((part) => Number(part).toString(2).padStart(8, "0")).join("");
  const address = () => Array.from({ length: 4 }, () => Math.floor(random() * 256)).join(".");
  for (let i = 0; i < 5000; i++) {
    const a = address();
    const length = Math.floor(random() * 33);
    // Half of them share a beginning.
    const b = random() < 0.5 ? address() : a.replace(/\d+$/, String(Math.floor(random() * 256)));
    assert.is(
      inCidr(a, `${b}/${length}`),
      bits(a).slice(0, length) === bits(b).slice(0, length),
      `${a} in ${b}/${length}`,
    );
  }
});

test.run();
