// `tulle cni-install` as a node's DaemonSet runs it, on real folders: what others do to them is undone,
// and stopping it leaves them as they were.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type TempDir, tempDir } from "../support/temp-dir.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const RUNTIME = process.versions.deno === undefined
  ? [process.execPath, "--disable-warning=ExperimentalWarning"]
  : [process.execPath, "run", "-A", "--no-prompt"];
const CONF = { cniVersion: "0.4.0", name: "pods", type: "bridge", bridge: "cni0" };
const PATIENCE_MS = 40_000;

interface Node {
  readonly dir: TempDir;
  readonly child: ChildProcess;
  readonly output: () => string;
}

async function startOn(dir: TempDir, env: Record<string, string> = {}): Promise<Node> {
  const [file = "", ...args] = [...RUNTIME, "src/cli/main.ts", "cni-install"];
  const child = spawn(file, args, {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH ?? "",
      HOME: process.env.HOME ?? "/",
      CONTAINER_MOUNT_PREFIX: dir.join("host"),
      CONTAINER_CNI_BIN_DIR: dir.join("image"),
      KUBE_TOKEN_FILE: dir.join("sa", "token"),
      KUBE_CA_FILE: dir.join("sa", "ca.crt"),
      KUBERNETES_SERVICE_HOST: "10.96.0.1",
      CNI_NETWORK_CONFIG:
        '{"type":"linkerd-cni","kubernetes":{"kubeconfig":"__KUBECONFIG_FILEPATH__"}}',
      ...env,
    },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (part: string) => text += part);
  }
  return await Promise.resolve({ dir, child, output: () => text });
}

async function makeFolders(dir: TempDir): Promise<void> {
  for (const path of ["host/etc/cni/net.d", "host/opt/cni/bin", "image", "sa"]) {
    await mkdir(dir.join(path), { recursive: true });
  }
  await writeFile(dir.join("image/linkerd-cni"), "ELF");
  await writeFile(dir.join("sa/token"), "one");
  await writeFile(dir.join("sa/ca.crt"), "PEM");
}

async function until(node: Node, what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!await holds().catch(() => false)) {
    if (Date.now() > end || node.child.exitCode !== null) {
      throw new Error(`${what}: not within ${PATIENCE_MS} ms\n${node.output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function stop({ child }: Node): Promise<number | null> {
  if (child.exitCode !== null || child.pid === undefined) return child.exitCode;
  const ended = once(child, "exit");
  process.kill(child.pid, "SIGTERM");
  await ended;
  return child.exitCode;
}

test("it waits, installs, mends, renews, and cleans up", async () => {
  await using dir = await tempDir("cni");
  await makeFolders(dir);
  const net = dir.join("host/etc/cni/net.d");
  const list = `${net}/10-pods.conflist`;
  const types = async () =>
    JSON.parse(await readFile(list, "utf8")).plugins.map((p: { type: string }) => p.type).join();
  const node = await startOn(dir);
  try {
    await until(node, "waits", () => Promise.resolve(node.output().includes("waits for one")));
    await writeFile(`${net}/10-pods.conf`, JSON.stringify(CONF));
    await until(node, "installs", async () => await types() === "bridge,linkerd-cni");
    await until(
      node,
      "removes the old file",
      async () => !(await readdir(net)).includes("10-pods.conf"),
    );
    const { mode } = await stat(`${net}/ZZZ-linkerd-cni-kubeconfig`);
    assert.is(mode & 0o777, 0o600);
    assert.is((await stat(dir.join("host/opt/cni/bin/linkerd-cni"))).mode & 0o777, 0o755);
    const kubeconfig = `${net}/ZZZ-linkerd-cni-kubeconfig`;
    assert.match(await readFile(list, "utf8"), '"/etc/cni/net.d/ZZZ-linkerd-cni-kubeconfig"');

    await writeFile(list, JSON.stringify({ name: "new", plugins: [{ type: "ptp" }] }));
    await until(node, "mends", async () => await types() === "ptp,linkerd-cni");
    await rm(list);
    await writeFile(`${net}/10-pods.conf`, JSON.stringify(CONF));
    await until(node, "takes it again", async () => await types() === "bridge,linkerd-cni");
    await rm(dir.join("host/opt/cni/bin/linkerd-cni"));
    await until(
      node,
      "puts the executable back",
      async () => (await stat(dir.join("host/opt/cni/bin/linkerd-cni"))).size === 3,
    );
    await writeFile(dir.join("sa/token"), "two");
    await until(node, "renews", async () => (await readFile(kubeconfig, "utf8")).includes('"two"'));

    assert.is(await stop(node), 0, node.output());
    assert.is(await types(), "bridge");
    assert.equal(await readdir(net), ["10-pods.conflist"]);
    assert.equal(await readdir(dir.join("host/opt/cni/bin")), []);
    assert.not.match(node.output(), /"two"|"one"/);
  } finally {
    await stop(node);
  }
});

test("asked to, it leaves everything behind", async () => {
  await using dir = await tempDir("cni");
  await makeFolders(dir);
  const list = dir.join("host/etc/cni/net.d/10-pods.conf");
  await writeFile(list, JSON.stringify(CONF));
  const node = await startOn(dir, { TULLE_CNI_ON_EXIT: "keep" });
  try {
    const text = () => readFile(list + "list", "utf8");
    await until(node, "installs", async () => (await text()).includes("linkerd-cni"));
    assert.is(await stop(node), 0, node.output());
    assert.match(await text(), "linkerd-cni");
  } finally {
    await stop(node);
  }
});

test("without a cluster it ends with one line", async () => {
  await using dir = await tempDir("cni");
  const node = await startOn(dir, { KUBERNETES_SERVICE_HOST: "" });
  try {
    if (node.child.exitCode === null) await once(node.child, "close");
    assert.is(node.child.exitCode, 64);
    assert.is(
      node.output().trim(),
      "tulle: KUBERNETES_SERVICE_HOST is not set: this is for a pod of a cluster",
    );
  } finally {
    await stop(node);
  }
});

test.run();
