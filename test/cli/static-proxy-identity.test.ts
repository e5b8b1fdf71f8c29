// Pairs of `tulle proxy` with mutual TLS between them: what is on the wire, and whom each end refuses.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { startRelay } from "../mesh/support/relay.ts";
import { clientHello, recordsOf, serverHello } from "../mesh/support/tls-records.ts";
import { freePort } from "../support/free-port.ts";
import { createTestCa, type TestCa } from "../support/test-ca.ts";
import {
  app,
  get,
  identity,
  metric,
  NAME,
  proxy,
  seen,
  useStaticProxies,
} from "./support/static-proxy.ts";

useStaticProxies(test);

test("a pair with identities speaks mutual TLS 1.3, and the application is told who asks", async () => {
  const ca = await createTestCa();
  const [server, client] = [NAME("catalogue"), NAME("web")];
  const inbound = await proxy(
    app.port,
    ...["--inbound", "--identity", await identity(ca, server), "--require-id", client],
  );
  const at = await freePort();
  const relay = await startRelay("127.0.0.1", at, inbound.port);
  try {
    const outbound = await proxy(
      at,
      ...["--identity", await identity(ca, client), "--require-id", server],
    );
    const secret = `secret-${crypto.randomUUID()}`;
    const headers = { "l5d-client-id": "forged" };
    const { status, body } = await get(
      outbound,
      { method: "PUT", headers, path: `/${secret}` },
      secret,
    );
    assert.is(status, 200);
    assert.is(body, `PUT ${secret}`);
    assert.is(seen[0]?.path, `/${secret}`);
    assert.is(seen[0]?.headers["l5d-client-id"], client);
    const [wire] = relay.recordings();
    assert.is(clientHello(recordsOf(wire!.toServer)).serverName, server);
    assert.is(serverHello(recordsOf(wire!.toClient)).version, 0x0304);
    for (const bytes of [wire!.toServer, wire!.toClient]) {
      assert.is(Buffer.from(bytes).indexOf(secret), -1);
    }
  } finally {
    await relay.close();
  }
});

test("a plain client of an inbound proxy with identity is served without a name", async () => {
  const ca = await createTestCa();
  const p = await proxy(
    app.port,
    ...["--inbound", "--identity", await identity(ca, NAME("web")), "--admin", "127.0.0.1:0"],
  );
  assert.is((await get(p, { headers: { "l5d-client-id": NAME("web") } })).status, 200);
  assert.is(seen[0]?.headers["l5d-client-id"], undefined);
  const plain = { direction: "inbound", tls: "no_identity", no_tls_reason: "no_tls_from_remote" };
  assert.is(await metric(p, "request_total", plain), 1);
});

for (const workers of ["1", "2"]) {
  test(`an inbound proxy of ${workers} that requires an identity refuses others and plain clients with 403`, async () => {
    const ca = await createTestCa();
    const inbound = await proxy(
      app.port,
      ...["--inbound", "--identity", await identity(ca, NAME("catalogue"))],
      ...["--require-id", NAME("web"), "--workers", workers],
    );
    const plain = await get(inbound);
    assert.is(plain.status, 403);
    assert.match(plain.headers["l5d-proxy-error"] ?? "", "127.0.0.1 without a mesh identity");
    const other = await proxy(
      inbound.port,
      "--identity",
      await identity(ca, NAME("load")),
      "--workers",
      workers,
    );
    assert.is((await get(other)).status, 403);
    const right = await proxy(
      inbound.port,
      "--identity",
      await identity(ca, NAME("web")),
      "--workers",
      workers,
    );
    assert.is((await get(right)).status, 200);
    assert.is(seen.length, 1);
  });
}

test("an outbound proxy refuses a server with another identity or another CA with 502", async () => {
  const ca = await createTestCa();
  const inbound = await proxy(
    app.port,
    ...["--inbound", "--identity", await identity(ca, NAME("catalogue"))],
  );
  const refused = async (of: TestCa, required: string): Promise<string> => {
    const p = await proxy(
      inbound.port,
      ...["--identity", await identity(of, NAME("web")), "--require-id", required],
    );
    const { status, headers } = await get(p);
    assert.is(status, 502);
    return headers["l5d-proxy-error"] ?? "";
  };
  assert.match(
    await refused(ca, NAME("vote")),
    `the server is ${NAME("catalogue")}, not ${NAME("vote")}`,
  );
  assert.match(
    await refused(await createTestCa("other"), NAME("catalogue")),
    "does not chain to the trust anchors",
  );
  assert.is(seen.length, 0);
});

test.run();
