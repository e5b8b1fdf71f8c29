// The control side of a proxy against the real control plane on loopback, over real gRPC: a certificate,
// endpoints, policies, filters; and that the control plane may die and come back unnoticed.

import { createHash } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import {
  importTokenKey,
  issueToken,
  TOKEN_KEY_FILE,
} from "../../../src/api/service-account-token.ts";
import { startControl } from "../../../src/control/main.ts";
import { DEFAULT_OPTIONS } from "../../../src/control/options.ts";
import { parseSocketAddr } from "../../../src/core/addr.ts";
import { SILENT } from "../../../src/core/log.ts";
import { authorize } from "../../../src/model/policy.ts";
import { parseConfig } from "../../../src/proxy/config.ts";
import { keepCredentials } from "../../../src/proxy/credentials.ts";
import type { Watched } from "../../../src/proxy/discovery/discovery.ts";
import { createMeshDiscovery } from "../../../src/proxy/discovery/mesh.ts";
import { createGrpcClient } from "../../../src/runtime/grpc-client.ts";
import { SYSTEM_CLOCK } from "../../../src/runtime/process.ts";
import { openSecrets } from "../../../src/runtime/secrets.ts";
import { signatureText } from "../../../src/core/signature.ts";
import {
  generateKeys,
  readPrivateKey,
  readPublicKeys,
  requireSignature,
  signModule,
} from "../../../wasm/host/signature.ts";
import { createEngine } from "../../../wasm/host/engine.ts";
import { tempDir } from "../../support/temp-dir.ts";

const ROOT = new URL("../../../", import.meta.url);
const IDENTITY = "web.shop.serviceaccount.identity.linkerd.cluster.local";

/** Waits for a snapshot that the test wants; the runner's time limit ends it otherwise. */
function until<T>(watched: Watched<T>, wanted: (value: T) => boolean): Promise<T> {
  if (watched.value !== null && wanted(watched.value)) return Promise.resolve(watched.value);
  return new Promise((resolve) => {
    const end = watched.subscribe((value) => {
      if (!wanted(value)) return;
      end();
      resolve(value);
    });
  });
}

