// The certificate's life: asked, checked, published, renewed; and what happens when the service fails.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { writeFile } from "node:fs/promises";
import { type CertifyRequest, Identity } from "../../src/api/gen/identity_pb.ts";
import { SILENT } from "../../src/core/log.ts";
import { type Credentials, keepCredentials, refreshAfterMs } from "../../src/proxy/credentials.ts";
import { openSecrets } from "../../src/runtime/secrets.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";
import { tempDir } from "../support/temp-dir.ts";
import { createTestCa, derOf } from "../support/test-ca.ts";

const NAME = "web.shop.serviceaccount.identity.linkerd.cluster.local";
const HOUR = 3_600_000;

/** A service whose answers a test scripts, and secrets that accept all but the leaf `bad`. */
function setUp() {
  const clock = new FakeClock();
  const requests: CertifyRequest[] = [];
  const script: { answer: () => Promise<{ leaf: string; validMs: number }> } = {
    answer: () => Promise.resolve({ leaf: "good", validMs: clock.wall() + 24 * HOUR }),
  };
  let tokens = 0;
  const transport = createRouterTransport((router) => {
    router.service(Identity, {
      certify: async (request) => {
        requests.push(request);
        const { leaf, validMs } = await script.answer();
        return {
          leafCertificate: new TextEncoder().encode(leaf),
          validUntil: timestampFromMs(validMs),
        };
      },
    });
  });
  const keeper = keepCredentials({
    identity: {
      id: NAME,
      serverName: NAME,
      minRefreshMs: 10_000,
      maxRefreshMs: 24 * HOUR,
      svc: { backoff: { minMs: 100, maxMs: 10_000, jitter: 0 } },
    },
    secrets: {
      keyPem: "KEY",
      anchorsPem: "ANCHORS",
      csr: new Uint8Array([1, 2, 3]),
      token: () => Promise.resolve(new TextEncoder().encode(`token-${++tokens}`)),
      check: ({ leaf }) => {
        const text = new TextDecoder().decode(leaf);
        if (text === "bad") throw new Error("The certificate is for another key");
        return { certPem: text, expiresMs: clock.wall() + 48 * HOUR };
      },
    },
    transport,
    clock,
    random: () => 0.5,
    log: SILENT,
  });
  return { clock, requests, script, keeper };
}

test("keepCredentials() asks at once with name, token and request, and publishes the answer", async () => {
  const { clock, requests, keeper } = setUp();
  assert.is(keeper.credentials.value, null);
  await clock.advanceAsync(0);
  const [request] = requests;
  assert.is(request?.identity, NAME);
  assert.is(new TextDecoder().decode(request?.token), "token-1");
  assert.equal(request?.certificateSigningRequest, new Uint8Array([1, 2, 3]));
  const got = keeper.credentials.value as Credentials;
  assert.is(got.certPem, "good");
  assert.is(got.keyPem, "KEY");
  assert.is(got.identity, NAME);
  assert.is(got.expiresMs, clock.wall() + 24 * HOUR, "the earlier of both dates");
  keeper.close();
  await settle();
  assert.is(clock.pending, 0);
});

test("keepCredentials() renews at 70 % of the lifetime with a token that is read anew", async () => {
  const { clock, requests, keeper } = setUp();
  await clock.advanceAsync(0);
  const first = keeper.credentials.value;
  await clock.advanceAsync(0.7 * 24 * HOUR - 1000);
  assert.is(requests.length, 1);
  await clock.advanceAsync(1001);
  assert.is(requests.length, 2);
  assert.is(new TextDecoder().decode(requests[1]?.token), "token-2");
  assert.is.not(keeper.credentials.value, first);
  keeper.close();
});

test("keepCredentials() renews when the date jumps past the time, as after a sleep", async () => {
  const { clock, requests, keeper } = setUp();
  await clock.advanceAsync(0);
  clock.setWall(clock.wall() + 20 * HOUR);
  await clock.advanceAsync(60_000);
  assert.is(requests.length, 2);
  keeper.close();
});

