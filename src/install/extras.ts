// What an installation may have besides: NetworkPolicies and monitors.

import type { Manifest } from "../control/injector/containers.ts";
import { SERVICES } from "./control-services.ts";
import { namespaced } from "./meta.ts";
import type { Values } from "./values.ts";

/**
 * Ingress to the control plane's pods, by port. Everything else that arrives is dropped. Sources are
 * not named: proxies are in every namespace, and the API server and kubelets have no labels.
 */
export function networkPolicies(v: Values): Manifest[] {
  if (!v.networkPolicy.enabled) return [];
  return SERVICES.map(({ component, ports }) =>
    namespaced(
      v,
      "networking.k8s.io/v1",
      "NetworkPolicy",
      `linkerd-${component}`,
      component,
      {
        spec: {
          podSelector: { matchLabels: { "linkerd.io/control-plane-component": component } },
          policyTypes: ["Ingress"],
          ingress: [{
            ports: [...ports.map(({ port }) => port), v.proxy.ports.inbound, v.proxy.ports.admin]
              .map((port) => ({ port, protocol: "TCP" })),
          }],
        },
      },
    )
  );
}

/** For the Prometheus operator: the control plane's own metrics, and those of its proxies. */
export function monitors(v: Values): Manifest[] {
  if (!v.serviceMonitor.enabled) return [];
  const selector = { matchLabels: { "linkerd.io/control-plane-ns": v.controlPlaneNamespace } };
  const { interval } = v.serviceMonitor;
  const API = "monitoring.coreos.com/v1";
  return [
    namespaced(v, "v1", "Service", "linkerd-admin", "controller", {
      spec: {
        clusterIP: "None",
        ports: [9990, 9995, 9996].map((port) => ({
          name: `admin-${port}`,
          port,
          protocol: "TCP",
          targetPort: port,
        })),
        selector: { "linkerd.io/control-plane-ns": v.controlPlaneNamespace },
        type: "ClusterIP",
      },
    }),
    namespaced(v, API, "ServiceMonitor", "linkerd-control-plane", null, {
      spec: {
        endpoints: [9990, 9995, 9996].map((port) => ({ port: `admin-${port}`, interval })),
        namespaceSelector: { matchNames: [v.controlPlaneNamespace] },
        selector: { matchLabels: { "linkerd.io/control-plane-component": "controller" } },
      },
    }),
    namespaced(v, API, "PodMonitor", "linkerd-proxies", null, {
      spec: {
        namespaceSelector: { any: true },
        podMetricsEndpoints: [{ port: "linkerd-admin", interval }],
        selector,
      },
    }),
  ];
}
