// How meshed pods begin and end: rules that are missing, a proxy that is no native sidecar, and Jobs,
// whose proxies end with them.

import process from "node:process";
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { NO_CLUSTER } from "../kubernetes/real-cluster.ts";
import { testUnless } from "../support/skip.ts";
import { InitFailed, type PlayOptions, type RunningPod } from "./kubelet.ts";
import { NO_PODS, objectsIn, PodMesh } from "./mesh.ts";
import type { Pod } from "./objects.ts";
import { ROOT, run } from "./podman.ts";
import { until } from "./suite.ts";

let made: Promise<PodMesh> | null = null;
const mesh = () =>
  made ??= PodMesh.start({ mode: "nft", image: "node" }).then(async (started) => {
    await started.namespace("shop", "client");
    return started;
  });
const check = (what: string, body: () => Promise<void>) => testUnless(NO_PODS, test, what, body);
test.after(async () => {
  await (await made?.catch(() => null))?.[Symbol.asyncDispose]();
});

/** The client's account, a command, and what else the pod is. */
const job = async (name: string, args: readonly string[], command = "/usr/local/bin/node") =>
  (await mesh()).pod(name, {
    namespace: "shop",
    account: "client",
    container: { command: [command], args },
  });

/** With the CNI plugin's validator in the place of the init container, by `tulle inject --manual`. */
async function validated(name: string, timeout: string, options: PlayOptions) {
  const m = await mesh();
  const pod = m.pod(name, { namespace: "shop", account: "client" });
  const flags = ["--set", "cniEnabled=true", "--set", `networkValidator.timeout=${timeout}`];
  const text = await m.injectManually(pod, ...flags);
  const [injected] = objectsIn(text);
  const containers = (injected as Pod).spec.initContainers?.map((c) => c.name);
  assert.equal(containers, ["linkerd-network-validator", "linkerd-proxy"]);
  return await m.kubelet.play(await m.registry.createPod(injected as Pod), options);
}

/** That the client in it was answered; what a container wrote last is there a little later. */
async function served(pod: RunningPod): Promise<void> {
  let logs = "";
  await until(
    async () => (logs = await pod.logs("app")).includes("}"),
    "the client says something",
  );
  assert.match(logs, /"status":200/);
}

check("a pod without rules is caught by the validator, before anything of it runs", async () => {
  const failed = await validated("without-rules", "2s", {}).then(() => null, (e: unknown) => e);
  assert.instance(failed, InitFailed);
  const { container, status, logs } = failed as InitFailed;
  assert.is(container, "linkerd-network-validator");
  assert.is(status, 95, logs);
  assert.match(logs, "Traffic is not redirected");
});

check("a pod whose rules something else wrote passes the validator, and is meshed", async () => {
  const pod = await validated("with-rules", "60s", {
    cni: async (pid) => {
      const init = [process.execPath, "src/cli/main.ts", "init", "-p", "4143", "-o", "4140"];
      const more = ["--proxy-uid", "2102", "--inbound-ports-to-ignore", "4190,4191"];
      const { status, stdout, stderr } = await run([
        ...["nsenter", "-t", `${pid}`, "-n", ...init, ...more, "--iptables-mode", "nft"],
      ]);
      assert.is(status, 0, stdout + stderr);
    },
  });
  assert.is(pod.isReady, true);
  const status = await readFile(`/proc/${(await pod.inspect("linkerd-proxy")).State.Pid}/status`);
  assert.match(status.toString(), /^CapEff:\t0{16}$/m);
  await pod.kill();
});

check("a Job ends, and its native sidecar ends in order when it is told", async () => {
  const m = await mesh();
  const pod = await m.mesh(
    await job("job-native", ["/apps/client.js", "http", `http://${m.outside.ip}:8080/`]),
    { ready: false },
  );
  assert.is(await pod.ended("app"), 0, await pod.logs("app"));
  await served(pod);
  // the kubelet's part, when every ordinary container has ended
  assert.is(await pod.exitCode("linkerd-proxy"), null);
  await pod.stopSidecars();
  assert.is(await pod.exitCode("linkerd-proxy"), 0, await pod.logs("linkerd-proxy"));
  await pod.kill();
});