test("a proxy learns all that it needs from the control plane, and outlives its restart", async () => {
  await using box = await tempDir("real-control");
  // Ended in reverse order, also when an assertion fails: a leak would hang the file.
  await using ends = new AsyncDisposableStack();
  const folder = box.join("demo", "mesh");
  await cp(fileURLToPath(new URL("demo/mesh", ROOT)), folder, { recursive: true });
  await cp(fileURLToPath(new URL("filters/build", ROOT)), box.join("filters", "build"), {
    recursive: true,
  });
  await mkdir(box.join("pod"));
  // Both ends know one key, and only what it signed runs.
  const keys = await generateKeys();
  const signer = await readPrivateKey(keys.privatePem);
  await mkdir(box.join("keys"));
  await writeFile(box.join("keys", "ours.pub"), keys.publicPem);
  for (const name of ["header-modifier", "retry", "route-metrics"]) {
    const path = box.join("filters", "build", `${name}.wasm`);
    const sha256 = createHash("sha256").update(await readFile(path)).digest("hex");
    await writeFile(`${path}.sig`, signatureText(await signModule(signer, sha256)));
  }
  const any = { ip: "127.0.0.1", port: 0 };
  const flags = {
    source: { kind: "folder" as const, folder },
    state: box.join("state"),
    destination: any,
    policy: any,
    identity: any,
    admin: any,
    filterKeys: box.join("keys"),
    logLevel: "off" as const,
    mesh: DEFAULT_OPTIONS,
  };
  const control = await startControl(flags, SILENT);
  ends.defer(control.close);
  const { ready } = control;
  const key = await importTokenKey(await readFile(box.join("state", TOKEN_KEY_FILE), "utf8"));
  const token = await issueToken(key, {
    namespace: "shop",
    serviceAccount: "web",
    nowMs: Date.now(),
    lifetimeMs: 3_600_000,
  });
  await writeFile(box.join("token"), token);
  const config = parseConfig(
    new Map(Object.entries({
      LINKERD2_PROXY_INBOUND_IPS: "127.77.1.2",
      LINKERD2_PROXY_INBOUND_PORTS: "8080",
      LINKERD2_PROXY_DESTINATION_SVC_ADDR: ready.destination,
      LINKERD2_PROXY_DESTINATION_CONTEXT: '{"ns":"shop","nodeName":"demo","pod":"web"}',
      LINKERD2_PROXY_POLICY_SVC_ADDR: ready.policy,
      LINKERD2_PROXY_POLICY_WORKLOAD: '{"ns":"shop","pod":"web"}',
      LINKERD2_PROXY_IDENTITY_SVC_ADDR: ready.identity,
      LINKERD2_PROXY_IDENTITY_DIR: box.join("pod", "identity"),
      LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS: await readFile(ready.trustAnchors, "utf8"),
      LINKERD2_PROXY_IDENTITY_TOKEN_FILE: box.join("token"),
      LINKERD2_PROXY_IDENTITY_LOCAL_NAME: IDENTITY,
    })),
  );
  const clients = [config.identity.svc, config.destination.svc, config.policy.svc]
    .map((svc) => createGrpcClient(svc, () => null));
  const [identityClient, destinationClient, policyClient] = clients.map((c) => c.transport) as [
    (typeof clients)[0]["transport"],
    (typeof clients)[0]["transport"],
    (typeof clients)[0]["transport"],
  ];
  ends.defer(() => clients.forEach((c) => c.close()));
  const shared = { clock: SYSTEM_CLOCK, random: Math.random, log: SILENT };
  const keeper = keepCredentials({
    ...shared,
    identity: config.identity,
    secrets: await openSecrets({ ...config.identity, name: config.identity.id }),
    transport: identityClient,
  });
  ends.defer(() => keeper.close());
  const discovery = createMeshDiscovery({
    ...shared,
    config,
    destination: destinationClient,
    policy: policyClient,
    engine: createEngine(shared),
    signatures: requireSignature(await readPublicKeys(keys.publicPem)),
    moduleCache: null,
  });

  ends.defer(() => discovery.close());

  const credentials = await keeper.credentials.changed(null);
  assert.is(credentials?.identity, IDENTITY);

  const catalogue = discovery.outbound({ authority: "catalogue:8080" });
  const known = await until(catalogue, (v) => (v.endpoints?.endpoints.length ?? 0) > 0);
  assert.equal(known.endpoints?.endpoints.map((e) => e.addr.ip).sort(), [
    "127.77.1.3",
    "127.77.1.4",
    "127.77.1.5",
  ]);
  for (const e of known.endpoints?.endpoints ?? []) {
    assert.match(e.identity?.name ?? "", /^catalogue\.shop\.serviceaccount\.identity\./);
    assert.is(e.transportPort, 4143);
  }
  const withFilters = await until(catalogue, (v) => v.routes.some((r) => r.chain.hooks !== 0));
  assert.ok(withFilters.routes.length > 0);
  const filters = discovery.filterStatus();
  assert.equal(filters.map((f) => f.name), ["header-modifier", "retry", "route-metrics"]);
  for (const f of filters) {
    assert.is(f.state, "ready", f.lastError);
    assert.is(f.servingSha256, f.wantedSha256);
  }

  await discovery.portsAnswered();
  const port = discovery.inbound(8080);
  assert.ok(port.value);
  assert.ok(authorize(port.value.policy, { ip: "127.77.1.2", meshed: false, identity: null }));

  const missing = discovery.outbound({ authority: "no-such-service" });
  await until(missing, (v) => !v.exists);
  assert.match(missing.why, /no-such-service/);

  // Gone: nothing changes for the data plane.
  const before = catalogue.value?.endpoints;
  await control.close();
  assert.equal(catalogue.value?.endpoints, before);
  assert.ok(catalogue.value?.exists);

  // Back at the same addresses, with another folder: what changed arrives.
  const yaml = await readFile(`${folder}/catalogue.yaml`, "utf8");
  await writeFile(`${folder}/catalogue.yaml`, yaml.replaceAll("127.77.1.5", "127.77.1.6"));
  const again = await startControl({
    ...flags,
    destination: parseSocketAddr(ready.destination),
    policy: parseSocketAddr(ready.policy),
    identity: parseSocketAddr(ready.identity),
  }, SILENT);
  ends.defer(again.close);
  await until(
    catalogue,
    (v) => v.endpoints?.endpoints.some((e) => e.addr.ip === "127.77.1.6") ?? false,
  );
  assert.is(catalogue.value?.endpoints?.endpoints.length, 3);
});

test.run();
