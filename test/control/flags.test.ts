import { test } from "uvu";
import * as assert from "uvu/assert";
import { readFile } from "node:fs/promises";
import { parseAllDocuments } from "yaml";
import { parseControlFlags, USAGE, UsageError } from "../../src/control/flags.ts";

const BASE = ["--folder", "mesh", "--state=state"];

test("parseControlFlags() fills in what is not given", () => {
  const flags = parseControlFlags(BASE);
  assert.equal(flags?.source, { kind: "folder", folder: "mesh" });
  assert.equal([flags?.state, flags?.logLevel], ["state", "info"]);
  assert.equal(flags?.serve, ["destination", "policy", "identity"]);
  assert.is(flags?.issuer, null);
  assert.equal(flags?.destination, { ip: "127.0.0.1", port: 8086 });
  assert.equal(flags?.identity, { ip: "127.0.0.1", port: 8080 });
  assert.is(flags?.mesh.trustDomain, "cluster.local");
  assert.ok(flags?.mesh.h2Upgrade);
});

test("parseControlFlags() reads a cluster as the source, and its mounts as the issuer", () => {
  const cluster = ["--source=kubernetes", "--state", "s"];
  const flags = parseControlFlags([...cluster, "--serve=identity"]);
  assert.equal(flags?.source, { kind: "kubernetes", kubeconfig: null, context: null });
  assert.equal(flags?.serve, ["identity"]);
  assert.equal(flags?.issuer, {
    dir: "/var/run/linkerd/identity/issuer",
    anchors: "/var/run/linkerd/identity/trust-roots/ca-bundle.crt",
  });
  const named = parseControlFlags([
    ...[...cluster, "--kubeconfig", "k", "--context", "c"],
    ...["--issuer", "i", "--trust-anchors", "t"],
  ]);
  assert.equal(named?.source, { kind: "kubernetes", kubeconfig: "k", context: "c" });
  assert.equal(named?.issuer, { dir: "i", anchors: "t" });
});

test("the manifests start the control plane with flags that it takes", async () => {
  const text = await readFile(
    new URL("../../k8s/control-plane/control-plane.yaml", import.meta.url),
    "utf8",
  );
  const serves: string[][] = [];
  for (const document of parseAllDocuments(text)) {
    const { containers = [] } = document.toJS()?.spec?.template?.spec ?? {};
    for (const { command, args, volumeMounts } of containers) {
      if (command?.[0] !== "/usr/lib/linkerd/tulle-control") continue;
      const flags = parseControlFlags(args);
      assert.is(flags?.source.kind, "kubernetes");
      serves.push([...flags?.serve ?? []]);
      // Everybody may write to an emptyDir, and such a state folder is refused: it is one inside.
      const mounts: string[] = volumeMounts.map((m: { mountPath: string }) => m.mountPath);
      assert.ok(mounts.some((path) => flags?.state.startsWith(`${path}/`)), flags?.state);
    }
  }
  assert.equal(serves, [["identity"], ["destination", "policy"]]);
});

test("parseControlFlags() takes every flag of the usage text", () => {
  const flags = parseControlFlags([
    ...BASE,
    ...[
      "--destination-listen",
      "[::1]:1",
      "--policy-listen",
      "127.1.2.3:2",
      "--identity-listen=0.0.0.0:3",
    ],
    ...[
      "--admin-listen",
      "10.0.0.1:4",
      "--allow-remote",
      "--log-level",
      "debug",
      "--no-h2-upgrade",
    ],
    ...["--cluster-domain", "a.b", "--control-namespace", "ns", "--trust-domain", "t.d"],
    ...["--filter-keys", "keys"],
    ...["--cluster-networks", "10.0.0.0/8,fd00::/8", "--default-inbound-policy", "deny"],
    ...["--probe-networks", "10.1.0.0/16", "--global-egress-network-namespace", "out"],
  ]);
  assert.equal(flags?.admin, { ip: "10.0.0.1", port: 4 });
  assert.is(flags?.filterKeys, "keys");
  assert.equal(flags?.mesh.clusterNetworks, ["10.0.0.0/8", "fd00::/8"]);
  assert.equal([flags?.mesh.defaultInboundPolicy, flags?.mesh.h2Upgrade], ["deny", false]);
  assert.equal([flags?.mesh.probeNetworks, flags?.mesh.egressNamespace], [["10.1.0.0/16"], "out"]);
  assert.equal(parseControlFlags([...BASE, "--probe-networks=none"])?.mesh.probeNetworks, []);
  for (const flag of USAGE.match(/--[a-z0-9-]+/g) ?? []) {
    if (["--folder", "--state"].includes(flag)) continue;
    try {
      parseControlFlags([...BASE, flag]);
    } catch (e) {
      assert.not.match((e as Error).message, /Unknown/);
    }
  }
});

test("parseControlFlags() says what is wrong in one line that names the flag", () => {
  const cases: [string[], RegExp][] = [
    [["--folder", "x"], /--state is missing/],
    [[...BASE, "--folder", "y"], /--folder is given twice/],
    [[...BASE, "--kubeconfig", "k"], /--kubeconfig is not for --source folder/],
    [[...BASE, "--source", "kubernetes"], /--folder is not for --source kubernetes/],
    [[...BASE, "--source", "etcd"], /--source "etcd" is not one of folder, kubernetes/],
    [[...BASE, "--serve", "web"], /--serve "web" is not one of destination, policy, identity/],
    [[...BASE, "--issuer", "i"], /--issuer and --trust-anchors go together/],
    [[...BASE, "--nonsense"], /Unknown flag "--nonsense"/],
    [[...BASE, "stray"], /Unknown flag "stray"/],
    [["--folder", "--state", "x"], /--folder needs a value/],
    [[...BASE, "--log-level", "loud"], /--log-level "loud" is not one of trace, /],
    [[...BASE, "--admin-listen", "localhost:1"], /--admin-listen "localhost:1" is not an address/],
    [
      [...BASE, "--admin-listen", "0.0.0.0:1"],
      /--admin-listen 0\.0\.0\.0:1 is not loopback.*--allow-remote/,
    ],
    [[...BASE, "--cluster-networks", "10.0.0.0/99"], /--cluster-networks/],
    [[...BASE, "--probe-networks", "none,10.0.0.0/8"], /--probe-networks "none" is not a network/],
    [[...BASE, "--trust-domain", "a b"], /--trust-domain/],
    [[...BASE, "--default-inbound-policy", "open"], /--default-inbound-policy/],
  ];
  for (const [argv, why] of cases) {
    try {
      parseControlFlags(argv);
      assert.unreachable(argv.join(" "));
    } catch (e) {
      assert.instance(e, UsageError, argv.join(" "));
      assert.match((e as Error).message, why);
      assert.not((e as Error).message.includes("\n"));
    }
  }
  assert.is(parseControlFlags(["--help"]), null);
});

test.run();
