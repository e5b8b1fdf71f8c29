import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CARRIED_MODULES } from "../../src/cli/entries.ts";
import { STANDARD_FILTERS } from "../../src/proxy/discovery/standard-filters.ts";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseAllDocuments } from "yaml";
import { parseFlags } from "../../src/cli/flags.ts";
import { demoCommand, demoOptions } from "../../src/cli/demo.ts";
import {
  makeFolders,
  readDigests,
  removeFolders,
  withDigests,
  withNet,
} from "../../src/cli/demo-folders.ts";
import {
  appPlan,
  controlPlan,
  type DemoFolders,
  demoPods,
  podFolders,
  proxyPlan,
} from "../../src/cli/demo-plan.ts";
import { checkFree } from "../../src/cli/demo-preflight.ts";
import { PACKAGE_ROOT } from "../../src/cli/entries.ts";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";

const folders: DemoFolders = {
  root: "/w",
  mesh: "/w/demo/mesh",
  modules: "/w/filters/build",
  state: "/w/state",
  pods: "/w/pods",
};
const control = {
  destination: "127.0.0.1:8086",
  policy: "127.0.0.1:8090",
  identity: "127.0.0.1:8080",
  admin: "127.0.0.1:8084",
  trustAnchors: "PEM",
};
const options = (...argv: string[]) => demoOptions(parseFlags(demoCommand.flags, argv));

test("the demo's flags have defaults and bounds", () => {
  assert.equal(options(), {
    durationMs: null,
    json: false,
    watch: false,
    filtersFolder: null,
    net: "127.77",
    adminListen: { ip: "127.0.0.1", port: 8084 },
    rate: 40,
  });
  assert.is(options("--duration", "20s").durationMs, 20_000);
  assert.throws(() => options("--duration", "20"), /is not a duration/);
  assert.throws(() => options("--filters", "x"), /--filters needs --watch/);
  assert.throws(() => options("--rate", "0"), /is not a whole number from 1/);
  assert.throws(() => options("--admin", "8084"), /--admin: "8084" is not an address/);
  for (const net of ["127.0", "10.1", "127.256", "127.77.1", "127.7x"]) {
    assert.throws(() => options("--net", net), /--net ".*" is not half a loopback address/, net);
  }
});

test("a pod's proxy gets the environment that the injector would give it", () => {
  const pod = demoPods("127.80").find((p) => p.name === "vote")!;
  const { env, rights } = proxyPlan(folders, pod, control, "127.80");
  assert.is(env.LINKERD2_PROXY_INBOUND_LISTEN_ADDR, "127.80.1.6:4143");
  assert.is(env.LINKERD2_PROXY_INBOUND_PORTS, "7070,8080");
  assert.is(
    env.LINKERD2_PROXY_IDENTITY_LOCAL_NAME,
    "vote.shop.serviceaccount.identity.linkerd.cluster.local",
  );
  assert.is(env.LINKERD2_PROXY_POLICY_WORKLOAD, '{"ns":"shop","pod":"vote"}');
  assert.is(env.LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS, "PEM");
  assert.equal(rights.write, ["/w/pods/vote/identity", "/w/pods/vote/filters"]);
  const what = "not the control plane's state, nor another pod's";
  assert.equal(rights.read, ["/w/pods/vote", ...CARRIED_MODULES], what);
});

test("an application may reach its own pod's address and nothing else", () => {
  for (const pod of demoPods("127.77")) {
    const { rights } = appPlan(pod);
    assert.equal(rights.net, [pod.ip]);
    assert.equal([...rights.read, ...rights.write, ...rights.sys], []);
  }
});

test("only the control plane reads its state folder", () => {
  const readers = [
    controlPlan(folders, "127.0.0.1:0", "127.77"),
    ...demoPods("127.77").map((pod) => proxyPlan(folders, pod, control, "127.77")),
  ].filter((plan) => plan.rights.read.some((path) => folders.state.startsWith(path)));
  assert.equal(readers.map((plan) => plan.name), ["control plane"]);
});

