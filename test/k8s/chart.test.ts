// The Helm chart gives what `tulle install` gives: Helm itself renders it, and objects are compared.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parse, parseAllDocuments } from "yaml";
import { sha256Text, withCertificates } from "../../src/cli/install-certificates.ts";
import { readValues } from "../../src/control/injector/settings.ts";
import { controlPlaneObjects, toYaml } from "../../src/install/render.ts";
import { DEFAULT_VALUES, HA_OVERRIDES, type Values } from "../../src/install/values.ts";
import { chart, chartValues } from "../../tools/build-chart.ts";
import { testUnless } from "../support/skip.ts";

const CHART = fileURLToPath(new URL("../../k8s/chart", import.meta.url));
const helm = [
  fileURLToPath(new URL("../../.cache/helm/", import.meta.url)),
  ...(process.env.PATH ?? "").split(delimiter),
].map((folder) => join(folder, "helm")).find((path) => existsSync(path)) ?? null;
const missing = helm === null ? "helm is not built (tools/setup-helm)" : null;

interface Obj {
  kind: string;
  metadata: { name: string };
  data?: Record<string, string>;
}
type Tree = { [key: string]: unknown };

const dir = await mkdtemp(join(tmpdir(), "tulle-chart-"));
test.after(() => rm(dir, { recursive: true }));
const given = await withCertificates(DEFAULT_VALUES, Date.now());
const certificates = {
  identityTrustAnchorsPEM: given.identityTrustAnchorsPEM,
  identity: {
    issuer: {
      crtPEM: given.identity.issuer.crtPEM,
      keyPEM: given.identity.issuer.keyPEM,
    },
  },
  ...Object.fromEntries(
    (["proxyInjector", "profileValidator", "policyValidator"] as const).map((hook) => {
      const { crtPEM, keyPEM } = given[hook];
      return [hook, { crtPEM, keyPEM }];
    }),
  ),
};
const path = join(dir, "certificates.yaml");
await writeFile(path, JSON.stringify(certificates));

function template(...args: string[]) {
  const { stdout, stderr, status } = spawnSync(
    helm ?? "helm",
    ["template", "tulle", CHART, "-f", path, "--kube-version", "1.33.0", ...args],
    {
      encoding: "utf8",
      timeout: 50_000,
      maxBuffer: 64 * 1024 * 1024,
      env: { HOME: dir, PATH: "" },
    },
  );
  return { stdout, stderr: stderr.replaceAll("\n", " "), status };
}

/** By kind and name, since Helm sorts; without what the two sign differently. */
function byId(text: string): Record<string, Obj> {
  const same = text.replaceAll(/linkerd\/(cli|helm) /g, "linkerd/x ");
  return Object.fromEntries(
    parseAllDocuments(same).map((d) => d.toJS() as Obj | null).filter((o) => o !== null)
      .filter((o) => o.metadata.name !== "linkerd-config-overrides")
      .map((o) => [`${o.kind}/${o.metadata.name}`, o]),
  );
}

