// Finds the API server and who we are there: a kubeconfig that is named, else the pod's service account,
// else `KUBECONFIG`, else `~/.kube/config`. One line says what was looked for when there is none.

import { errorText } from "../../core/errors.ts";
import { type KubeApi, kubeApi, type KubeHttp } from "./api.ts";
import { type CredentialHost, credentialsOf } from "./credentials.ts";
import { type ClusterAccess, inCluster, readKubeconfig } from "./kubeconfig.ts";

/** Variables that say where the API server is, and in which pod we are. */
export const KUBE_ENV = [
  "KUBERNETES_SERVICE_HOST",
  "KUBERNETES_SERVICE_PORT",
  "KUBECONFIG",
  "HOME",
  "HOSTNAME",
] as const;

const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

/** What is needed of the machine. */
export interface KubeHost extends CredentialHost {
  readonly env: ReadonlyMap<string, string>;
  resolve(folder: string, path: string): string;
  folderOf(path: string): string;
  connect(options: {
    readonly ca?: string;
    readonly serverName?: string;
    readonly certificate?: { readonly cert: string; readonly key: string };
  }): KubeHttp;
}

/** A client of the API server, and its address for people. Rejects with one line. */
export async function openKube(
  chosen: { readonly kubeconfig: string | null; readonly context: string | null },
  host: KubeHost,
): Promise<{ readonly api: KubeApi; readonly server: string }> {
  const access = await find(chosen, host);
  const { server, serverName } = access;
  const ca = access.ca.data ??
    (access.ca.file === null ? null : text(await host.read(access.ca.file, MAX_CONFIG_BYTES)));
  const connector = {
    server,
    connect: (certificate: { readonly cert: string; readonly key: string } | null) =>
      host.connect({
        ...(ca === null ? {} : { ca }),
        ...(serverName === "" ? {} : { serverName }),
        ...(certificate === null ? {} : { certificate }),
      }),
  };
  return { api: kubeApi(connector, credentialsOf(access.user, host)), server };
}

async function find(
  { kubeconfig, context }: { readonly kubeconfig: string | null; readonly context: string | null },
  host: KubeHost,
): Promise<ClusterAccess> {
  if (kubeconfig !== null) return await read(kubeconfig, context, host);
  const address = host.env.get("KUBERNETES_SERVICE_HOST");
  if (address !== undefined && address !== "" && context === null) {
    return inCluster(address, host.env.get("KUBERNETES_SERVICE_PORT") ?? "443");
  }
  // As kubectl, which merges several: the first that is there is read here.
  const named = (host.env.get("KUBECONFIG") ?? "").split(":").filter((path) => path !== "");
  const home = host.env.get("HOME");
  const paths = named.length > 0 || home === undefined ? named : [`${home}/.kube/config`];
  let why = "neither KUBECONFIG nor HOME is set";
  for (const path of paths) {
    try {
      return await read(path, context, host);
    } catch (e) {
      why = errorText(e);
    }
  }
  throw new Error(
    `There is no API server to read: this is no pod (KUBERNETES_SERVICE_HOST), and ${why}`,
  );
}

async function read(path: string, context: string | null, host: KubeHost): Promise<ClusterAccess> {
  const full = host.resolve(".", path);
  const folder = host.folderOf(full);
  const resolve = (inside: string) => host.resolve(folder, inside);
  return readKubeconfig({
    text: text(await host.read(full, MAX_CONFIG_BYTES)),
    path,
    context,
    resolve,
  });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
