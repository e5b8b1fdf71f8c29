import { test } from "uvu";
import * as assert from "uvu/assert";
import { createPrivateKey } from "node:crypto";
import { createLogger } from "../../../src/core/log.ts";
import { Counters } from "../../../src/control/counters.ts";
import { openMountedIssuer } from "../../../src/control/identity/mounted-issuer.ts";
import { x509 } from "../../../src/control/identity/x509.ts";
import { createClusterCa, newKeys } from "../../kubernetes/certificates.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { MemoryFiles } from "../support/memory-files.ts";

function setUp(files: Record<string, string>) {
  const memory = new MemoryFiles();
  for (const [path, text] of Object.entries(files)) memory.write(path, text);
  const clock = new FakeClock(Date.now());
  const counters = new Counters();
  const lines: string[] = [];
  let told = 0;
  const options = {
    dir: "/mesh/issuer",
    anchors: "/mesh/roots/ca-bundle.crt",
    files: memory,
    clock,
    counters,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: () => 0,
      write: (l) => lines.push(l),
    }),
    onChange: () => told++,
  };
  /** Lets time pass, and the reading that it causes, until this holds. */
  const pass = async (holds: () => boolean, what: string) => {
    for (let i = 0; !holds(); i++) {
      assert.ok(i < 1500, what);
      clock.advance(10_100);
      // Web cryptography works in threads of its own.
      await new Promise((go) => setTimeout(go, 20));
    }
  };
  return { memory, clock, counters, lines, options, pass, told: () => told };
}

const why = (of: Promise<unknown>) => of.then(() => "it opened", (e: Error) => e.message);

test("both schemes of the Secret are read, with keys as OpenSSL and as PKCS#8 write them", async () => {
  const roots = await createClusterCa("root");
  const issuer = await roots.issuer("issuer");
  const sec1 = createPrivateKey(issuer.key).export({ type: "sec1", format: "pem" }).toString();
  assert.match(sec1, /BEGIN EC PRIVATE KEY/);
  for (
    const [crt, key, text] of [["crt.pem", "key.pem", sec1], ["tls.crt", "tls.key", issuer.key]]
  ) {
    const t = setUp({
      [`issuer/${crt}`]: issuer.cert,
      [`issuer/${key}`]: text ?? "",
      "roots/ca-bundle.crt": roots.cert,
    });
    const mounted = await openMountedIssuer(t.options);
    assert.is(mounted.current.anchors[0]?.name, "root");
    const { publicKey } = await newKeys();
    const issued = await mounted.current.issue(
      "web.shop",
      new x509.PublicKey(await crypto.subtle.exportKey("spki", publicKey)),
      t.clock.wall(),
    );
    const leaf = new x509.X509Certificate(Uint8Array.from(issued.leaf));
    assert.ok(
      await leaf.verify({
        publicKey: new x509.X509Certificate(issuer.cert).publicKey,
        signatureOnly: true,
      }),
    );
    assert.is(issued.chain.length, 1);
    mounted.close();
    assert.is(t.clock.pending, 0);
    assert.equal(t.memory.watched, []);
  }
});

test("a new issuer and new anchors count at once; what cannot be used is said once and leaves the last", async () => {
  const roots = await createClusterCa("root");
  const others = await createClusterCa("other");
  const [a, b] = [await roots.issuer("a"), await others.issuer("b")];
  const t = setUp({
    "issuer/crt.pem": a.cert,
    "issuer/key.pem": a.key,
    "roots/ca-bundle.crt": roots.cert,
  });
  const mounted = await openMountedIssuer(t.options);
  // The issuer of another root, before its anchor is there: not yet.
  t.memory.write("issuer/crt.pem", b.cert);
  t.memory.write("issuer/key.pem", b.key);
  await t.pass(() => t.lines.some((l) => /not signed/.test(l)), "it is said");
  assert.equal(mounted.current.anchors.map((c) => c.name), ["root"]);
  assert.is(t.counters.refusals["issuer"], 1);
  assert.match(
    t.lines.join("\n"),
    /not signed by a trust anchor of .*ca-bundle\.crt that is in force; the issuer before/,
  );
  t.memory.write("roots/ca-bundle.crt", roots.cert + others.cert);
  await t.pass(() => t.told() === 1, "the new issuer counts");
  assert.equal(mounted.current.anchors.map((c) => c.name), ["root", "other"]);
  assert.is(t.told(), 1);
  t.memory.remove("issuer/key.pem");
  await t.pass(() => t.counters.refusals["issuer"] === 2, "the missing key is said");
  assert.equal(mounted.current.anchors.length, 2);
  assert.not.match(t.lines.join("\n"), /PRIVATE|BEGIN/);
  mounted.close();
});

test("what cannot be used at the start is one line", async () => {
  const roots = await createClusterCa("root");
  const issuer = await roots.issuer("issuer");
  const user = await roots.user("leaf", []);
  const other = await createClusterCa("root");
  const good = {
    "issuer/crt.pem": issuer.cert,
    "issuer/key.pem": issuer.key,
    "roots/ca-bundle.crt": roots.cert,
  };
  for (
    const [change, expected] of [
      [
        { "roots/ca-bundle.crt": "nothing" },
        /ca-bundle\.crt cannot be read: it has no certificate/,
      ],
      [{ "roots/ca-bundle.crt": other.cert }, /The issuer is not signed by a trust anchor/],
      [{ "issuer/key.pem": user.key }, /key\.pem does not belong to its crt\.pem/],
      [{ "issuer/key.pem": "s3cret" }, /key\.pem cannot be read: it is not a P-256 key in PEM/],
      [{ "issuer/crt.pem": user.cert, "issuer/key.pem": user.key }, /is not one of a CA/],
      [{ "issuer/crt.pem": issuer.cert + other.cert }, /chain is not in order/],
    ] as const
  ) {
    const t = setUp({ ...good, ...change });
    const message = await why(openMountedIssuer(t.options));
    assert.match(message, expected);
    assert.not.match(message, /s3cret|\n|PRIVATE/);
    assert.is(t.clock.pending, 0);
  }
  const { "issuer/key.pem": _, ...half } = good;
  const t = setUp(half);
  assert.match(
    await why(openMountedIssuer(t.options)),
    /The issuer cannot be read: .*key\.pem.*no tls\.crt/,
  );
});

test.run();
