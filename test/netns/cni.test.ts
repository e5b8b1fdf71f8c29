// The CNI plugin's executable, chained after Debian's reference plugins, in network namespaces: what
// traffic does then. Nothing in a pod has NET_ADMIN.

import { spawnSync } from "node:child_process";
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { kubeconfigText } from "../../src/cni/kubeconfig.ts";
import { buildPlugin, pinnedNode } from "../../tools/build-cni.ts";
import { testUnless } from "../support/skip.ts";
import {
  CniRuntime,
  type FakeApi,
  type NetworkList,
  referencePluginsMissing,
  type Sandbox,
  startFakeApi,
} from "./cni-runtime.ts";
import { Namespace, namespacesMissing, RUNTIME } from "./namespaces.ts";

const MISSING = namespacesMissing() ?? referencePluginsMissing() ??
  (await pinnedNode() === null ? "there is no pinned Node for this platform" : null);
const UID = 2102;
const FAMILIES = ["10.78.0.", "fd78::"];
const PORTS = ["8080", "8081"];
const PROXY_PORTS = { "incoming-proxy-port": 4143, "outgoing-proxy-port": 4140 };

/** A node with our plugin behind bridge and portmap, and two pods: `meshed` and `plain`. */
interface Node {
  readonly runtime: CniRuntime;
  readonly api: FakeApi;
  readonly meshed: Sandbox;
  readonly plain: Sandbox;
  /** Starts applications in both pods, and a proxy in the meshed one. */
  serve(own: readonly string[]): Promise<void>;
  /** What that proxy saw since the last call. */
  seen(): Promise<string[]>;
}

/** Built once for all tests of this file. */
let built: { readonly dir: string; readonly path: string; readonly needsLibatomic: boolean };

test.before(async () => {
  if (MISSING !== null) return;
  const dir = await mkdtemp("/tmp/tulle-cni-");
  built = { dir, ...await buildPlugin(`${dir}/linkerd-cni`) };
});
test.after(async () => {
  if (MISSING === null) await rm(built.dir, { recursive: true, force: true });
});

const pod = (annotations: Record<string, string>, containers: string[]) => ({
  metadata: { annotations },
  spec: { containers: containers.map((name) => ({ name })) },
});

