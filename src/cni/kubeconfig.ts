// What the plugin finds on its host: the kubeconfig by which it asks for pods, and its own part of a
// list. Text only; written by `installer.ts`.

import { errorText } from "../core/errors.ts";
import { KUBE_CONTEXT, PLUGIN_TYPE } from "./config.ts";
import type { JsonObject } from "./conflist.ts";

/** Who the plugin is to the API server. */
export interface PluginAccess {
  /** Address and port, as in `KUBERNETES_SERVICE_HOST` and `_PORT`. */
  readonly host: string;
  readonly port: string;
  readonly token: string;
  /** PEM. */
  readonly ca: string;
}

/** The kubeconfig, as JSON, which is YAML too. It holds the token: 0600. */
export function kubeconfigText({ host, port, token, ca }: PluginAccess): string {
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return JSON.stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{
        name: "local",
        cluster: { server, "certificate-authority-data": btoa(ca) },
      }],
      users: [{ name: "linkerd-cni", user: { token } }],
      contexts: [{ name: KUBE_CONTEXT, context: { cluster: "local", user: "linkerd-cni" } }],
      "current-context": KUBE_CONTEXT,
    },
    null,
    2,
  ) + "\n";
}

/**
 * The plugin's part of a list from the installation's template, whose placeholders are Linkerd's. A
 * token is never written into it: lists are for everybody to read. Throws one line.
 */
export function pluginObject(
  template: string,
  kubeconfig: string,
  { host, port }: { readonly host: string; readonly port: string },
): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(
      template.replaceAll("__KUBECONFIG_FILEPATH__", inJson(kubeconfig))
        .replaceAll("__KUBERNETES_SERVICE_HOST__", inJson(host))
        .replaceAll("__KUBERNETES_SERVICE_PORT__", inJson(port))
        .replaceAll("__SERVICEACCOUNT_TOKEN__", ""),
    );
  } catch (e) {
    throw new Error(`CNI_NETWORK_CONFIG is not JSON: ${errorText(e).split(",")[0]}`, { cause: e });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error("CNI_NETWORK_CONFIG is no object");
  }
  const { name: _name, cniVersion: _version, ...plugin } = value as JsonObject;
  if (plugin.type !== PLUGIN_TYPE) {
    throw new Error(`CNI_NETWORK_CONFIG: type is not ${PLUGIN_TYPE}`);
  }
  return plugin;
}

function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
