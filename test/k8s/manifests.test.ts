import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseAllDocuments } from "yaml";
import { manifests } from "../../tools/build-manifests.ts";
import { DEFAULT_VALUES, HA_OVERRIDES } from "../../src/install/values.ts";
import { VALUE_ALIASES, VALUE_DOCS } from "../../src/install/value-docs.ts";
import { leaves } from "../../src/cli/install-values.ts";
import { VERSION } from "../../src/control/injector/values.ts";
import manifest from "../../package.json" with { type: "json" };
import { parseControlFlags } from "../../src/control/flags.ts";
import { parseInjectorFlags } from "../../src/control/injector/flags.ts";
import { DEFAULT_OPTIONS } from "../../src/control/options.ts";

interface Obj {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  spec?: {
    template?: { spec: PodSpec; metadata: { labels: Record<string, string> } };
    selector?: Record<string, string>;
    ports?: { targetPort: number | string }[];
    [key: string]: unknown;
  };
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[] }[];
  subjects?: { name: string }[];
  roleRef?: { kind: string; name: string };
  webhooks?: { clientConfig: { service: { name: string } }; failurePolicy: string }[];
}
interface PodSpec {
  serviceAccountName: string;
  containers: Container[];
  initContainers: Container[];
  volumes: { name: string }[];
}
interface Container {
  name: string;
  ports?: { name: string; containerPort: number }[];
  volumeMounts?: { name: string }[];
  args?: string[];
}

const objects = (path: string) =>
  parseAllDocuments(manifests()[path]!).map((d) => d.toJS() as Obj).filter((o) => o !== null);

for (const [path, text] of Object.entries(manifests())) {
  test(`k8s/${path} is what npm run build:manifests makes`, async () => {
    assert.is(await readFile(new URL(`../../k8s/${path}`, import.meta.url), "utf8"), text);
  });
}

test("each value has a sentence, and each sentence a value", () => {
  const paths = leaves(DEFAULT_VALUES as unknown as Record<string, unknown>);
  const covers = (doc: string, path: string) => path === doc || path.startsWith(doc + ".");
  for (const path of paths) {
    assert.ok(Object.keys(VALUE_DOCS).some((doc) => covers(doc, path)), `${path} has no sentence`);
  }
  for (const doc of [...Object.keys(VALUE_DOCS), ...Object.values(VALUE_ALIASES)]) {
    assert.ok(paths.some((path) => covers(doc, path)), `${doc} is no value`);
  }
  for (const path of leaves(HA_OVERRIDES as unknown as Record<string, unknown>)) {
    assert.ok(paths.includes(path), path);
  }
});

test("versions, networks and policies are those of the package and the control plane", () => {
  assert.is(VERSION, manifest.version);
  assert.is(DEFAULT_VALUES.clusterNetworks, DEFAULT_OPTIONS.clusterNetworks.join(","));
  assert.is(DEFAULT_VALUES.proxy.defaultInboundPolicy, DEFAULT_OPTIONS.defaultInboundPolicy);
  assert.is(DEFAULT_VALUES.controlPlaneNamespace, "linkerd");
  assert.is(DEFAULT_VALUES.proxyInit.mode, "nft");
});

