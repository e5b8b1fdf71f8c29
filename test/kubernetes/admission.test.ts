// The validating webhooks behind a real API server: what is refused there, with what words, and what
// passes; the registrations are those of the manifests but for the address.

import { mkdir, writeFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { KubeError } from "../../src/control/k8s/api.ts";
import { parseControlFlags } from "../../src/control/flags.ts";
import { startControl } from "../../src/control/main.ts";
import { withCertificates } from "../../src/cli/install-certificates.ts";
import { createLogger } from "../../src/core/log.ts";
import { crds } from "../../src/install/crds.ts";
import { controlPlaneObjects } from "../../src/install/render.ts";
import { DEFAULT_VALUES } from "../../src/install/values.ts";
import { x509PemOf } from "../k8s/localhost-certificate.ts";
import { testUnless } from "../support/skip.ts";
import { type KubeObject, NO_CLUSTER, RealCluster } from "./real-cluster.ts";

const object = (apiVersion: string, kind: string, name: string, spec: unknown): KubeObject => ({
  ...{ apiVersion, kind, spec },
  metadata: { name, namespace: "shop" },
});
const POLICY = "policy.linkerd.io/v1alpha1";
const network = (name: string, except: string) =>
  object(POLICY, "NetworkAuthentication", name, {
    networks: [{ cidr: "10.0.0.0/8", except: [except] }],
  });
const profile = (name: string, pathRegex: string) =>
  object("linkerd.io/v1alpha2", "ServiceProfile", `${name}.shop.svc.cluster.local`, {
    routes: [{ name: "r", condition: { pathRegex } }],
  });
const limit = (name: string, identity: number) =>
  object(POLICY, "HTTPLocalRateLimitPolicy", name, {
    targetRef: { group: "policy.linkerd.io", kind: "Server", name: "web" },
    total: { requestsPerSecond: 10 },
    identity: { requestsPerSecond: identity },
  });

testUnless(
  NO_CLUSTER,
  test,
  "a real API server refuses what the control plane cannot read, in its words",
  async () => {
    await using cluster = await RealCluster.start();
    const values = await withCertificates(
      { ...DEFAULT_VALUES, webhookFailurePolicy: "Fail" },
      Date.now(),
    );
    const all = [
      ...crds("linkerd", "test"),
      ...controlPlaneObjects({ values, anchorsSha256: "", overrides: "{}" }),
    ] as unknown as KubeObject[];
    const hooks = all.filter((o) => o.kind === "ValidatingWebhookConfiguration");
    for (const o of all) if (!o.kind.endsWith("WebhookConfiguration")) await cluster.apply(o);
    const shop = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } };
    await cluster.apply(shop);

    const tls = await x509PemOf("localhost");
    await mkdir(cluster.file("tls"));
    await writeFile(cluster.file("tls/tls.crt"), tls.cert);
    await writeFile(cluster.file("tls/tls.key"), tls.key, { mode: 0o600 });
    await writeFile(cluster.file("token"), await cluster.token("linkerd", "linkerd-destination"));
    const lines: string[] = [];
    const flags = parseControlFlags([
      ...["--source=kubernetes", "--serve=destination,policy", "--state", cluster.file("state")],
      ...["--kubeconfig", await cluster.kubeconfig({ tokenFile: cluster.file("token") })],
      ...["destination", "policy", "identity", "admin", "sp-validator", "policy-validator"]
        .map((n) => `--${n}-listen=127.0.0.1:0`),
      ...["sp", "policy"].map((n) => `--${n}-validator-tls=${cluster.file("tls")}`),
    ]);
    assert.ok(flags !== null);
    const control = await startControl(
      flags,
      createLogger({ level: "info", format: "plain", wall: () => 0, write: (l) => lines.push(l) }),
    );
    try {
      assert.is(hooks.length, 2);
      for (const hook of hooks) {
        const [webhook] = hook["webhooks"] as { name: string }[];
        const name = webhook?.name.startsWith("linkerd-sp") ? "sp-validator" : "policy-validator";
        const port = control.ready.validators[name]?.split(":")[1];
        await cluster.apply({
          ...hook,
          webhooks: [{
            ...webhook,
            // Nothing routes a Service's address here.
            clientConfig: { url: `https://localhost:${port}/`, caBundle: btoa(tls.cert) },
          }],
        });
      }
      const refusal = async (object: KubeObject, dryRun = false): Promise<string> => {
        const path = await cluster.path(object);
        return await cluster.api.request({
          method: "PATCH",
          path: `${path}?fieldManager=test&force=true${dryRun ? "&dryRun=All" : ""}`,
          contentType: "application/apply-patch+yaml",
          body: object,
        }).then(() => "", (e: unknown) => {
          if (e instanceof KubeError) return e.message;
          throw e;
        });
      };
      // The API server learns of webhooks by a watch; each kind of object is refused by its own.
      const bad: [KubeObject, RegExp][] = [
        [
          network("wrong", "11.0.0.0/16"),
          /"linkerd-policy-validator\.linkerd\.io" denied.*spec\.networks\[0\]\.except\[0\]: is not inside/,
        ],
        [
          profile("wrong", "("),
          /"linkerd-sp-validator\.linkerd\.io" denied.*spec\.routes\[0\]\.condition\.pathRegex: /,
        ],
        [limit("wrong", 11), /spec\.identity: is over the total of 10/],
      ];
      for (const [object, why] of bad) {
        let said = "";
        for (let i = 0; i < 600 && !why.test(said); i++) {
          said = await refusal(object, true);
          if (said === "") await new Promise((again) => setTimeout(again, 100));
        }
        assert.match(said, why, object.kind);
        // And not only in a dry run.
        assert.match(await refusal(object), why, object.kind);
      }
      const good = [network("right", "10.1.0.0/16"), profile("right", "/cart"), limit("right", 5)];
      for (const object of good) {
        assert.is(await refusal(object, true), "", object.kind);
        assert.is(await refusal(object), "", object.kind);
      }
      // An update is asked about too, and what is there stays.
      assert.match(await refusal(limit("right", 12)), /spec\.identity: is over the total of 10/);
      const stored = await cluster.api.request({ path: await cluster.path(limit("right", 0)) });
      assert.is(
        (stored as { spec: { identity: { requestsPerSecond: number } } }).spec.identity
          .requestsPerSecond,
        5,
      );
      // Where a namespace says so, and in the control plane's own, nobody is asked.
      await cluster.apply({
        ...shop,
        metadata: {
          ...shop.metadata,
          labels: { "config.linkerd.io/admission-webhooks": "disabled" },
        },
      });
      let said = "-";
      for (let i = 0; i < 300 && said !== ""; i++) {
        said = await refusal(network("unasked", "11.0.0.0/16"));
        if (said !== "") await new Promise((again) => setTimeout(again, 100));
      }
      assert.is(said, "");
      assert.ok(lines.some((l) => /an object was refused.*spec\.identity/.test(l)));
      assert.not.match(lines.join("\n"), /answered 40[13]/);
    } finally {
      await control.close();
    }
  },
);

test.run();
