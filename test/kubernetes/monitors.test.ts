// The rendered ServiceMonitor and PodMonitor against a real API server that has their kinds.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { controlPlaneObjects } from "../../src/install/render.ts";
import { DEFAULT_VALUES } from "../../src/install/values.ts";
import { testUnless } from "../support/skip.ts";
import { type KubeObject, NO_CLUSTER, RealCluster } from "./real-cluster.ts";

const labelsOf = ({ metadata }: KubeObject) =>
  (metadata["labels"] ?? {}) as Readonly<Record<string, string>>;

/** The Prometheus operator's, as far as we use them: a field that it does not have is refused. */
function monitorCrd(kind: string, endpoints: string): KubeObject {
  const plural = `${kind.toLowerCase()}s`;
  const text = { type: "string" };
  const map = { type: "object", additionalProperties: text };
  const list = (items: unknown) => ({ type: "array", items });
  const of = (properties: unknown, required: string[] = []) => ({
    type: "object",
    properties,
    ...(required.length === 0 ? {} : { required }),
  });
  const openAPIV3Schema = of({
    spec: of({
      [endpoints]: list(of({ port: text, path: text, interval: text })),
      namespaceSelector: of({ any: { type: "boolean" }, matchNames: list(text) }),
      selector: of({ matchLabels: map }),
    }, [endpoints, "selector"]),
  }, ["spec"]);
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.monitoring.coreos.com`,
      annotations: { "api-approved.kubernetes.io": "unapproved, a test's" },
    },
    spec: {
      group: "monitoring.coreos.com",
      scope: "Namespaced",
      names: { kind, plural, singular: kind.toLowerCase() },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema } }],
    },
  };
}

testUnless(
  NO_CLUSTER,
  test,
  "monitors are what the Prometheus operator's kinds take, and select what is there",
  async () => {
    await using cluster = await RealCluster.start();
    await cluster.apply(monitorCrd("ServiceMonitor", "endpoints"));
    await cluster.apply(monitorCrd("PodMonitor", "podMetricsEndpoints"));
    const values = { ...DEFAULT_VALUES, serviceMonitor: { enabled: true, interval: "7s" } };
    const all = controlPlaneObjects({
      values,
      anchorsSha256: "",
      overrides: "{}",
    }) as unknown as readonly KubeObject[];
    await cluster.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "linkerd" } });
    const monitors = all.filter((o) => o.apiVersion === "monitoring.coreos.com/v1");
    assert.equal(monitors.map((o) => o.kind).sort(), ["PodMonitor", "ServiceMonitor"]);
    for (const monitor of monitors) {
      const first = await cluster.apply(monitor);
      assert.equal(await cluster.apply(monitor), first);
    }
    const wrong = { ...monitors[0]!, spec: { ...monitors[0]!.spec as object, endpoint: [] } };
    await cluster.apply(wrong).then(() => assert.unreachable(), (e) => {
      assert.match(String(e), /endpoint/);
    });
    // The Services that a ServiceMonitor selects have the ports that it scrapes.
    const monitor = monitors.find((o) => o.kind === "ServiceMonitor")!.spec as {
      selector: { matchLabels: Record<string, string> };
      endpoints: { port: string; interval: string }[];
    };
    const selected = all.filter((o) =>
      o.kind === "Service" &&
      Object.entries(monitor.selector.matchLabels).every(([k, v]) => labelsOf(o)[k] === v)
    );
    const ports = selected.flatMap((o) => (o.spec as { ports: { name: string }[] }).ports);
    for (const { port, interval } of monitor.endpoints) {
      assert.is(interval, "7s");
      assert.ok(ports.some(({ name }) => name === port), port);
    }
  },
);

test.run();
