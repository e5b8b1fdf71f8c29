// The CNI plugin's manifests against a real API server: taken twice without a change, and their account
// is enough for plugin and repair controller, and for no more.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { kubeconfigText } from "../../src/cni/kubeconfig.ts";
import { cniObjects } from "../../src/install/cni.ts";
import { DEFAULT_VALUES } from "../../src/install/values.ts";
import { type KubeObject, NO_CLUSTER, RealCluster } from "./real-cluster.ts";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const RUNTIME = process.versions.deno === undefined
  ? [process.execPath, "--disable-warning=ExperimentalWarning"]
  : [process.execPath, "run", "-A", "--no-prompt"];
const PODS = "/api/v1/namespaces/shop/pods";
const missing = NO_CLUSTER;
let api: RealCluster;
let dir: string;
/** The account's, as the installer writes it. */
let kubeconfig: string;
let token: string;

const objects = cniObjects(DEFAULT_VALUES) as unknown as readonly KubeObject[];

test.before(async () => {
  if (missing !== null) return;
  api = await RealCluster.start();
  dir = await mkdtemp(join(tmpdir(), "tulle-cni-"));
  for (const object of objects) await api.apply(object);
  await api.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  const { json } = await api.call(
    "POST",
    "/api/v1/namespaces/linkerd-cni/serviceaccounts/linkerd-cni/token",
    {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { expirationSeconds: 3600 },
    },
  );
  token = json.status.token as string;
  const { hostname: host, port } = new URL(api.url);
  kubeconfig = join(dir, "kubeconfig");
  await writeFile(kubeconfig, kubeconfigText({ host, port, token, ca: api.ca }), { mode: 0o600 });
});
test.after(async () => {
  if (missing !== null) return;
  await api[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

function tulle(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const [file = "", ...rest] = [...RUNTIME, "src/cli/main.ts", command, ...args];
  const child = spawn(file, rest, { cwd: ROOT, env: { ...process.env, ...env } });
  const output = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => output.out += text);
  child.stderr.setEncoding("utf8").on("data", (text: string) => output.err += text);
  return { child, output };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "close");
}

async function until(what: string, holds: () => Promise<boolean>, say: () => string) {
  for (let i = 0; i < 600; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`never: ${what}\n${say()}`);
}

/** A pod on `node-1` that is meshed; `controlled` by a ReplicaSet. */
async function makePod(name: string, controlled: boolean): Promise<void> {
  const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "u-1" };
  const made = await api.call("POST", PODS, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      labels: { "linkerd.io/control-plane-ns": "linkerd" },
      ...(controlled ? { ownerReferences: [{ ...owner, controller: true }] } : {}),
    },
    spec: {
      nodeName: "node-1",
      containers: [{ name: "app", image: "app" }, { name: "linkerd-proxy", image: "proxy" }],
      initContainers: [{ name: "linkerd-network-validator", image: "proxy" }],
    },
  });
  assert.is(made.status, 201, JSON.stringify(made.json));
}

/** What a kubelet says of a validator that found no rules. */
async function failValidator(name: string): Promise<void> {
  const state = { terminated: { exitCode: 95, reason: "Error" } };
  const { status, json } = await api.call("PATCH", `${PODS}/${name}/status`, {
    status: {
      initContainerStatuses: [{
        name: "linkerd-network-validator",
        image: "proxy",
        imageID: "",
        ready: false,
        restartCount: 1,
        lastState: state,
        state: { waiting: { reason: "CrashLoopBackOff" } },
      }],
    },
  }, { type: "application/strategic-merge-patch+json" });
  assert.is(status, 200, JSON.stringify(json));
}

testUnless(missing, test, "the manifests are taken again without a change", async () => {
  const seen = async () => {
    const versions: string[] = [];
    for (const object of objects) {
      const { metadata } = await api.apply(object);
      versions.push(`${object.kind} ${metadata.name} ${metadata.resourceVersion}`);
    }
    return versions;
  };
  const before = await seen();
  assert.equal(await seen(), before);
});

testUnless(missing, test, "the plugin learns of its pod with that account", async () => {
  await makePod("seen", true);
  const { child, output } = tulle("cni", [], {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/run/netns/none",
    CNI_IFNAME: "eth0",
    CNI_ARGS: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=seen",
  });
  child.stdin.end(JSON.stringify({
    cniVersion: "1.0.0",
    name: "pods",
    type: "linkerd-cni",
    kubernetes: { kubeconfig },
    // so that it needs no network namespace: what it would write is said
    linkerd: { simulate: true, "proxy-uid": 2102 },
  }));
  await ended(child);
  assert.is(child.exitCode, 0, output.out + output.err);
  assert.match(output.err, "--to-port 4143");
});

testUnless(missing, test, "pods that started before the plugin are repaired", async () => {
  await makePod("broken", true);
  await makePod("bare", false);
  await makePod("fine", true);
  const port = await freePort();
  const { child, output } = tulle("cni-repair", [
    ...["--node-name=node-1", "--controller-pod-name=linkerd-cni-x"],
    ...[`--kubeconfig=${kubeconfig}`, `--admin-addr=127.0.0.1:${port}`],
  ]);
  const say = () => output.out + output.err;
  const page = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => null);
    return { status: answer?.status ?? 0, text: await answer?.text() ?? "" };
  };
  try {
    await until("it is ready", async () => (await page("/ready")).status === 200, say);
    await failValidator("broken");
    await failValidator("bare");
    const pod = async (name: string) => (await api.call("GET", `${PODS}/${name}`)).status;
    await until("the pod is deleted", async () => await pod("broken") === 404, say);
    const events = async () => {
      const { json } = await api.call("GET", "/apis/events.k8s.io/v1/namespaces/shop/events");
      return (json.items as { regarding: { name: string }; reason: string; type: string }[])
        .map(({ regarding, reason, type }) => `${regarding.name} ${reason} ${type}`).sort();
    };
    await until("both events", async () => (await events()).length === 2, say);
    assert.equal(await events(), [
      "bare LinkerdCNINotConfigured Warning",
      "broken LinkerdCNINotConfigured Normal",
    ]);
    assert.is(await pod("bare"), 200);
    assert.is(await pod("fine"), 200);
    const { text } = await page("/metrics");
    assert.match(text, "linkerd_cni_repair_controller_pods_deleted_total 1\n");
    assert.match(text, "linkerd_cni_repair_controller_pods_left_total 1\n");
    assert.not.match(say(), /403|orbidden/);
  } finally {
    if (child.exitCode === null && child.pid !== undefined) process.kill(child.pid, "SIGTERM");
    await ended(child);
  }
});

testUnless(missing, test, "the account may nothing else", async () => {
  const may = async (method: "GET" | "POST" | "DELETE", path: string, body?: unknown) =>
    (await api.call(method, path, body, { token })).status !== 403;
  for (const path of ["/api/v1/pods", `${PODS}/fine`, "/api/v1/namespaces/shop"]) {
    assert.ok(await may("GET", path), path);
  }
  for (
    const path of [
      "/api/v1/secrets",
      "/api/v1/configmaps",
      "/api/v1/nodes",
      "/api/v1/services",
      "/api/v1/namespaces",
      "/api/v1/namespaces/default/services/other",
    ]
  ) assert.not(await may("GET", path), path);
  assert.not(await may("POST", PODS, { metadata: { name: "x" } }));
  assert.not(await may("DELETE", "/api/v1/namespaces/shop/configmaps/x"));
});

test.run();
