import { test } from "uvu";
import * as assert from "uvu/assert";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Identity } from "../../../src/api/gen/identity_pb.ts";
import {
  generateTokenKey,
  importTokenKey,
  issueToken,
  TOKEN_KEY_FILE,
  type TokenKey,
} from "../../../src/api/service-account-token.ts";
import { createLogger } from "../../../src/core/log.ts";
import { Counters } from "../../../src/control/counters.ts";
import { CA_CERTIFICATE_FILE, openAuthority } from "../../../src/control/identity/authority.ts";
import { identityService } from "../../../src/control/identity/identity-service.ts";
import { openFolderReviewer } from "../../../src/control/identity/token-reviewer.ts";
import { x509 } from "../../../src/control/identity/x509.ts";
import { DEFAULT_OPTIONS } from "../../../src/control/options.ts";
import { memoryStateDir, type StateDir } from "../../../src/control/state-dir.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const WEB = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const DAY_MS = 86_400_000;
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGN = { name: "ECDSA", hash: "SHA-256" } as const;

async function setUp(state: StateDir = memoryStateDir(), clock = new FakeClock()) {
  const authority = await openAuthority({
    state,
    name: "identity.linkerd.cluster.local",
    nowMs: clock.wall(),
  });
  const tokens = await openFolderReviewer(state, clock);
  const counters = new Counters();
  const lines: string[] = [];
  const service = identityService({
    authority: () => authority,
    tokens: () => tokens,
    options: DEFAULT_OPTIONS,
    clock,
    counters,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: clock.wall.bind(clock),
      write: (l) => lines.push(l),
    }),
    onChange: () => {},
  });
  const transport = createRouterTransport((r) => void r.service(Identity, service.implementation));
  const client = createClient(Identity, transport);
  const key = await importTokenKey(
    new TextDecoder().decode(await state.read(TOKEN_KEY_FILE) ?? new Uint8Array()),
  );
  const token = (
    serviceAccount = "web",
    more: { key?: TokenKey; audience?: string; lifetimeMs?: number } = {},
  ) =>
    issueToken(more.key ?? key, {
      namespace: "shop",
      serviceAccount,
      nowMs: clock.wall(),
      lifetimeMs: more.lifetimeMs ?? DAY_MS,
      ...more.audience === undefined ? {} : { audience: more.audience },
    });
  const certify = (identity: string, jws: string | Uint8Array, csr: Uint8Array) =>
    client.certify({
      identity,
      token: typeof jws === "string" ? new TextEncoder().encode(jws) : jws,
      certificateSigningRequest: csr,
    });
  const refusal = async (...call: Parameters<typeof certify>): Promise<[Code, string]> => {
    try {
      await certify(...call);
    } catch (e) {
      const error = ConnectError.from(e);
      assert.not(error.rawMessage.includes("\n"));
      return [error.code, error.rawMessage];
    }
    return assert.unreachable("a certificate was issued") as never;
  };
  return { authority, clock, counters, lines, service, token, certify, refusal };
}

type Name = { type: "dns" | "ip" | "email" | "url"; value: string };

async function csrOf(
  names: Name[],
  { subject = "", keys }: { subject?: string; keys?: CryptoKeyPair } = {},
): Promise<Uint8Array> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys: keys ?? await crypto.subtle.generateKey(P256, true, ["sign", "verify"]),
    signingAlgorithm: SIGN,
    extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)],
  });
  return new Uint8Array(request.rawData);
}
const dns = (value: string): Name => ({ type: "dns", value });

