import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseAllDocuments } from "yaml";
import { COMMANDS, runTulle } from "../../src/cli/main.ts";
import { fakeTerminal } from "./fake-terminal.ts";

interface Obj {
  kind: string;
  metadata: { name: string; namespace?: string };
  data?: Record<string, string>;
  spec?: {
    replicas?: number;
    template?: {
      spec: {
        initContainers: { args: string[] }[];
        containers: { name: string; args: string[] }[];
      };
    };
  };
}
const dir = await mkdtemp(join(tmpdir(), "tulle-install-"));
test.after(() => rm(dir, { recursive: true }));

async function tulle(...argv: string[]) {
  const terminal = fakeTerminal();
  const status = await runTulle(argv, COMMANDS, terminal);
  const text = terminal.raw.join("");
  return { status, text, error: terminal.stderr.join("\n") };
}
const objects = (text: string) =>
  parseAllDocuments(text).map((d) => d.toJS() as Obj).filter((o) => o !== null);
const find = (text: string, kind: string, name: string) =>
  objects(text).find((o) => o.kind === kind && o.metadata.name === name)!;
const decode = (text: string | undefined) => atob(text ?? "");
const file = async (name: string, text: string) => {
  await writeFile(join(dir, name), text);
  return join(dir, name);
};
const initArgs = (text: string) =>
  find(text, "Deployment", "linkerd-destination").spec!.template!.spec.initContainers[0]!.args;

test("install makes one certificate that is trust anchor and issuer, and those of webhooks", async () => {
  const { status, text } = await tulle("install");
  assert.is(status, 0);
  const anchors = find(text, "ConfigMap", "linkerd-identity-trust-roots").data!["ca-bundle.crt"]!;
  const issuer = find(text, "Secret", "linkerd-identity-issuer").data!;
  assert.is(decode(issuer["crt.pem"]), anchors);
  const ca = new X509Certificate(anchors);
  assert.ok(ca.ca);
  assert.is(ca.subject, "CN=identity.linkerd.cluster.local");
  for (const service of ["proxy-injector", "sp-validator", "policy-validator"]) {
    const hook = find(text, "Secret", `linkerd-${service}-k8s-tls`).data!;
    assert.is(
      new X509Certificate(decode(hook["tls.crt"])).subjectAltName,
      `DNS:linkerd-${service}.linkerd.svc`,
    );
  }
  const values = find(text, "ConfigMap", "linkerd-config").data!.values!;
  assert.not.match(values, /PRIVATE KEY/);
  assert.match(decode(issuer["key.pem"]), /BEGIN PRIVATE KEY/);
});

test("proxyInit.mode and proxyInit.iptablesMode are one value, nft unless set", async () => {
  const nft = initArgs((await tulle("install", "--set", "proxyInit.mode=nft")).text);
  assert.equal(nft, initArgs((await tulle("install")).text));
  assert.equal(nft.slice(0, 2), ["--firewall-bin-path", "iptables-nft"]);
  for (const key of ["proxyInit.mode", "proxyInit.iptablesMode"]) {
    const args = initArgs((await tulle("install", "--set", `${key}=legacy`)).text);
    assert.is(args[0], "--ipv6=false");
  }
  const path = await file("mode.yaml", "proxyInit:\n  iptablesMode: auto\n");
  const args = initArgs((await tulle("install", "-f", path)).text);
  assert.equal(args.slice(0, 2), ["--iptables-mode", "auto"]);
});

test("networks of probes and the namespace of egress reach the control plane's command line", async () => {
  const given = async (...more: string[]) => {
    const { text } = await tulle("install", ...more);
    const plane = find(text, "Deployment", "linkerd-destination").spec?.template?.spec.containers;
    const args = plane?.find(({ name }) => name === "destination")?.args ?? [];
    return args.filter((arg) => /^--(probe|global)-/.test(arg)).map((arg) => arg.split("=")[1]);
  };
  assert.equal(await given(), ["0.0.0.0/0,::/0", "linkerd-egress"]);
  const set = [
    ...["--set", "policyController.probeNetworks={10.1.0.0/16,fd00::/8}"],
    ...["--set", "egress.globalEgressNetworkNamespace=out"],
  ];
  assert.equal(await given(...set), ["10.1.0.0/16,fd00::/8", "out"]);
  const none = await file("none.yaml", "policyController: { probeNetworks: [] }\n");
  assert.equal(await given("-f", none), ["none", "linkerd-egress"]);
});

test("--set wins over files, files over --ha, --ha over defaults", async () => {
  const path = await file("replicas.yaml", "controllerReplicas: 5\nwebhookFailurePolicy: Ignore\n");
  const replicas = async (...more: string[]) =>
    find((await tulle("install", ...more)).text, "Deployment", "linkerd-identity").spec?.replicas;
  assert.is(await replicas(), 1);
  assert.is(await replicas("--ha"), 3);
  assert.is(await replicas("--ha", "-f", path), 5);
  assert.is(await replicas("--ha", "-f", path, "--set", "controllerReplicas=7"), 7);
});