for (const variant of ["control-plane", "control-plane-ha"]) {
  test(`in k8s/${variant} everything that is named is there`, () => {
    const all = objects(`${variant}/control-plane.yaml`);
    const names = all.map((o) => `${o.kind}/${o.metadata.namespace ?? ""}/${o.metadata.name}`);
    assert.is(new Set(names).size, names.length, "two objects have one name");
    const accounts = all.filter((o) => o.kind === "ServiceAccount").map((o) => o.metadata.name);
    const pods = all.flatMap((o) => o.spec?.template ?? []);
    assert.is(pods.length, 3);
    for (const { spec, metadata } of pods) {
      assert.ok(accounts.includes(spec.serviceAccountName), spec.serviceAccountName);
      const volumes = spec.volumes.map(({ name }) => name);
      assert.is(new Set(volumes).size, volumes.length);
      const containers = [...spec.initContainers, ...spec.containers];
      for (const c of containers) {
        for (const mount of c.volumeMounts ?? []) {
          assert.ok(volumes.includes(mount.name), mount.name);
        }
      }
      assert.ok(containers.some((c) => c.name === "linkerd-proxy"));
      const init = containers.find((c) => c.name === "linkerd-init")!;
      assert.ok(init.args!.includes("4567,4568,443,6443"), "past its proxy to the API server");
      // what a Service selects, listens
      for (const service of all.filter((o) => o.kind === "Service")) {
        const wanted = Object.entries(service.spec!.selector!);
        if (!wanted.every(([k, v]) => metadata.labels[k] === v)) continue;
        const open = spec.containers.flatMap((c) => c.ports ?? []);
        for (const { targetPort } of service.spec!.ports!) {
          assert.ok(
            open.some((p) => p.name === targetPort || p.containerPort === targetPort),
            `${service.metadata.name} ${targetPort}`,
          );
        }
      }
    }
    for (const binding of all.filter((o) => o.roleRef !== undefined)) {
      const { kind, name } = binding.roleRef!;
      assert.ok(all.some((o) => o.kind === kind && o.metadata.name === name), name);
      for (const subject of binding.subjects!) assert.ok(accounts.includes(subject.name));
    }
    const hooks = all.flatMap((o) => o.webhooks ?? []);
    assert.is(hooks.length, 3);
    for (const hook of hooks) {
      assert.ok(names.includes(`Service/linkerd/${hook.clientConfig.service.name}`));
      assert.is(hook.failurePolicy, variant === "control-plane" ? "Ignore" : "Fail");
    }
    assert.is(all.some((o) => o.kind === "PodDisruptionBudget"), variant !== "control-plane");
  });
}

test("each program of the control plane takes the arguments that it is given", () => {
  const all = objects("control-plane/control-plane.yaml");
  const app = (name: string) =>
    all.find((o) => o.kind === "Deployment" && o.metadata.name === `linkerd-${name}`)!
      .spec!.template!.spec.containers.find((c) => c.name === name)!;
  for (const name of ["identity", "destination"]) {
    const flags = parseControlFlags(app(name).args!)!;
    assert.is(flags.mesh.controlNamespace, "linkerd");
    assert.is(flags.source.kind, "kubernetes");
    assert.is(flags.serve!.includes("identity"), name === "identity");
    assert.is(flags.serve!.includes("policy"), name === "destination");
    const open = app(name).ports!.map((p) => p.containerPort);
    assert.ok(open.includes(flags.admin.port));
    assert.ok(open.includes(name === "identity" ? flags.identity.port : flags.destination.port));
  }
  const injector = parseInjectorFlags(app("proxy-injector").args!)!;
  assert.is(injector.listen.port, 8443);
});

test("no account may write but where it must, and none has everything", () => {
  for (const role of objects("control-plane/control-plane.yaml").filter((o) => o.rules)) {
    for (const rule of role.rules!) {
      for (const word of [...rule.verbs, ...rule.resources, ...rule.apiGroups]) {
        assert.is.not(word, "*", role.metadata.name);
      }
      const writes = rule.verbs.filter((verb) => !["get", "list", "watch"].includes(verb));
      if (writes.length === 0) continue;
      for (const resource of rule.resources) {
        assert.match(resource, /\/status$|^(events|leases|tokenreviews)$/, role.metadata.name);
      }
      assert.not(rule.resources.includes("secrets"));
    }
  }
});

test("no manifest in k8s/ has a key", () => {
  for (const [path, text] of Object.entries(manifests())) {
    assert.not.match(text, /PRIVATE KEY/);
    // the chart has places for them
    if (!path.startsWith("chart/")) assert.not.match(text, /key\.pem|tls\.key/);
  }
});

test.run();