test("Certify issues a leaf of 24 hours for the key of the request and nothing else", async () => {
  const { authority, clock, certify, token, service, counters, lines } = await setUp();
  const keys = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const csr = await csrOf([dns(WEB)], { subject: `CN=${WEB}`, keys });
  const jws = await token();
  const response = await certify(WEB, jws, csr);
  const leaf = new x509.X509Certificate(Uint8Array.from(response.leafCertificate));
  const ca = new x509.X509Certificate(authority.anchorsPem);

  assert.ok(await leaf.verify({ publicKey: ca, date: new Date(clock.wall()) }));
  assert.equal(
    leaf.getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON(),
    [{ type: "dns", value: WEB }],
  );
  assert.equal(
    new Uint8Array(leaf.publicKey.rawData),
    new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey)),
  );
  assert.not(leaf.getExtension(x509.BasicConstraintsExtension)?.ca);
  assert.equal([...leaf.getExtension(x509.ExtendedKeyUsageExtension)?.usages ?? []], [
    x509.ExtendedKeyUsage.serverAuth,
    x509.ExtendedKeyUsage.clientAuth,
  ]);
  assert.is(
    leaf.getExtension(x509.KeyUsagesExtension)?.usages,
    x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
  );
  assert.is(leaf.notBefore.getTime(), clock.wall() - 20_000);
  assert.is(leaf.notAfter.getTime(), clock.wall() + DAY_MS + 20_000);
  assert.is(response.validUntil && timestampMs(response.validUntil), leaf.notAfter.getTime());
  assert.is(response.intermediateCertificates.length, 1);
  assert.equal(response.intermediateCertificates[0], new Uint8Array(ca.rawData));
  assert.is(service.issued.get(WEB)?.serial, leaf.serialNumber);
  assert.is(counters.certificatesIssued, 1);
  for (const line of lines) assert.not(line.includes(jws.slice(-40)), "no token in the log");
});

test("Certify takes a request with an empty subject, and the same request again", async () => {
  const { certify, token } = await setUp();
  const csr = await csrOf([dns(WEB)]);
  const a = await certify(WEB, await token(), csr);
  const b = await certify(WEB, await token(), csr);
  assert.not.equal(a.leafCertificate, b.leafCertificate);
});

test("Certify refuses tokens that are expired, for others, forged, or of another account", async () => {
  const { certify, clock, refusal, token, counters } = await setUp();
  const csr = await csrOf([dns(WEB)]);
  const short = await token("web", { lifetimeMs: 60_000 });
  await certify(WEB, short, csr);
  clock.advance(120_000);
  assert.equal(await refusal(WEB, short, csr), [Code.InvalidArgument, "the token is expired"]);
  assert.equal(await refusal(WEB, await token("web", { audience: "vault" }), csr), [
    Code.InvalidArgument,
    "the token is not for the audience identity.l5d.io",
  ]);
  const forged = await token("web", { key: await importTokenKey(await generateTokenKey()) });
  assert.equal((await refusal(WEB, forged, csr))[0], Code.InvalidArgument);
  const other = await refusal(WEB, await token("vote"), csr);
  assert.is(other[0], Code.FailedPrecondition);
  assert.match(other[1], /the token is of vote\.shop\./);
  assert.is(counters.refusals["certificate"], 4);
});

test("Certify refuses requests that ask for another name or for more names", async () => {
  const { refusal, token } = await setUp();
  const jws = await token();
  const other = WEB.replace("web", "admin");
  const cases: [Code, RegExp, Uint8Array][] = [
    [Code.FailedPrecondition, /not the identity/, await csrOf([dns(other)])],
    [Code.FailedPrecondition, /2 alternative names/, await csrOf([dns(WEB), dns(other)])],
    [Code.FailedPrecondition, /2 alternative names/, await csrOf([dns(WEB), dns(WEB)])],
    [Code.FailedPrecondition, /0 alternative names/, await csrOf([])],
    [
      Code.FailedPrecondition,
      /2 alternative names/,
      await csrOf([dns(WEB), { type: "ip", value: "10.0.0.1" }]),
    ],
    [
      Code.FailedPrecondition,
      /2 alternative names/,
      await csrOf([dns(WEB), { type: "email", value: "a@b.c" }]),
    ],
    [
      Code.FailedPrecondition,
      /not the identity/,
      await csrOf([{ type: "url", value: `spiffe://${WEB}/x` }]),
    ],
    [Code.FailedPrecondition, /common name/, await csrOf([dns(WEB)], { subject: `CN=${other}` })],
    [
      Code.FailedPrecondition,
      /common name/,
      await csrOf([dns(WEB)], { subject: `CN=${WEB}, CN=${other}` }),
    ],
  ];
  for (const [code, why, csr] of cases) {
    const [gotCode, gotWhy] = await refusal(WEB, jws, csr);
    assert.is(gotCode, code, gotWhy);
    assert.match(gotWhy, why);
  }
});