function list(mode: string, dir: string, kubeconfig: string): NetworkList {
  return {
    cniVersion: "1.0.0",
    name: `tulle-${process.pid}`,
    plugins: [
      {
        type: "bridge",
        bridge: "cni0",
        isGateway: true,
        ipam: {
          type: "host-local",
          dataDir: `${dir}/ipam`,
          ranges: [[{ subnet: "10.78.0.0/24" }], [{ subnet: "fd78::/64" }]],
          routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
      {
        type: "linkerd-cni",
        log_level: "info",
        kubernetes: { kubeconfig },
        linkerd: {
          ...PROXY_PORTS,
          "proxy-uid": UID,
          "inbound-ports-to-ignore": ["4190", "4191"],
          "iptables-mode": mode,
          ipv6: true,
        },
      },
    ],
  };
}

async function withNode(
  mode: string,
  annotations: Record<string, string>,
  body: (node: Node) => Promise<void>,
): Promise<void> {
  const names = ["node", "meshed", "plain"].map((name) => `tulle-${name[0]}-${process.pid}`);
  const made: Namespace[] = [];
  const dir = await mkdtemp("/tmp/tulle-cni-node-");
  const api = await startFakeApi();
  try {
    await chmod(dir, 0o755);
    for (const name of names) made.push(new Namespace(name));
    const [node, a, b] = made as [Namespace, Namespace, Namespace];
    const kubeconfig = `${dir}/kubeconfig`;
    const port = String(api.port);
    const access = { host: "localhost", port, token: api.token, ca: api.ca };
    await writeFile(kubeconfig, kubeconfigText(access), { mode: 0o600 });
    api.objects.set("/api/v1/namespaces/shop", { metadata: {} });
    api.objects.set(
      "/api/v1/namespaces/shop/pods/meshed",
      pod(annotations, ["app", "linkerd-proxy"]),
    );
    api.objects.set("/api/v1/namespaces/shop/pods/plain", pod({}, ["app"]));
    const file = `${dir}/seen`;
    await writeFile(file, "");
    await chown(file, UID, UID);
    await body({
      runtime: new CniRuntime(list(mode, dir, kubeconfig), node, built.path),
      api,
      meshed: { id: "m1", netns: a, namespace: "shop", name: "meshed" },
      plain: { id: "p1", netns: b, namespace: "shop", name: "plain" },
      async serve(own) {
        await a.start(UID, "test/netns/proxy-process.ts", file, ...own);
        for (const netns of [a, b]) {
          await netns.start(0, "test/netns/app-process.ts", "serve", ...PORTS);
        }
      },
      async seen() {
        const lines = (await readFile(file, "utf8")).split("\n").filter((line) => line !== "");
        await writeFile(file, "");
        return lines;
      },
    });
  } finally {
    for (const namespace of made) await namespace.remove();
    await api.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Both addresses of a sandbox, IPv4 first. */
function addresses(result: { readonly ips?: readonly { readonly address: string }[] }): string[] {
  const all = (result.ips ?? []).map(({ address }) => address.replace(/\/\d+$/, ""));
  return FAMILIES.map((family) => all.find((ip) => ip.startsWith(family)) ?? "none");
}

/** The validator in a pod, as its container runs: nobody, without any capability. */
function validate({ netns }: Sandbox, listen: string, connect: string) {
  return netns.run(
    ...["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"],
    ...["--inh-caps=-all", "--no-new-privs", "env", "DENO_DIR=/tmp/none"],
    ...[...RUNTIME, "src/cli/main.ts", "network-validator", "--timeout", "3s"],
    ...["--listen-addr", listen, "--connect-addr", connect],
  );
}

const at = (ip: string, port: number) => ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;

for (const mode of ["nft", "legacy"]) {
  testUnless(
    MISSING,
    test,
    `${mode}: a pod of the chain is redirected, both families`,
    () =>
      withNode(
        mode,
        {
          "config.linkerd.io/skip-inbound-ports": "8081",
          "config.linkerd.io/skip-outbound-ports": "8081",
        },
        async ({ runtime, meshed, plain, serve, seen }) => {
          const result = await runtime.add(meshed);
          assert.is(result.cniVersion, "1.0.0");
          assert.is(result.interfaces?.at(-1)?.name, "eth0", "what bridge said is passed on");
          const own = addresses(result);
          const other = addresses(await runtime.add(plain));
          await runtime.check(meshed);
          await runtime.check(plain);

          // before its proxy listens there: the validator, as the pod's first container
          for (const [i, to] of other.entries()) {
            const listen = i === 0 ? "0.0.0.0:4140" : "[::]:4140";
            const done = validate(meshed, listen, at(to, 20001));
            assert.is(done.status, 0, done.stdout + done.stderr);
            assert.is(validate(plain, listen, at(own[i] ?? "", 20001)).status, 95);
          }

          await serve(own);
          for (const [i, ip] of own.entries()) {
            const to = other[i] ?? "";
            assert.is(plain.netns.get(ip, 8080), "port 8080");
            assert.equal(await seen(), [`inbound ${at(ip, 8080)}`]);
            assert.is(plain.netns.get(ip, 8081), "port 8081");
            assert.equal(await seen(), [], "a skipped port is not redirected");
            assert.is(meshed.netns.get(to, 8080), "port 8080");
            assert.equal(await seen(), [`outbound ${at(to, 8080)}`]);
            assert.is(meshed.netns.get(to, 8081), "port 8081");
            assert.equal(await seen(), []);
            assert.is(plain.netns.get(to, 8080), "port 8080", "a pod that is left alone");
          }
          await runtime.del(meshed);
          await runtime.del(plain);
          await runtime.del(meshed);
        },
      ),
  );
}
testUnless(
  MISSING,
  test,
  "a pod's rules that are gone are told by CHECK, and put back by ADD",
  () =>
    withNode("nft", {}, async ({ runtime, meshed }) => {
      await runtime.add(meshed);
      assert.is(meshed.netns.tulle("init", "--undo").status, 0);
      const failed = await runtime.check(meshed).catch((e: Error) => e.message);
      assert.match(
        String(failed),
        /"code":101,"msg":"The pod's traffic is not redirected: there are/,
      );
      await runtime.del(meshed);
      await runtime.add(meshed);
      await runtime.check(meshed);
      // once more over the same rules, as a runtime that was interrupted does
      const before = meshed.netns.saved("nft");
      await runtime.del(meshed);
      await runtime.add(meshed);
      assert.is(meshed.netns.saved("nft"), before);
    }),
);

testUnless(
  MISSING,
  test,
  "an ADD that cannot ask for the pod fails the sandbox, in one line",
  () =>
    withNode("nft", {}, async ({ runtime, api, meshed }) => {
      api.objects.clear();
      const failed = String(await runtime.add(meshed).catch((e: Error) => e.message));
      assert.match(failed, /"code":11,"msg":"The API server does not know the pod shop\/meshed"/);
      await api.close();
      await runtime.del(meshed);
      const gone = String(await runtime.add(meshed).catch((e: Error) => e.message));
      assert.match(
        gone,
        /"code":11,"msg":"The API server cannot be asked: GET https:\/\/localhost/,
      );
      assert.not.match(gone + runtime.log, new RegExp(api.token));
      assert.not.match(meshed.netns.saved("nft"), "-A PROXY_INIT");
      await runtime.del(meshed);
    }),
);

testUnless(MISSING, test, "the executable needs no Node and no libatomic", () => {
  const { status, stdout } = spawnSync(built.path, [], {
    input: '{"cniVersion":"1.1.0"}',
    env: { CNI_COMMAND: "VERSION", PATH: "/nonexistent" },
    encoding: "utf8",
  });
  assert.is(status, 0);
  assert.ok(JSON.parse(stdout).supportedVersions.includes("1.1.0"));
  if (process.arch === "x64") assert.not(built.needsLibatomic);
});

test.run();
