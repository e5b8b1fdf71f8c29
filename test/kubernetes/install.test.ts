// What `tulle install` prints, against a real API server: taken with strict fields, unchanged by a
// second time, and a pod made there comes back injected by our webhook.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseAllDocuments } from "yaml";
import { x509PemOf } from "../k8s/localhost-certificate.ts";
import { type KubeObject, NO_CLUSTER, RealCluster } from "./real-cluster.ts";
import { testUnless } from "../support/skip.ts";
import { sha256Text, withCertificates } from "../../src/cli/install-certificates.ts";
import { parseInjectorFlags } from "../../src/control/injector/flags.ts";
import { parseControlFlags } from "../../src/control/flags.ts";
import { startControl } from "../../src/control/main.ts";
import { startInjector } from "../../src/control/injector/main.ts";
import { createLogger } from "../../src/core/log.ts";
import { cniObjects } from "../../src/install/cni.ts";
import { crds } from "../../src/install/crds.ts";
import { controlPlaneObjects } from "../../src/install/render.ts";
import { DEFAULT_VALUES, HA_OVERRIDES, type Values } from "../../src/install/values.ts";
import { manifests } from "../../tools/build-manifests.ts";

const missing = NO_CLUSTER;
let api: RealCluster;
let values: Values;

test.before(async () => {
  if (missing !== null) return;
  api = await RealCluster.start();
  const plain = DEFAULT_VALUES;
  values = await withCertificates({
    ...plain,
    ...HA_OVERRIDES,
    proxy: {
      ...plain.proxy,
      resources: { ...plain.proxy.resources, ...HA_OVERRIDES.proxy.resources },
    },
    networkPolicy: { enabled: true },
  }, Date.now());
});
test.after(async () => {
  if (missing === null) await api[Symbol.asyncDispose]();
});

const documents = (text: string) =>
  parseAllDocuments(text).map((d) => d.toJS() as KubeObject).filter((o) => o !== null);
const asObjects = (of: readonly unknown[]) => of as readonly KubeObject[];
const plane = (v: Values) =>
  asObjects(controlPlaneObjects({
    values: v,
    anchorsSha256: sha256Text(v.identityTrustAnchorsPEM),
    overrides: "{}",
  }));
/** What an apply changed: a status that a controller writes is none of ours. */
async function applyAll(objects: readonly KubeObject[]): Promise<string[]> {
  const seen: string[] = [];
  for (const object of objects) {
    const { metadata } = await api.apply(object);
    const version = object.kind === "CustomResourceDefinition"
      ? metadata.generation
      : metadata.resourceVersion;
    seen.push(`${object.kind} ${metadata.name} ${version}`);
  }
  return seen;
}

