// The demo's processes as values: which pods there are, with which addresses, environment and
// rights. `demo-processes.ts` starts them.

import { join } from "node:path";
import type { ChildPlan, ChildRights } from "../runtime/children.ts";
import { CARRIED_MODULES, DASHBOARD, type EntryName, entryPath } from "./entries.ts";
import { workloadIdentity } from "../model/identity.ts";

/** A pod of the demo: an application and its proxy on one loopback address. */
export interface DemoPod {
  readonly name: string;
  readonly app: "web" | "catalogue" | "vote" | "load";
  readonly ip: string;
  /** What `INBOUND_PORTS` says: the ports of its application. */
  readonly ports: readonly number[];
  /** What makes this replica special. */
  readonly appEnv: Readonly<Record<string, string>>;
}

/** What the control plane said when it was ready. */
export interface ControlAddresses {
  readonly destination: string;
  readonly policy: string;
  readonly identity: string;
  readonly admin: string;
  /** PEM text. */
  readonly trustAnchors: string;
}

/** The demo's folders, all inside one temporary folder. */
export interface DemoFolders {
  readonly root: string;
  /** The Kubernetes objects; edited by people. */
  readonly mesh: string;
  /** The filters' builds. */
  readonly modules: string;
  /** The control plane's own. */
  readonly state: string;
  /** One folder a pod. */
  readonly pods: string;
}

export const NAMESPACE = "shop";
export const CONTROL_NAMESPACE = "linkerd";
export const TRUST_DOMAIN = "cluster.local";
export const CLUSTER_DOMAIN = "cluster.local";
/** The network of `demo/mesh`; `--net` puts another in its place. */
export const DEFAULT_NET = "127.77";
export const ADMIN_PORT = 4191;
export const OUTBOUND_PORT = 4140;
const INBOUND_PORT = 4143;

/** The services that requests are counted for, in the order of the table. */
export const SERVICES: readonly string[] = ["web", "catalogue", "vote"];

/** The pods in `demo/mesh`. `net` is the first half of their addresses. */
export function demoPods(net: string): readonly DemoPod[] {
  const pod = (
    name: string,
    app: DemoPod["app"],
    last: number,
    ports: readonly number[],
    appEnv: Readonly<Record<string, string>> = {},
  ): DemoPod => ({ name, app, ip: `${net}.1.${last}`, ports, appEnv });
  return [
    pod("load", "load", 1, []),
    pod("web", "web", 2, [8080]),
    pod("catalogue-a", "catalogue", 3, [8080]),
    pod("catalogue-b", "catalogue", 4, [8080], { FAIL_PERCENT: "5", SEED: "77" }),
    pod("catalogue-c", "catalogue", 5, [8080], { DELAY_MS: "60" }),
    pod("vote", "vote", 6, [7070, 8080]),
  ];
}

/** The identity of a pod: its application's name is its service account. */
export function podIdentity(pod: DemoPod): string {
  return workloadIdentity({
    serviceAccount: pod.app,
    namespace: NAMESPACE,
    controlPlaneNamespace: CONTROL_NAMESPACE,
    trustDomain: TRUST_DOMAIN,
  });
}

const NOTHING: ChildRights = { net: [], read: [], write: [], env: [], sys: [] };

/** How the control plane is called. */
export const CONTROL_PLANE = "control plane";

/** The control plane. It is asked for any free ports, but for the dashboard's. */
export function controlPlan(folders: DemoFolders, adminListen: string, net: string): ChildPlan {
  return {
    name: CONTROL_PLANE,
    entry: entryPath("control"),
    args: [
      ...["--folder", folders.mesh, "--state", folders.state],
      ...["--destination-listen", "127.0.0.1:0", "--policy-listen", "127.0.0.1:0"],
      ...["--identity-listen", "127.0.0.1:0", "--admin-listen", adminListen],
      ...["--log-level", "warn"],
    ],
    env: {},
    rights: {
      ...NOTHING,
      // it listens on 127.0.0.1 and asks the proxies' admin servers for what the dashboard shows
      net: ["127.0.0.1", `${net}.0.0/16`],
      read: [folders.mesh, folders.modules, folders.state, DASHBOARD],
      write: [folders.state],
    },
  };
}

/** Where a pod's proxy keeps what is its own. */
export function podFolders(folders: DemoFolders, pod: DemoPod) {
  const own = join(folders.pods, pod.name);
  return {
    own,
    identity: join(own, "identity"),
    filters: join(own, "filters"),
    token: join(own, "token"),
  };
}

/** A pod's proxy, with the environment that the injector would give it. */
export function proxyPlan(
  folders: DemoFolders,
  pod: DemoPod,
  control: ControlAddresses,
  net: string,
): ChildPlan {
  const own = podFolders(folders, pod);
  const workload = { ns: NAMESPACE, pod: pod.name };
  const env: Record<string, string> = {
    LINKERD2_PROXY_LOG: "warn",
    LINKERD2_PROXY_INBOUND_LISTEN_ADDR: `${pod.ip}:${INBOUND_PORT}`,
    LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR: `${pod.ip}:${OUTBOUND_PORT}`,
    LINKERD2_PROXY_ADMIN_LISTEN_ADDR: `${pod.ip}:${ADMIN_PORT}`,
    LINKERD2_PROXY_INBOUND_IPS: pod.ip,
    LINKERD2_PROXY_INBOUND_PORTS: pod.ports.join(","),
    LINKERD2_PROXY_DESTINATION_SVC_ADDR: control.destination,
    LINKERD2_PROXY_DESTINATION_CONTEXT: JSON.stringify({ ...workload, nodeName: "demo" }),
    LINKERD2_PROXY_POLICY_SVC_ADDR: control.policy,
    LINKERD2_PROXY_POLICY_WORKLOAD: JSON.stringify(workload),
    LINKERD2_PROXY_IDENTITY_SVC_ADDR: control.identity,
    LINKERD2_PROXY_IDENTITY_DIR: own.identity,
    LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS: control.trustAnchors,
    LINKERD2_PROXY_IDENTITY_TOKEN_FILE: own.token,
    LINKERD2_PROXY_IDENTITY_LOCAL_NAME: podIdentity(pod),
    // the demo is over when it is over
    LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD: "500ms",
    TULLE_PROXY_SOURCE_IP: pod.ip,
    TULLE_PROXY_FILTER_CACHE_DIR: own.filters,
    TULLE_PROXY_CLUSTER_DOMAIN: CLUSTER_DOMAIN,
  };
  return {
    name: `${pod.name}'s proxy`,
    entry: entryPath("proxy"),
    args: [],
    env,
    rights: {
      ...NOTHING,
      net: [`${net}.0.0/16`, control.destination, control.policy, control.identity],
      // its folder, and the retry filter that it carries
      read: [own.own, ...CARRIED_MODULES],
      write: [own.identity, own.filters],
      env: ["LINKERD2_PROXY_*", "TULLE_PROXY_*"],
    },
  };
}

/** A pod's application. It may reach its own address only: everything else goes through its proxy. */
export function appPlan(pod: DemoPod): ChildPlan {
  const entry: EntryName = pod.app;
  return {
    name: pod.name,
    entry: entryPath(entry),
    args: [],
    env: { POD_IP: pod.ip, ...pod.appEnv },
    rights: {
      ...NOTHING,
      net: [pod.ip],
      env: ["POD_IP", "DELAY_MS", "FAIL_PERCENT", "SEED", "MAX_IN_FLIGHT"],
    },
  };
}