check(
  "an ordinary sidecar is waited for by its hook, and starts before the application",
  async () => {
    const m = await mesh();
    const pod = await m.mesh(
      await job("ordinary", ["/apps/client.js", "http", `http://${m.outside.ip}:8080/`]),
      { flags: ["--native-sidecar", "false"], ready: false },
    );
    const { containers, initContainers = [] } = pod.pod.spec;
    assert.equal(initContainers.map((c) => c.name), ["linkerd-init"]);
    assert.equal(containers.map((c) => c.name), ["linkerd-proxy", "app"]);
    const hook = containers[0]?.lifecycle?.postStart?.exec.command ?? [];
    assert.is(hook[0], "/usr/lib/linkerd/linkerd-await");
    // The kubelet ran it and then the application, whose first request met a proxy that was ready.
    assert.is(await pod.ended("app"), 0, await pod.logs("app"));
    await served(pod);
    await pod.kill();
  },
);

check("a Job with an ordinary sidecar ends by itself with linkerd-await --shutdown", async () => {
  const m = await mesh();
  const url = `http://${m.outside.ip}:8080/`;
  const pod = await job("job-ordinary", [
    ...["--shutdown", `/usr/local/bin/node /apps/client.js http ${url}`],
  ], "/usr/lib/linkerd/linkerd-await");
  const annotations = { "config.linkerd.io/proxy-admin-shutdown": "enabled" };
  const running = await m.mesh(
    { ...pod, metadata: { ...pod.metadata, annotations } },
    { flags: ["--native-sidecar", "false"], ready: false },
  );
  assert.is(await running.ended("app"), 0, await running.logs("app"));
  // nobody tells the proxy anything but the application's own wrapper
  assert.is(await running.ended("linkerd-proxy"), 0, await running.logs("linkerd-proxy"));
  await running.kill();
});

check("the image has one shell-less program for each of Linkerd's names", async () => {
  const m = await mesh();
  for (
    const [name, says] of [
      ["linkerd2-proxy-init", /Usage|tulle init/],
      ["linkerd2-network-validator", /Usage|network-validator/],
      ["linkerd-await", /Usage|await/],
      ["tulle", /install/],
      ["tulle-control", /Usage: control/],
    ] as const
  ) {
    const { status, stdout, stderr } = await run([
      ...["podman", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL"],
      ...["--entrypoint", `/usr/lib/linkerd/${name}`, m.image, "--help"],
    ]);
    assert.is(status, 0, `${name}: ${stderr}`);
    assert.match(stdout, says, name);
  }
  assert.match(await readFile(`${ROOT}k8s/image/launch.js`, "utf8"), /^#!\/usr\/local\/bin\/node/);
});

// A folder of YAML, which stands for an API server where there is none, admits everything.
testUnless(
  NO_PODS ?? NO_CLUSTER,
  test,
  "an API server asks the destination pod, by its Service, who refuses what it cannot read",
  async () => {
    const { registry } = await mesh();
    const network = (name: string, except: string) => ({
      apiVersion: "policy.linkerd.io/v1alpha1",
      kind: "NetworkAuthentication",
      metadata: { name, namespace: "shop" },
      spec: { networks: [{ cidr: "10.0.0.0/8", except: [except] }] },
    });
    let said = "";
    const why =
      /"linkerd-policy-validator\.linkerd\.io" denied.*spec\.networks\[0\]\.except\[0\]: is not/;
    await until(async () => {
      said = await registry.apply(network("wrong", "11.0.0.0/16")).then(() => "taken", String);
      return why.test(said);
    }, "it is refused").catch((e) => assert.unreachable(`${e}: ${said}`));
    await registry.apply(network("right", "10.1.0.0/16"));
  },
);

test.run();