testUnless(
  missing,
  test,
  "custom resources are taken, and taken again without a change",
  async () => {
    const objects = asObjects(crds("linkerd", "test"));
    for (const object of objects) await api.apply(object, api.api, { dryRun: true });
    const first = await applyAll(objects);
    assert.equal(await applyAll(objects), first);
    for (let i = 0; i < 300; i++) {
      const { json } = await api.call("GET", "/apis/tulle.dev/v1alpha1");
      if (json.resources?.some((r: { kind: string }) => r.kind === "WasmFilter")) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.unreachable("WasmFilters are not served");
  },
);

testUnless(
  missing,
  test,
  "the control plane is taken, and taken again without a change",
  async () => {
    const objects = plane(values);
    // the namespace first: a dry run makes none
    await api.apply(objects[0]!);
    for (const object of objects) await api.apply(object, api.api, { dryRun: true });
    const first = await applyAll(objects);
    assert.equal(await applyAll(objects), first);
    // nobody serves these here, and in HA nothing goes past them: test/kubernetes/admission.test.ts
    for (const { kind, metadata } of objects) {
      if (kind !== "ValidatingWebhookConfiguration") continue;
      const plural = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
      await api.call("DELETE", `${plural}/${metadata.name}`);
    }
    const cni = asObjects(cniObjects(values));
    const before = await applyAll(cni);
    assert.equal(await applyAll(cni), before);
  },
);

testUnless(missing, test, "the plain manifests in k8s/ are taken as they are", async () => {
  for (const [path, text] of Object.entries(manifests())) {
    if (path.endsWith("kustomization.yaml") || path.startsWith("chart/")) continue;
    for (const object of documents(text)) await api.apply(object, api.api, { dryRun: true });
  }
});

testUnless(missing, test, "the demo's objects fit the custom resources", async () => {
  await api.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  let taken = 0;
  for (const name of ["catalogue", "filters", "web", "vote", "load"]) {
    const path = new URL(`../../demo/mesh/${name}.yaml`, import.meta.url);
    for (const object of documents(await readFile(path, "utf8"))) {
      if (!/linkerd\.io|tulle\.dev/.test(object.apiVersion)) continue;
      await api.apply(object);
      taken++;
    }
  }
  assert.ok(taken > 5, `${taken}`);
});

testUnless(missing, test, "what does not fit a custom resource is refused", async () => {
  const table: [string, string, Record<string, unknown>][] = [
    ["policy.linkerd.io/v1beta3", "Server", { podSelector: {}, proxyProtocol: "HTTP/1" }],
    ["policy.linkerd.io/v1beta3", "Server", { podSelector: {}, port: 80, proxyProtocol: "HTTP/9" }],
    ["policy.linkerd.io/v1alpha1", "MeshTLSAuthentication", {}],
    ["tulle.dev/v1alpha1", "WasmFilter", {
      targetRef: { kind: "Service", name: "x" },
      module: { sha256: "short" },
    }],
    ["policy.linkerd.io/v1alpha1", "EgressNetwork", { trafficPolicy: "Maybe" }],
  ];
  for (const [apiVersion, kind, spec] of table) {
    const object = { apiVersion, kind, metadata: { name: "bad", namespace: "shop" }, spec };
    let refused = "";
    try {
      await api.apply(object);
    } catch (e) {
      refused = String(e);
    }
    assert.match(refused, / 422: /, kind);
  }
});

testUnless(
  missing,
  test,
  "a pod made through it comes back injected, by its own account",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "tulle-webhook-"));
    const put = (name: string, text: string) => writeFile(join(dir, name), text);
    // The API server would call the Service's address, and nothing routes that here: it is given a URL.
    const tls = await x509PemOf("localhost");
    await put("tls.crt", tls.cert);
    await put("tls.key", tls.key);
    await put("values", JSON.stringify(values));
    await put("anchors", values.identityTrustAnchorsPEM);
    await put("ca.crt", api.ca);
    const { json } = await api.call(
      "POST",
      "/api/v1/namespaces/linkerd/serviceaccounts/linkerd-proxy-injector/token",
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: 3600 },
      },
    );
    const { token } = json.status;
    await put("token", token);
    const injector = await startInjector(
      parseInjectorFlags([
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        `--values=${dir}/values`,
        `--anchors=${dir}/anchors`,
        `--tls=${dir}`,
        `--service-account=${dir}`,
      ])!,
      api.url,
      createLogger({ level: "off", format: "plain", wall: () => 0, write: () => {} }),
    );
    try {
      const hook = plane(values).find((o) => o.kind === "MutatingWebhookConfiguration")!;
      const [webhook] = hook.webhooks as { clientConfig: object }[];
      await api.call(
        "DELETE",
        `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${hook.metadata.name}`,
      );
      await api.apply({
        ...hook,
        webhooks: [{
          ...webhook,
          clientConfig: {
            url: `https://localhost:${injector.ready.webhook.split(":")[1]}/`,
            caBundle: btoa(tls.cert),
          },
        }],
      });
      await api.apply({
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: "shop", annotations: { "linkerd.io/inject": "enabled" } },
      });
      const pods = "/api/v1/namespaces/shop/pods";
      const make = (name: string, annotations: Record<string, string> = {}) =>
        api.call("POST", pods, {
          apiVersion: "v1",
          kind: "Pod",
          metadata: {
            name,
            annotations,
            ownerReferences: [
              {
                apiVersion: "apps/v1",
                kind: "StatefulSet",
                name: "db",
                uid: "u",
                controller: true,
              },
            ],
          },
          spec: {
            serviceAccountName: "db",
            containers: [{ name: "app", image: "app", ports: [{ containerPort: 5432 }] }],
          },
        });
      // the server learns of a webhook by a watch
      let made: { status: number; json: { spec?: { initContainers?: { name: string }[] } } };
      for (let i = 0;; i++) {
        made = await make(`web-${i}`);
        if (made.json.spec?.initContainers !== undefined || i > 200) break;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.is(made.status, 201, JSON.stringify(made.json).slice(0, 500));
      const { spec, metadata } = made.json as unknown as {
        spec: { initContainers: { name: string; restartPolicy?: string }[] };
        metadata: { annotations: Record<string, string>; labels: Record<string, string> };
      };
      assert.equal(spec.initContainers.map((c) => c.name), ["linkerd-init", "linkerd-proxy"]);
      assert.is(spec.initContainers[1]!.restartPolicy, "Always");
      assert.is(metadata.annotations["config.linkerd.io/opaque-ports"], "5432");
      assert.is(metadata.labels["linkerd.io/control-plane-ns"], "linkerd");
      assert.is(metadata.labels["linkerd.io/proxy-statefulset"], "db");
      const off = await make("off", { "linkerd.io/inject": "disabled" });
      assert.is(off.status, 201);
      assert.is(off.json.spec.initContainers, undefined);
      const service = await api.call("POST", "/api/v1/namespaces/shop/services", {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "db" },
        spec: { ports: [{ port: 5432 }] },
      });
      assert.is(service.json.metadata.annotations["config.linkerd.io/opaque-ports"], "5432");
      // both events, written with the injector's own rights
      const reasons = async () => {
        const { json } = await api.call("GET", "/api/v1/namespaces/shop/events");
        return json.items.map((e: { reason: string }) => e.reason) as string[];
      };
      for (let i = 0; i < 200; i++) {
        const seen = await reasons();
        if (seen.includes("Injected") && seen.includes("InjectionSkipped")) break;
        if (i === 199) assert.unreachable(`there are only events ${seen}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      // and no more rights than it needs
      for (
        const path of ["/api/v1/secrets", "/api/v1/namespaces", pods, "/apis/apps/v1/deployments"]
      ) {
        assert.is((await api.call("GET", path, undefined, { token })).status, 403, path);
      }
    } finally {
      await injector.close();
      await rm(dir, { recursive: true });
    }
  },
);

for (const name of ["identity", "destination"]) {
  testUnless(missing, test, `the ${name} service runs with its own account's rights`, async () => {
    const dir = await mkdtemp(join(tmpdir(), `tulle-${name}-`));
    const put = async (file: string, text: string) => {
      await writeFile(join(dir, file), text);
      return join(dir, file);
    };
    const { json } = await api.call(
      "POST",
      `/api/v1/namespaces/linkerd/serviceaccounts/linkerd-${name}/token`,
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: 3600 },
      },
    );
    const { token } = json.status;
    const kubeconfig = await put(
      "kubeconfig",
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
        clusters: [{
          name: "k",
          cluster: { server: api.url, "certificate-authority-data": btoa(api.ca) },
        }],
        users: [{ name: "u", user: { token } }],
      }),
    );
    await put("tls.crt", values.policyValidator.crtPEM);
    await put("tls.key", values.policyValidator.keyPEM);
    await put("crt.pem", values.identity.issuer.crtPEM);
    await put("key.pem", values.identity.issuer.keyPEM);
    // what its Deployment says, but for where this test has its files and ports
    const deployment = plane(values).find((o) =>
      o.metadata.name === `linkerd-${name}` && o.kind === "Deployment"
    )!;
    const { args } = (deployment.spec as {
      template: { spec: { containers: { name: string; args: string[] }[] } };
    }).template.spec.containers.find((c) => c.name === name)!;
    const flags = parseControlFlags([
      ...args.map((arg) => arg.replace(/-listen=.*/, "-listen=127.0.0.1:0"))
        .map((arg) => arg.replace(/-tls=.*/, `-tls=${dir}`))
        .filter((arg) => !arg.startsWith("--state=")),
      `--state=${dir}/state`,
      `--kubeconfig=${kubeconfig}`,
      ...(name === "identity"
        ? [
          `--issuer=${dir}`,
          `--trust-anchors=${await put("anchors", values.identityTrustAnchorsPEM)}`,
        ]
        : []),
    ])!;
    const lines: string[] = [];
    const control = await startControl(
      flags,
      createLogger({ level: "info", format: "plain", wall: () => 0, write: (l) => lines.push(l) }),
    );
    try {
      const said = lines.join("\n");
      assert.not.match(said, /403|orbidden/);
      if (name === "destination") {
        const metrics = await (await fetch(`http://${control.ready.admin}/metrics`)).text();
        assert.ok(metrics.length > 0);
      }
      for (const path of ["/api/v1/secrets", "/api/v1/namespaces/linkerd/secrets"]) {
        assert.is((await api.call("GET", path, undefined, { token })).status, 403, path);
      }
      const pods = await api.call("GET", "/api/v1/pods", undefined, { token });
      assert.is(pods.status, name === "destination" ? 200 : 403);
      const review = await api.call(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenReview",
          spec: { token, audiences: ["identity.l5d.io"] },
        },
        { token },
      );
      assert.is(review.status, name === "identity" ? 201 : 403);
    } finally {
      await control.close();
      await rm(dir, { recursive: true });
    }
  });
}

test.run();