const HA = {
  ...HA_OVERRIDES,
  proxy: {
    ...DEFAULT_VALUES.proxy,
    resources: { ...DEFAULT_VALUES.proxy.resources, ...HA_OVERRIDES.proxy.resources },
  },
};
const VARIANTS: [name: string, args: string[], values: Partial<Values>][] = [
  ["the defaults", [], {}],
  ["highAvailability", ["--set", "highAvailability=true"], HA],
  ["cniEnabled", ["--set", "cniEnabled=true"], { cniEnabled: true }],
  ["cniEnabled and highAvailability", ["--set", "cniEnabled=true,highAvailability=true"], {
    ...HA,
    cniEnabled: true,
  }],
  [
    "policies and monitors",
    ["--set", "networkPolicy.enabled=true,serviceMonitor.enabled=true,serviceMonitor.interval=5s"],
    { networkPolicy: { enabled: true }, serviceMonitor: { enabled: true, interval: "5s" } },
  ],
  ...["proxyInit.mode", "proxyInit.iptablesMode"].flatMap((key) =>
    (["legacy", "auto", "nft"] as const).map((
      mode,
    ): [string, string[], Partial<Values>] => [`${key}=${mode}`, ["--set", `${key}=${mode}`], {
      proxyInit: { ...DEFAULT_VALUES.proxyInit, mode },
    }])
  ),
  [
    "other networks of probes and egress",
    [
      "--set",
      "policyController.probeNetworks={10.1.0.0/16,fd00::/8},egress.globalEgressNetworkNamespace=out",
    ],
    {
      policyController: { probeNetworks: ["10.1.0.0/16", "fd00::/8"] },
      egress: { globalEgressNetworkNamespace: "out" },
    },
  ],
  [
    "no networks of probes",
    ["--set-json", "policyController.probeNetworks=[]"],
    { policyController: { probeNetworks: [] } },
  ],
  [
    "names, ports and numbers",
    [
      "--set",
      "clusterDomain=example.org,proxy.ports.inbound=5143,controllerReplicas=2,proxy.uid=3000",
      "--set-string",
      "proxy.image.version=1.10,proxyInit.ignoreOutboundPorts=25",
    ],
    {
      clusterDomain: "example.org",
      identityTrustDomain: "example.org",
      controllerReplicas: 2,
      proxy: {
        ...DEFAULT_VALUES.proxy,
        uid: 3000,
        ports: { ...DEFAULT_VALUES.proxy.ports, inbound: 5143 },
        image: { ...DEFAULT_VALUES.proxy.image, version: "1.10" },
      },
      proxyInit: { ...DEFAULT_VALUES.proxyInit, ignoreOutboundPorts: "25" },
    },
  ],
];

for (const [name, args, values] of VARIANTS) {
  testUnless(missing, test, `helm template with ${name} gives what tulle install gives`, () => {
    const { stdout, stderr, status } = template(...args);
    assert.is(status, 0, stderr);
    const ours = { ...given, ...values } as Values;
    const expected = byId(toYaml(controlPlaneObjects({
      values: ours,
      anchorsSha256: sha256Text(given.identityTrustAnchorsPEM),
      overrides: "",
    })));
    const actual = byId(stdout);
    assert.equal(Object.keys(actual).sort(), Object.keys(expected).sort());
    for (const [id, object] of Object.entries(expected)) {
      if (id === "ConfigMap/linkerd-config") {
        const text = actual[id]!.data!.values!;
        assert.not.match(text, /PRIVATE KEY/);
        const read = readValues(text);
        const wanted = readValues(object.data!.values!);
        // requests of proxies are the installer's to raise in Helm: one values file has them all
        if (ours.highAvailability) {
          assert.equal({ ...read, proxy: null }, { ...wanted, proxy: null });
        } else assert.equal(read, wanted);
      } else assert.equal(actual[id], object, id);
    }
  });
}

testUnless(missing, test, "helm refuses names that are no values, and missing certificates", () => {
  assert.match(template("--set", "proxyInit.mod=nft").stderr, /proxyInit.*mod/);
  assert.match(template("--set", "proxyInit.mode=ebpf").stderr, /proxyInit.*mode/);
  const bare = template("--set", "identity.issuer.keyPEM=");
  assert.ok(bare.status !== 0);
  assert.match(bare.stderr, /identity\.issuer\.keyPEM is needed/);
});

test("values.yaml has the chart's defaults, each known to the schema", () => {
  const files = chart();
  assert.equal(parse(files["chart/values.yaml"]!), chartValues());
  const walk = (schema: Tree, values: Tree) => {
    for (const [key, value] of Object.entries(values)) {
      const of = (schema.properties as Tree)[key] as Tree;
      assert.ok(of !== undefined, key);
      if (of.type === "object") walk(of, value as Tree);
    }
  };
  walk(JSON.parse(files["chart/values.schema.json"]!), chartValues());
});

test("no mark is left in the chart's template", () => {
  assert.not.match(chart()["chart/templates/control-plane.yaml"]!, /ZZ|7700000/);
});

test.run();