test("keepCredentials() backs off on failures and starts over after a success", async () => {
  const { clock, requests, script, keeper } = setUp();
  const good = script.answer;
  script.answer = () => Promise.reject(new ConnectError("not ready", Code.Unavailable));
  await clock.advanceAsync(0);
  for (const [waitMs, total] of [[100, 2], [200, 3], [400, 4], [800, 5]] as const) {
    await clock.advanceAsync(waitMs - 1);
    assert.is(requests.length, total - 1);
    await clock.advanceAsync(1);
    assert.is(requests.length, total);
  }
  assert.is(keeper.credentials.value, null);
  assert.match(keeper.stats().lastError, /not ready/);
  assert.is(keeper.stats().failures, 5);
  script.answer = good;
  await clock.advanceAsync(1600);
  assert.ok(keeper.credentials.value);
  assert.is(keeper.stats().lastError, "");
  keeper.close();
});

test("keepCredentials() keeps the last good certificate when a bad one or none comes", async () => {
  const { clock, script, keeper } = setUp();
  await clock.advanceAsync(0);
  const good = keeper.credentials.value;
  script.answer = () => Promise.resolve({ leaf: "bad", validMs: clock.wall() + HOUR });
  await clock.advanceAsync(17 * HOUR);
  assert.is(keeper.credentials.value, good);
  assert.is(keeper.stats().lastError, "The certificate is for another key");
  script.answer = () => Promise.reject(new ConnectError("away", Code.Unavailable));
  await clock.advanceAsync(HOUR);
  assert.is(keeper.credentials.value, good);
  assert.match(keeper.stats().lastError, /away/);
  keeper.close();
});

test("keepCredentials() gives up on an answer that does not come and asks again", async () => {
  const { clock, requests, script, keeper } = setUp();
  script.answer = () => new Promise(() => {});
  await clock.advanceAsync(0);
  assert.is(requests.length, 1);
  await clock.advanceAsync(30_100);
  assert.is(requests.length, 2);
  assert.match(keeper.stats().lastError, /no answer after 30000 ms/);
  keeper.close();
  await settle();
  assert.is(clock.pending, 0);
});

test("refreshAfterMs() stays within the configured bounds", () => {
  const bounds = { minRefreshMs: 10_000, maxRefreshMs: 24 * HOUR };
  assert.is(refreshAfterMs(24 * HOUR, bounds), 0.7 * 24 * HOUR);
  assert.is(refreshAfterMs(5000, bounds), 10_000);
  assert.is(refreshAfterMs(-1, bounds), 10_000);
  assert.is(refreshAfterMs(1000 * HOUR, bounds), 24 * HOUR);
});

test("keepCredentials() takes a real certificate for a real request, end to end", async () => {
  await using box = await tempDir("credentials");
  const tokenFile = box.join("token");
  await writeFile(tokenFile, "token");
  const ca = await createTestCa();
  const secrets = await openSecrets({
    dir: box.join("identity"),
    tokenFile,
    name: NAME,
    anchorsPem: ca.pem,
  });
  const { Pkcs10CertificateRequest } = await import("@peculiar/x509");
  const transport = createRouterTransport((router) => {
    router.service(Identity, {
      certify: async (request) => {
        const csr = new Pkcs10CertificateRequest(
          Uint8Array.from(request.certificateSigningRequest),
        );
        assert.ok(await csr.verify());
        const leaf = await ca.issue({
          publicKey: csr.publicKey,
          names: [{ type: "dns", value: request.identity }],
        });
        return { leafCertificate: derOf(leaf), intermediateCertificates: [ca.der] };
      },
    });
  });
  const clock = new FakeClock(Date.now());
  const keeper = keepCredentials({
    identity: {
      id: NAME,
      serverName: NAME,
      minRefreshMs: 10_000,
      maxRefreshMs: HOUR,
      svc: { backoff: { minMs: 100, maxMs: 10_000, jitter: 0 } },
    },
    secrets,
    transport,
    clock,
    random: () => 0.5,
    log: SILENT,
  });
  const got = await keeper.credentials.changed(null) as Credentials;
  assert.match(got.certPem, /^-----BEGIN CERTIFICATE-----/);
  assert.ok(got.expiresMs > clock.wall() + 23 * HOUR);
  keeper.close();
});

test.run();
