// Which attempts tell `l5d-dst-canonical`.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { type HeaderEdit, headerName, RequestHead } from "../../../src/core/head.ts";
import { canonicalEdit, tellCanonical } from "../../../src/proxy/http/canonical.ts";
import { A, B, endpoint, outboundFixture, snapshot } from "../../support/outbound-fixture.ts";

const WEB = "web.shop.svc.cluster.local:8080";
const MESHED = { identity: { name: "web.shop", serverName: "web.shop" } };
const GET = "GET /a HTTP/1.1\r\nhost: web\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

function said(endpointOf: typeof MESHED | null, canonical: string | null, more = ""): string {
  const f = outboundFixture({
    ...snapshot({ exists: true, endpoints: [endpoint(A, endpointOf ?? {})] }),
    canonical,
  });
  const client = f.client();
  f.driver.feed(client, `${GET}${more}\r\n`);
  const app = f.driver.connects[0];
  if (app === undefined) throw new Error("nobody was connected to");
  f.driver.open(app);
  const text = app.take();
  f.driver.feed(app, OK);
  assert.match(client.take(), /^HTTP\/1\.1 200/);
  // The next request on the connection says it as well, once.
  f.driver.feed(client, `${GET}${more}\r\n`);
  assert.is(app.take(), text);
  f.targets.release();
  return text;
}

test("a meshed endpoint is told which service a request is for, where a ServiceProfile decides", () => {
  assert.is(said(MESHED, WEB), `${GET}l5d-dst-canonical: ${WEB}\r\n\r\n`);
  assert.is(said(MESHED, null), `${GET}\r\n`);
});

test("an endpoint that is not meshed is not told", () => {
  assert.is(said(null, WEB), `${GET}\r\n`);
});

test("what an application says is dropped", () => {
  const own = "l5d-dst-canonical: other.shop.svc.cluster.local:80\r\n";
  assert.is(said(MESHED, WEB, own), `${GET}l5d-dst-canonical: ${WEB}\r\n\r\n`);
  assert.is(said(null, WEB, own), `${GET}\r\n`);
  assert.is(said(MESHED, null, own), `${GET}\r\n`);
});

test("a profile that comes or goes counts from the next request on", () => {
  const plain = snapshot({ exists: true, endpoints: [endpoint(A, MESHED)] });
  const f = outboundFixture(plain);
  const client = f.client();
  let isOpen = false;
  const ask = (): string => {
    f.driver.feed(client, `${GET}\r\n`);
    const app = f.driver.connects.at(-1);
    if (app === undefined) throw new Error("nobody was connected to");
    if (!isOpen) f.driver.open(app);
    isOpen = true;
    const text = app.take();
    f.driver.feed(app, OK);
    client.take();
    return text;
  };
  assert.not.match(ask(), /canonical/);
  f.discovery.set({ ...plain, canonical: WEB });
  assert.is(ask(), `${GET}l5d-dst-canonical: ${WEB}\r\n\r\n`);
  f.discovery.set({ ...plain, canonical: null });
  assert.not.match(ask(), /canonical/);
  f.targets.release();
});

test("a retry says what is right of its own endpoint, and other edits stay", () => {
  const head = new RequestHead();
  const edits = (): readonly string[] =>
    head.edits.map((e: HeaderEdit) => `${e.name.text}=${e.value}`);
  head.set(headerName("x-a"), "1");
  tellCanonical(head, canonicalEdit(WEB));
  tellCanonical(head, canonicalEdit(WEB));
  assert.equal(edits(), ["x-a=1", `l5d-dst-canonical=${WEB}`]);
  tellCanonical(head, null);
  assert.equal(edits(), ["x-a=1"]);
  tellCanonical(head, canonicalEdit("b:1"));
  assert.equal(edits(), ["x-a=1", "l5d-dst-canonical=b:1"]);
});

test("a request that moves from a meshed endpoint that cannot be reached to a plain one tells that one nothing", () => {
  const two = [endpoint(A, MESHED), endpoint(B)];
  for (let i = 0; i < 20; i++) {
    const f = outboundFixture({
      ...snapshot({ exists: true, endpoints: two }),
      canonical: WEB,
    });
    for (let k = 0; k <= i; k++) f.driver.feed(f.client(), `${GET}\r\n`);
    const first = f.driver.connects.find((p) => p.to?.addr.ip === A.ip);
    if (first === undefined) continue;
    const others = f.driver.connects.length - 1;
    f.driver.fail(first, { kind: "connect", message: "ECONNREFUSED" });
    const plain = f.driver.connects.filter((p) => p.to?.addr.ip === B.ip);
    assert.is(plain.length, others + 1);
    for (const p of plain) {
      f.driver.open(p);
      assert.is(p.take(), `${GET}\r\n`);
    }
    f.targets.release();
    return;
  }
  assert.unreachable("the meshed endpoint was never picked");
});

test.run();
