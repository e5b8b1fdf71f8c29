// Signed filters between processes: a proxy that trusts one key, under a control plane that asks for
// none and so passes everything on.

import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { signatureText } from "../../src/core/signature.ts";
import { generateKeys, readPrivateKey, signModule } from "../../wasm/host/signature.ts";
import { loopbackNet, type MeshPod, TestMesh } from "../support/mesh.ts";
import { ask } from "./support/http.ts";
import { pod, service, wasmFilter, yaml } from "./support/objects.ts";
import { eventually } from "./support/waiting.ts";

const NET = loopbackNet(102);
const WEB: MeshPod = { name: "web", app: "web", ip: `${NET}.2`, ports: [] };
const CATALOGUE: MeshPod = { name: "catalogue", app: "catalogue", ip: `${NET}.3`, ports: [8080] };
const URL_OF_IT = "http://catalogue.shop.svc.cluster.local:8080/";
const FILTER = "header-modifier";

const ours = await generateKeys();
const key = await readPrivateKey(ours.privatePem);
const theirs = await generateKeys();
const foreign = await readPrivateKey(theirs.privatePem);

async function build(name: string) {
  const url = new URL(`../../filters/build/${name}.wasm`, import.meta.url);
  const wasm = new Uint8Array(await readFile(url));
  return { wasm, sha256: createHash("sha256").update(wasm).digest("hex") };
}

const ENDED = "web-b's proxy ended with 64: Invalid configuration: TULLE_PROXY_FILTER_KEYS: ";

let mesh: TestMesh;
/** In the pod's own folder, which is all that its proxy may read. */
let keysFile = "";
const [v1, v2] = [await build(FILTER), await build(`${FILTER}.v2`)];

test.before(async () => {
  const object = wasmFilter(FILTER, {
    service: "catalogue",
    sha256: v1.sha256,
    file: `${FILTER}.wasm`,
    order: 10,
    config: { responseSet: { "x-edited": "yes" } },
  });
  const { module } = (object as { spec: { module: Record<string, unknown> } }).spec;
  module["signature"] = signatureText(await signModule(key, v1.sha256));
  mesh = await TestMesh.start({
    net: NET,
    files: {
      "mesh.yaml": yaml(
        pod("web", WEB.ip, "web"),
        pod("catalogue", CATALOGUE.ip, "catalogue"),
        ...service("catalogue", `${NET}.103`, { catalogue: CATALOGUE.ip }),
      ),
      "modifier.yaml": yaml(object),
    },
    pods: [CATALOGUE],
  });
  await mesh.serve(CATALOGUE.ip, 8080, () => ({ body: "ok" }));
  const own = join(mesh.folders.pods, WEB.name);
  await mkdir(own, { recursive: true });
  keysFile = join(own, "keys.pem");
  await writeFile(keysFile, ours.publicPem);
  await mesh.startProxy(WEB, { TULLE_PROXY_FILTER_KEYS: keysFile });
});
test.after(async () => {
  await mesh?.end().catch((e: Error) => {
    if (!e.message.startsWith(ENDED)) throw e; // the one that was meant to
  });
});

async function rollOut(signature: Uint8Array | null, wasm = v2.wasm): Promise<Response> {
  return await fetch(`${mesh.admin}/api/filters/${FILTER}/rollout`, {
    method: "POST",
    headers: {
      "content-type": "application/wasm",
      ...(signature === null ? {} : { "x-tulle-signature": signatureText(signature) }),
    },
    body: wasm,
  });
}

/** What the caller's proxy says of the build that it serves. */
async function served() {
  await mesh.call(WEB, URL_OF_IT);
  const { filters } = await mesh.stats(WEB);
  return filters.filter((f) => f.name === FILTER);
}

test("a proxy runs what its key signed, and nothing else, while the old build serves", async () => {
  await eventually("the signed build serves", async () => {
    assert.is((await served()).find((f) => f.sha256 === v1.sha256)?.state, "ready");
  });
  for (
    const [signature, why] of [
      [null, /is not signed; keys that are trusted: /],
      [await signModule(foreign, v2.sha256), /was not made by a key that is trusted/],
    ] as const
  ) {
    assert.is((await rollOut(signature)).status, 200, "the control plane asks for no signature");
    await eventually("the proxy refuses it", async () => {
      assert.match((await served()).map((f) => f.lastError).join(), why);
    });
    assert.not.ok((await served()).some((f) => f.sha256 === v2.sha256 && f.calls > 0));
    assert.is((await mesh.call(WEB, URL_OF_IT)).headers["x-edited"], "yes");
  }
  assert.is((await rollOut(await signModule(key, v2.sha256))).status, 200);
  await eventually("the second build serves", async () => {
    const now = (await served()).find((f) => f.sha256 === v2.sha256);
    assert.ok(now?.state === "ready" && now.calls > 0);
  });
  assert.is((await mesh.call(WEB, URL_OF_IT)).headers["x-edited"], "yes");
});

test("keys in a file are read again; those that are none leave those before, and are counted", async () => {
  // builds that differ in a section that means nothing, so that each is a new one
  const roll = async (name: number, by: CryptoKey) => {
    const wasm = Uint8Array.of(...v2.wasm, 0, 2, 1, name);
    const sha256 = createHash("sha256").update(wasm).digest("hex");
    assert.is((await rollOut(await signModule(by, sha256), wasm)).status, 200);
    return sha256;
  };
  const refuses = (sha256: string) =>
    eventually("the proxy refuses it", async () => {
      const why = (await served()).map((f) => f.lastError).join();
      assert.match(why, `the signature of module ${sha256.slice(0, 12)} was not made by a key`);
    });
  await writeFile(keysFile, "nothing of use\n");
  await refuses(await roll(0x61, foreign));
  const { body } = await ask({ host: WEB.ip, port: 4191, path: "/metrics" });
  assert.match(body, /^filter_host_keys_refused_total [1-9]/m);
  await writeFile(keysFile, theirs.publicPem);
  await refuses(await roll(0x62, key));
  const sha256 = await roll(0x63, foreign);
  await eventually("what the new key signed serves", async () => {
    assert.is((await served()).find((f) => f.sha256 === sha256)?.state, "ready");
  });
  assert.is((await mesh.call(WEB, URL_OF_IT)).headers["x-edited"], "yes");
});

test("a proxy does not start with keys that are none", async () => {
  const starting = mesh.startProxy({ ...WEB, name: "web-b", ip: `${NET}.4` }, {
    TULLE_PROXY_FILTER_KEYS: ours.publicPem.replace("MCow", "MAow"),
  });
  let why = "it started";
  await starting.catch((e: Error) => (why = e.message));
  assert.match(why, `${ENDED}one of them is not an Ed25519 public key`);
});

test.run();