test("what is not known is refused with the nearest name", async () => {
  const table: [string[], RegExp][] = [
    [
      ["--set", "proxyInit.mod=nft"],
      /there is no value "proxyInit.mod"\n.*Did you mean proxyInit.mode/,
    ],
    [["--set", "proxy.loglevel=debug"], /Did you mean proxy.logLevel/],
    [["--set", "logLevel=debug"], /Did you mean /],
    [["--set", "proxyInit.mode=ebpf"], /"ebpf" is not one of nft, legacy, plain, auto/],
    [["--set", "proxy=1"], /proxy is a group, not a value/],
    [["--set", "proxy.await=maybe"], /proxy.await "maybe" is no boolean/],
    [["--set", "proxy.ports.inbound=99999"], /inbound 99999 is not a whole number from 1 to 65535/],
    [["--set", "controllerReplicas=-3"], /controllerReplicas -3 is not a whole number/],
    [["--set", "nonsense"], /is not KEY=VALUE/],
    [["-f", join(dir, "gone.yaml")], /gone.yaml does not exist/],
    [["--set", "proxyInit.closeWaitTimeoutSecs=1"], /needs proxyInit.runAsRoot/],
    [
      ["--set", "policyController.probeNetworks={10.0.0.0/8,kubelet}"],
      /policyController.probeNetworks "kubelet" is no network/,
    ],
    [["--set", "policyController.probeNetworks=10.0.0.0/8"], /"10.0.0.0\/8" is no list/],
    [["-o", "xml"], /neither yaml nor json/],
    [["--set", "__proto__.x=1"], /there is no value/],
  ];
  for (const [argv, message] of table) {
    const { status, error, text } = await tulle("install", ...argv);
    assert.ok(status > 0, argv.join(" "));
    assert.match(error, message);
    assert.is(text, "");
  }
  const bad = await file("bad.yaml", "proxy:\n  - 1\n");
  const wrong = await tulle("install", "-f", bad);
  assert.match(wrong.error, /bad.yaml: proxy is a group/);
  assert.is(wrong.status, 64, "the file is wrong, not the command line");
  assert.match((await tulle("install", "-f", dir)).error, /^tulle: --values \S+ is a folder$/);
});

test("certificates that are given are checked before anything is printed", async () => {
  const { text } = await tulle("install");
  const issuer = find(text, "Secret", "linkerd-identity-issuer").data!;
  const crt = await file("crt.pem", decode(issuer["crt.pem"]));
  const key = await file("key.pem", decode(issuer["key.pem"]));
  const given = (anchors: string) => [
    "--set-file",
    `identity.issuer.crtPEM=${crt}`,
    "--set-file",
    `identity.issuer.keyPEM=${key}`,
    "--set-file",
    `identityTrustAnchorsPEM=${anchors}`,
  ];
  const good = await tulle("install", ...given(crt));
  assert.is(good.status, 0);
  assert.is(
    find(good.text, "Secret", "linkerd-identity-issuer").data!["crt.pem"],
    issuer["crt.pem"],
  );
  const other = find((await tulle("install")).text, "ConfigMap", "linkerd-identity-trust-roots");
  const foreign = await file("other.pem", other.data!["ca-bundle.crt"]!);
  assert.match(
    (await tulle("install", ...given(foreign))).error,
    /signed by none of the trust anch/,
  );
  assert.match(
    (await tulle("install", "--set-file", `identity.issuer.crtPEM=${crt}`)).error,
    /needs both crtPEM and keyPEM/,
  );
});

test("upgrade keeps certificates and what was set", async () => {
  const before = (await tulle("install", "--set", "proxyInit.mode=legacy", "--ha")).text;
  const path = await file("before.yaml", before);
  const { text, status } = await tulle("upgrade", "--from-manifests", path);
  assert.is(status, 0);
  assert.is(text, before);
  const after = await tulle("upgrade", "--from-manifests", path, "--set", "proxyInit.mode=nft");
  assert.is(initArgs(after.text)[0], "--firewall-bin-path");
  const other = await file("e.yaml", "kind: List\nitems: []\n");
  assert.match((await tulle("upgrade", "--from-manifests", other)).error, /no Secret/);
});

test("uninstall names what goes, and refuses while pods are meshed", async () => {
  const pods = await file(
    "pods.yaml",
    JSON.stringify({
      kind: "List",
      items: [{
        kind: "Pod",
        metadata: {
          name: "web",
          namespace: "shop",
          labels: { "linkerd.io/control-plane-ns": "linkerd" },
        },
      }],
    }),
  );
  assert.match(
    (await tulle("uninstall", "--from-manifests", pods)).error,
    /1 pod is meshed.*shop\/web/,
  );
  assert.match((await tulle("uninstall")).error, /--from-manifests is missing/);
  const { text } = await tulle("uninstall", "--force");
  const kinds = new Set(objects(text).map((o) => o.kind));
  assert.equal([...kinds].sort(), [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "Namespace",
    "ValidatingWebhookConfiguration",
  ]);
});

