// Authorities as clients write them.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { resolveAuthority } from "../../../src/proxy/discovery/names.ts";

const scope = { namespace: "shop", clusterDomain: "cluster.local" };
const key = (authority: string, in_ = scope as Parameters<typeof resolveAuthority>[1]) => {
  const target = resolveAuthority(authority, in_);
  return target.kind === "outside" ? `outside: ${target.why}` : `${target.kind} ${target.key}`;
};

test("resolveAuthority() completes short names and the port", () => {
  const full = "name web.shop.svc.cluster.local:80";
  for (
    const authority of [
      "web",
      "web:80",
      "web.shop",
      "web.shop:80",
      "web.shop.svc",
      "web.shop.svc.cluster.local",
      "web.shop.svc.cluster.local.",
      "WEB.Shop.SVC.cluster.LOCAL:80",
    ]
  ) {
    assert.is(key(authority), full, authority);
  }
  assert.is(key("web.books:8080"), "name web.books.svc.cluster.local:8080");
  assert.is(key("web-0.web.shop.svc.cluster.local:1"), "name web-0.web.shop.svc.cluster.local:1");
  assert.is(key("web", { namespace: "a", clusterDomain: "x.org" }), "name web.a.svc.x.org:80");
});

test("resolveAuthority() takes addresses as they are", () => {
  assert.is(key("10.0.0.1"), "addr 10.0.0.1:80");
  assert.is(key("[fd00::1]:8080"), "addr [fd00::1]:8080");
  assert.is(key("[::ffff:10.0.0.1]:8080"), "addr 10.0.0.1:8080");
});

test("resolveAuthority() says why a name is outside the mesh", () => {
  const cases: [string, RegExp][] = [
    ["www.example.com", /outside the mesh: only services below svc\.cluster\.local/],
    ["web.svc.cluster.local", /outside the mesh/],
    ["svc.cluster.local", /outside the mesh/],
    ["a.b.c.d", /outside the mesh/],
    ["web.shop.svc.other.domain", /outside the mesh/],
    ["web:99999", /not HOST or HOST:PORT/],
    ["web:", /not HOST or HOST:PORT/],
    ["web:0", /port 0/],
    ["we b", /not a host name/],
    ["web..shop", /not a host name/],
    ["", /not HOST/],
    ["x".repeat(300), /too long/],
  ];
  for (const [authority, why] of cases) assert.match(key(authority), why, authority);
  assert.match(
    key("web", { namespace: null, clusterDomain: "cluster.local" }),
    /write web\.NAMESPACE/,
  );
});

test("resolveAuthority() never lets control characters through", () => {
  for (const authority of ["web\r\nx: y", "web\0", "web/../x", "user@web", "web?x", "[web]:80"]) {
    assert.match(key(authority), /^outside/, JSON.stringify(authority));
    assert.not.match(key(authority), /[\r\n\0]/);
  }
});

test.run();
