// What `tulle install-cni` renders, against the programs that read it.

import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CNI_INSTALL_ENV, installPlan } from "../../src/cli/cni-install.ts";
import { cniRepairCommand } from "../../src/cli/cni-repair.ts";
import { repairOptions } from "../../src/cli/cni-repair-run.ts";
import { parseFlags } from "../../src/cli/flags.ts";
import { readConfig } from "../../src/cni/config.ts";
import { Field } from "../../src/control/field.ts";
import { cniObjects } from "../../src/install/cni.ts";
import { DEFAULT_VALUES, type Values } from "../../src/install/values.ts";

interface Container {
  name: string;
  image: string;
  command: string[];
  args?: string[];
  env: { name: string; value?: string; valueFrom?: { configMapKeyRef?: { key: string } } }[];
  securityContext: { capabilities?: { drop: string[]; add?: string[] }; privileged?: boolean };
  volumeMounts?: { mountPath: string }[];
}
interface Rule {
  apiGroups: string[];
  resources: string[];
  resourceNames?: string[];
  verbs: string[];
}

function rendered(change: Partial<Values["cni"]> = {}, more: Partial<Values> = {}) {
  const objects = cniObjects({
    ...DEFAULT_VALUES,
    ...more,
    cni: { ...DEFAULT_VALUES.cni, ...change },
  }) as { kind: string; data?: Record<string, string>; rules?: Rule[]; spec?: unknown }[];
  const of = (kind: string) => objects.find((o) => o.kind === kind)!;
  const { template } = of("DaemonSet").spec as {
    template: { spec: { containers: Container[]; hostNetwork: boolean } };
  };
  return { data: of("ConfigMap").data!, rules: of("ClusterRole").rules!, pod: template.spec };
}

test("the installer reads what the DaemonSet gives it, and the plugin what that writes", async () => {
  const { data, pod } = rendered({}, {
    disableIPv6: false,
    proxyInit: { ...DEFAULT_VALUES.proxyInit, skipSubnets: "10.0.0.0/8" },
  });
  const env = new Map([["KUBERNETES_SERVICE_HOST", "10.96.0.1"]]);
  for (const { name, value, valueFrom } of pod.containers[0]!.env) {
    assert.ok(name in CNI_INSTALL_ENV, `${name} is read by nobody`);
    env.set(name, value ?? data[valueFrom!.configMapKeyRef!.key]!);
  }
  const { plan, keep } = await installPlan(env, () => Promise.reject(new Error("no file")));
  assert.not(keep);
  const mounts = pod.containers[0]!.volumeMounts!.map((m) => m.mountPath);
  assert.ok(mounts.includes(plan.netDir), plan.netDir);
  assert.ok(mounts.some((path) => plan.executable.startsWith(`${path}/`)), plan.executable);
  const config = readConfig(new Field(plan.plugin, []));
  const { intercept } = config;
  assert.is(config.kubeconfig, "/etc/cni/net.d/ZZZ-linkerd-cni-kubeconfig");
  assert.is(config.mode, "nft");
  assert.ok(config.ipv6);
  assert.equal([intercept.inboundPort, intercept.outboundPort, intercept.proxyUid], [
    4143,
    4140,
    2102,
  ]);
  assert.equal(intercept.inboundIgnore.map(({ lo }) => lo), [4191, 4190, 4567, 4568]);
  assert.equal(intercept.subnetsIgnore, [{ family: "ipv4", cidr: "10.0.0.0/8" }]);
  assert.not.match(data.cni_network_config!, /token/i);
});

test("the repair controller takes what it is given", () => {
  const [, repair] = rendered().pod.containers;
  const env = new Map(repair!.env.map(({ name }) => [name, "node-1"]));
  const options = repairOptions(parseFlags(cniRepairCommand.flags, repair!.args!), env);
  assert.is(options.node, "node-1");
  assert.is(options.instance, "node-1");
});

test("each program is one of the image", async () => {
  const url = new URL("../../k8s/image/launch.js", import.meta.url);
  const launcher = await readFile(url, "utf8");
  for (const { command, image } of rendered().pod.containers) {
    const name = command[0]!.replace("/usr/lib/linkerd/", "");
    assert.match(launcher, `"${name}": [`);
    assert.match(image, /^tulle\/tulle-cni:\d/);
  }
});

test("no container has a capability, and the account may only what is used", () => {
  const { pod, rules } = rendered();
  assert.ok(pod.hostNetwork);
  for (const { securityContext, name } of pod.containers) {
    assert.equal(securityContext.capabilities?.drop, ["ALL"], name);
    assert.is(securityContext.capabilities?.add, undefined);
  }
  const may = (of: readonly Rule[]) =>
    of.flatMap(({ resources, verbs, resourceNames = [] }) =>
      resources.map((r) => `${[r, ...resourceNames].join("/")} ${verbs.join(",")}`)
    );
  assert.equal(may(rules), [
    "namespaces get",
    "pods get,list,watch,delete",
    "services/kubernetes get",
    "events create",
  ]);
  const without = rendered({ repairController: { enabled: false } });
  assert.equal(may(without.rules), ["namespaces get", "pods get", "services/kubernetes get"]);
  assert.equal(without.pod.containers.map((c) => c.name), ["install-cni"]);
});

test("values change what they say", () => {
  const { pod, data } = rendered({
    destCNIBinDir: "/home/kubernetes/bin",
    onExit: "keep",
    privileged: true,
    image: { name: "registry.example/cni", version: "1", pullPolicy: "Always" },
  });
  const [install] = pod.containers;
  assert.is(data.dest_cni_bin_dir, "/home/kubernetes/bin");
  assert.is(install!.image, "registry.example/cni:1");
  assert.ok(install!.securityContext.privileged);
  assert.is(install!.env.find((e) => e.name === "TULLE_CNI_ON_EXIT")!.value, "keep");
  assert.ok(install!.volumeMounts!.some((m) => m.mountPath === "/host/home/kubernetes/bin"));
});

test.run();