test("nothing, and what is no object, is what a failed kubectl pipes, and deletes nothing", async () => {
  for (const text of ["", "---\n# nothing\n", "hello\n", "- a\n", "error: no server\n"]) {
    const path = await file("none.yaml", text);
    for (const command of ["upgrade", "uninstall", "prune"]) {
      const done = await tulle(command, "--from-manifests", path);
      assert.is(done.status, 64, `${command}: ${text}`);
      assert.match(done.error, /none.yaml has no Kubernetes objects\n {2}Give what kubectl get/);
      assert.is(done.text, "", command);
    }
  }
  const alias = await file("alias.yaml", "kind: List\nitems: [*pods]\n");
  const loose = await tulle("prune", "--from-manifests", alias);
  assert.is(loose.status, 64);
  assert.match(loose.error, /^tulle: --from-manifests \S+alias.yaml is not YAML: .*pods$/);
  const name = "linkerd-config-overrides";
  const secret = await file(
    "secret.yaml",
    `kind: Secret\nmetadata: {name: ${name}}\ndata: {${name}: "%%"}\n`,
  );
  const odd = await tulle("upgrade", "--from-manifests", secret);
  assert.is(odd.status, 64);
  assert.is(odd.error, `tulle: ${name} of the Secret ${name} is not base64`);
  const gone = await tulle("uninstall", "--from-manifests", join(dir, "gone.yaml"));
  assert.match(gone.error, /gone.yaml does not exist$/);
  const empty = await file("empty.yaml", "kind: List\nitems: []\n");
  assert.is((await tulle("uninstall", "--from-manifests", empty)).status, 0, "no pods");
});

test("uninstall refuses what shows no pods, and says which object it is", async () => {
  const hint = "\n  Pipe in kubectl get pods -A -o yaml, or give --force";
  const shop = "metadata: {name: web, namespace: shop}";
  for (
    const [text, why] of [
      [
        `kind: Deployment\n${shop}\n`,
        `has no Pod to tell what is meshed, but Deployment shop/web${hint}`,
      ],
      [
        `kind: List\nitems:\n- kind: Service\n  ${shop}\n`,
        `has no Pod to tell what is meshed, but Service shop/web${hint}`,
      ],
      [
        "kind: DeploymentList\nitems: []\n",
        `has no Pod to tell what is meshed, but a DeploymentList${hint}`,
      ],
      ["kind: Foo\n", "has no metadata.name in document 1, a Foo"],
      [
        `kind: List\nitems:\n- kind: Pod\n  ${shop}\n- 7\n`,
        "has no object as item 2 of the List",
      ],
      [
        "kind: Status\nmetadata: {}\nmessage: pods is forbidden\n",
        'has no metadata.name in document 1, a Status: "pods is forbidden"',
      ],
      [`kind: List\nitems:\n- ${shop}\n`, "has no kind in item 1 of the List"],
      [
        "kind: Pod\nmetadata: {name: web, labels: [meshed]}\n",
        "has metadata.labels of Pod web that is not a map",
      ],
    ] as const
  ) {
    const path = await file("kinds.yaml", text);
    const done = await tulle("uninstall", "--from-manifests", path);
    assert.equal([done.status, done.text], [64, ""], text);
    assert.is(done.error, `tulle: --from-manifests ${path} ${why}`);
  }
  // As the API server lists them, and kubectl get all.
  for (
    const text of [
      "kind: PodList\nitems: []\n",
      `kind: PodList\nitems:\n- ${shop}\n`,
      `kind: List\nitems:\n- {kind: Pod, ${shop}}\n- {kind: Service, ${shop}}\n`,
    ]
  ) {
    const path = await file("kinds.yaml", text);
    assert.is((await tulle("uninstall", "--from-manifests", path)).status, 0, text);
  }
});

test("prune names what this version would not install", async () => {
  const { text } = await tulle("install", "--ha");
  const old = {
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: {
      name: "linkerd-heartbeat",
      namespace: "linkerd",
      labels: { "linkerd.io/control-plane-ns": "linkerd" },
    },
  };
  const path = await file("cluster.yaml", `${text}---\n${JSON.stringify(old)}\n`);
  const same = await tulle("prune", "--ha", "--from-manifests", path);
  assert.equal(objects(same.text).map((o) => o.metadata.name), ["linkerd-heartbeat"]);
  const without = await tulle("prune", "--from-manifests", path);
  assert.ok(objects(without.text).some((o) => o.kind === "PodDisruptionBudget"));
});

test("install-cni and install --crds print what they are asked for", async () => {
  const printed = await tulle("install-cni", "--set", "proxyInit.mode=legacy");
  assert.is(printed.error, "");
  const cni = objects(printed.text);
  assert.ok(cni.some((o) => o.kind === "DaemonSet"));
  const config = cni.find((o) => o.kind === "ConfigMap")!.data!.cni_network_config!;
  assert.is(JSON.parse(config).linkerd["iptables-mode"], "legacy");
  const crds = objects((await tulle("install", "--crds")).text);
  assert.ok(crds.every((o) => o.kind === "CustomResourceDefinition"));
  assert.ok(crds.some((o) => o.metadata.name === "wasmfilters.tulle.dev"));
  const list = JSON.parse((await tulle("install", "--crds", "-o", "json")).text);
  assert.is(list.items.length, crds.length);
});

test.run();