test("Certify refuses requests that are broken, not signed by their key, or of another kind of key", async () => {
  const { refusal, token } = await setUp();
  const jws = await token();
  const good = await csrOf([dns(WEB)]);
  const spoiled = good.slice();
  spoiled[spoiled.length - 3] = (spoiled[spoiled.length - 3] ?? 0) ^ 1;
  const p384 = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, [
    "sign",
    "verify",
  ]);
  const cases: [Code, Uint8Array][] = [
    [Code.InvalidArgument, spoiled],
    [Code.InvalidArgument, good.subarray(0, 50)],
    [Code.InvalidArgument, new TextEncoder().encode("-----BEGIN CERTIFICATE REQUEST-----")],
    [Code.InvalidArgument, new Uint8Array(20_000)],
    [Code.FailedPrecondition, await csrOf([dns(WEB)], { keys: p384 })],
  ];
  for (const [i, [code, csr]] of cases.entries()) {
    const [got, why] = await refusal(WEB, jws, csr);
    assert.is(got, code, `${i}: ${why}`);
  }
  for (
    const [identity, t, csr] of [
      ["", jws, good],
      [WEB, "", good],
      [WEB, jws, new Uint8Array()],
      ["not a name", jws, good],
      [WEB, "x".repeat(20_000), good],
      [WEB, new Uint8Array([0xff, 0xfe]), good],
    ] as const
  ) assert.is((await refusal(identity, t, csr))[0], Code.InvalidArgument);
});

test("Certify is unavailable until the issuer is ready", async () => {
  const service = identityService({
    authority: () => null,
    tokens: () => null,
    options: DEFAULT_OPTIONS,
    clock: new FakeClock(),
    counters: new Counters(),
    log: createLogger({ level: "off", format: "plain", wall: () => 0, write: () => {} }),
    onChange: () => {},
  });
  const transport = createRouterTransport((r) => void r.service(Identity, service.implementation));
  try {
    await createClient(Identity, transport).certify({
      identity: WEB,
      token: new Uint8Array([1]),
      certificateSigningRequest: await csrOf([dns(WEB)]),
    });
    assert.unreachable();
  } catch (e) {
    assert.is(ConnectError.from(e).code, Code.Unavailable);
  }
});

test("the CA is made once, kept, and refused when it cannot be used", async () => {
  const state = memoryStateDir();
  const clock = new FakeClock();
  const first = await setUp(state, clock);
  const again = await setUp(state, clock);
  assert.is(again.authority.anchorsPem, first.authority.anchorsPem);
  const csr = await csrOf([dns(WEB)]);
  const { leafCertificate } = await again.certify(WEB, await first.token(), csr);
  const leaf = new x509.X509Certificate(Uint8Array.from(leafCertificate));
  const ca = new x509.X509Certificate(first.authority.anchorsPem);
  assert.ok(await leaf.verify({ publicKey: ca, date: new Date(clock.wall()) }));
  assert.is(ca.subject, "CN=identity.linkerd.cluster.local");
  assert.ok(ca.getExtension(x509.BasicConstraintsExtension)?.ca);

  const open = (dir: StateDir, nowMs = clock.wall()) =>
    openAuthority({ state: dir, name: "x", nowMs }).then(() => "opened", (e) => String(e.message));
  assert.match(await open(state, clock.wall() + 400 * DAY_MS), /expired/);
  const other = memoryStateDir();
  await setUp(other, clock);
  await other.write(CA_CERTIFICATE_FILE, await state.read(CA_CERTIFICATE_FILE) ?? new Uint8Array());
  assert.match(await open(other), /does not belong/);
  await other.remove(CA_CERTIFICATE_FILE);
  assert.match(await open(other), /lacks its ca\.crt/);
  await other.write(CA_CERTIFICATE_FILE, new TextEncoder().encode("nonsense"));
  assert.match(await open(other), /ca\.crt cannot be read/);
});

test("a leaf does not outlive the CA", async () => {
  const state = memoryStateDir();
  await setUp(state, new FakeClock());
  const late = new FakeClock(Date.UTC(2030, 0, 1) + 365 * DAY_MS - 3_600_000);
  const { certify, token, authority } = await setUp(state, late);
  const { leafCertificate } = await certify(WEB, await token(), await csrOf([dns(WEB)]));
  const leaf = new x509.X509Certificate(Uint8Array.from(leafCertificate));
  assert.is(leaf.notAfter.getTime(), authority.anchors[0]?.notAfter);
});

test.run();