test("withNet() changes the demo's addresses and nothing that looks like them", () => {
  assert.is(
    withNet("a 127.77.1.2:80 b 1127.77.1 127.770.1", "127.80"),
    "a 127.80.1.2:80 b 1127.77.1 127.770.1",
  );
});

test("demo/mesh names exactly the pods that are started, at their addresses", async () => {
  const found = new Map<string, { ip: string; sa: string }>();
  for (const name of await readdir(join(PACKAGE_ROOT, "demo", "mesh"))) {
    for (
      const doc of parseAllDocuments(
        await readFile(join(PACKAGE_ROOT, "demo", "mesh", name), "utf8"),
      )
    ) {
      assert.equal(doc.errors, [], name);
      const object = doc.toJS() as {
        kind: string;
        metadata: { name: string };
        spec: { serviceAccountName: string };
        status: { podIP: string };
      };
      if (object.kind !== "Pod") continue;
      found.set(object.metadata.name, {
        ip: object.status.podIP,
        sa: object.spec.serviceAccountName,
      });
    }
  }
  const started = demoPods("127.77").map((p) => [p.name, { ip: p.ip, sa: p.app }] as const);
  assert.equal(
    new Map([...found].sort()),
    new Map([...started].sort(([a], [b]) => a < b ? -1 : 1)),
  );
});

test("demo/mesh pins the filters' builds that are committed", async () => {
  const text = await readFile(join(PACKAGE_ROOT, "demo", "mesh", "filters.yaml"), "utf8");
  const digests = await readDigests();
  for (const name of ["route-metrics", "retry", "header-modifier"]) {
    assert.ok(
      text.includes(`sha256: ${digests[name]}\n    file: ../../filters/build/${name}.wasm\n`),
      `write the digest ${digests[name]} of ${name} into demo/mesh/filters.yaml`,
    );
  }
});

test("withDigests() changes the digest above a known file and no other", () => {
  const old = "0".repeat(64);
  const text =
    `  sha256: ${old}\n  file: ../b/retry.v2.wasm\n  sha256: ${old}\n  file: other.wasm\n`;
  assert.is(
    withDigests(text, { "retry.v2": "ab", retry: "cd" }),
    `  sha256: ab\n  file: ../b/retry.v2.wasm\n  sha256: ${old}\n  file: other.wasm\n`,
  );
});

test("makeFolders() makes folders that only this user may enter, and removeFolders() leaves nothing", async () => {
  const pods = demoPods("127.80");
  const made = await makeFolders("127.80", pods);
  assert.is((await stat(made.root)).mode & 0o777, 0o700);
  assert.match(await readFile(join(made.mesh, "web.yaml"), "utf8"), /podIP: 127\.80\.1\.2/);
  for (const pod of pods) assert.ok(existsSync(podFolders(made, pod).identity));
  await removeFolders(made);
  assert.not.ok(existsSync(made.root));
});

test("checkFree() names an address that is taken, and what to do", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await checkFree([{ ip: "127.0.0.1", port: 0 }, { ip: "127.0.0.1", port }], "take another");
    assert.unreachable();
  } catch (e) {
    assert.is((e as Error).message, `127.0.0.1:${port} is taken by another process`);
    assert.is((e as { hint: string }).hint, "take another");
  }
  server.close();
  try {
    await checkFree([{ ip: "192.0.2.1", port: 80 }], "");
    assert.unreachable();
  } catch (e) {
    assert.is((e as Error).message, "192.0.2.1:80 is not an address of this machine");
  }
});

test("a proxy may read each filter that it carries", () => {
  assert.equal(
    CARRIED_MODULES.map((path) => path.split("/").at(-1)),
    STANDARD_FILTERS.map((name) => `${name}.wasm`),
  );
});

test.run();
