// The containers and volumes that an injected pod gets, as plain objects in the order of fields that
// Kubernetes' own tools print. Used by the injector for other pods and by `src/install` for the
// control plane's own.

import { IDENTITY_DIR, proxyEnv, type ProxyPlace, TOKEN_DIR } from "./env.ts";
import type { CapabilitiesView } from "./pod.ts";
import type { ImageValues, InjectorValues, ResourceValues } from "./values.ts";

/** A piece of a manifest. */
export type Manifest = { readonly [key: string]: unknown };

/** What the containers take over from the pod's first one. */
export interface Copied {
  readonly capabilities: CapabilitiesView | null;
  /** The mount of the service account's token. */
  readonly tokenMount: unknown;
}

/** Nothing is taken over. */
export const NOTHING_COPIED: Copied = { capabilities: null, tokenMount: null };

/** Where an image has the programs, under Linkerd's names. */
const PROGRAMS = "/usr/lib/linkerd";
const XTABLES_VOLUME = "linkerd-proxy-init-xtables-lock";

/** The `linkerd-proxy` container; a native sidecar stands among the init containers. */
export function proxyContainer(
  v: InjectorValues,
  place: ProxyPlace,
  copied: Copied,
  options: { readonly native: boolean; readonly await: boolean },
): Manifest {
  const { proxy } = v;
  const get = (path: string) => ({ httpGet: { path, port: proxy.ports.admin } });
  const lifecycle = options.native ? {} : {
    ...(options.await
      ? {
        postStart: {
          exec: {
            command: [
              `${PROGRAMS}/linkerd-await`,
              "--timeout=2m",
              `--port=${proxy.ports.admin}`,
            ],
          },
        },
      }
      : {}),
    ...(proxy.waitBeforeExitSeconds > 0
      ? { preStop: { exec: { command: ["/bin/sleep", `${proxy.waitBeforeExitSeconds}`] } } }
      : {}),
  };
  return {
    name: "linkerd-proxy",
    ...image(proxy.image),
    ports: [
      { containerPort: proxy.ports.inbound, name: "linkerd-proxy", protocol: "TCP" },
      { containerPort: proxy.ports.admin, name: "linkerd-admin", protocol: "TCP" },
    ],
    env: proxyEnv(v, place),
    ...resources(v),
    ...(options.native ? { restartPolicy: "Always" } : {}),
    livenessProbe: { ...get("/live"), initialDelaySeconds: 10, timeoutSeconds: 1 },
    readinessProbe: { ...get("/ready"), initialDelaySeconds: 2, timeoutSeconds: 1 },
    ...(options.native && options.await
      ? { startupProbe: { ...get("/ready"), periodSeconds: 1, failureThreshold: 120 } }
      : {}),
    ...(Object.keys(lifecycle).length > 0 ? { lifecycle } : {}),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: copied.capabilities === null
        ? { drop: ["ALL"] }
        : { ...added(copied.capabilities.add), drop: copied.capabilities.drop },
      readOnlyRootFilesystem: true,
      ...(proxy.gid >= 0 ? { runAsGroup: proxy.gid } : {}),
      runAsNonRoot: true,
      runAsUser: proxy.uid,
      seccompProfile: { type: "RuntimeDefault" },
    },
    terminationMessagePolicy: "FallbackToLogsOnError",
    volumeMounts: [
      { mountPath: IDENTITY_DIR, name: "linkerd-identity-end-entity" },
      { mountPath: TOKEN_DIR, name: "linkerd-identity-token" },
      ...(copied.tokenMount === null ? [] : [copied.tokenMount]),
    ],
  };
}

/**
 * The `linkerd-init` container, which writes the rules and ends. `skipOutbound` are more ports that
 * pass by the proxy: the API server's, for the control plane's own pods.
 */
export function initContainer(v: InjectorValues, copied: Copied, skipOutbound = ""): Manifest {
  const { proxy, proxyInit: init } = v;
  const root = init.runAsRoot;
  const privileged = init.privileged || init.closeWaitTimeoutSecs > 0;
  const inbound = list(`${proxy.ports.control}`, `${proxy.ports.admin}`, init.ignoreInboundPorts);
  const outbound = list(init.ignoreOutboundPorts, skipOutbound);
  return {
    name: "linkerd-init",
    ...image(proxy.image),
    command: [`${PROGRAMS}/linkerd2-proxy-init`],
    args: [
      ...modeFlags(init.mode),
      ...(v.disableIPv6 ? ["--ipv6=false"] : []),
      "--incoming-proxy-port",
      `${proxy.ports.inbound}`,
      "--outgoing-proxy-port",
      `${proxy.ports.outbound}`,
      "--proxy-uid",
      `${proxy.uid}`,
      ...(proxy.gid >= 0 ? ["--proxy-gid", `${proxy.gid}`] : []),
      "--inbound-ports-to-ignore",
      inbound,
      ...(outbound === "" ? [] : ["--outbound-ports-to-ignore", outbound]),
      ...(init.closeWaitTimeoutSecs > 0
        ? ["--timeout-close-wait-secs", `${init.closeWaitTimeoutSecs}`]
        : []),
      ...(init.logFormat === "" ? [] : ["--log-format", init.logFormat]),
      ...(init.logLevel === "" ? [] : ["--log-level", init.logLevel]),
      ...(init.skipSubnets === "" ? [] : ["--subnets-to-ignore", init.skipSubnets]),
    ],
    ...resources(v),
    securityContext: {
      allowPrivilegeEscalation: privileged,
      capabilities: {
        add: [
          "NET_ADMIN",
          "NET_RAW",
          ...(copied.capabilities?.add ?? []).filter((c) => c !== "NET_ADMIN" && c !== "NET_RAW"),
        ],
        drop: copied.capabilities === null
          ? ["ALL"]
          : copied.capabilities.drop.filter((c) => c !== "NET_ADMIN" && c !== "NET_RAW"),
      },
      privileged,
      readOnlyRootFilesystem: true,
      runAsGroup: root ? 0 : init.runAsGroup,
      runAsNonRoot: !root,
      runAsUser: root ? 0 : init.runAsUser,
      seccompProfile: { type: "RuntimeDefault" },
    },
    terminationMessagePolicy: "FallbackToLogsOnError",
    volumeMounts: [
      { mountPath: "/run", name: XTABLES_VOLUME },
      ...(copied.tokenMount === null ? [] : [copied.tokenMount]),
    ],
  };
}

/** The `linkerd-network-validator` container: fails where the CNI plugin wrote no rules. */
export function validatorContainer(v: InjectorValues): Manifest {
  const { networkValidator: validator, proxy } = v;
  const connect = validator.connectAddr === ""
    ? v.disableIPv6 ? "1.1.1.1:20001" : "[fd00::1]:20001"
    : validator.connectAddr;
  const listen = validator.listenAddr === ""
    ? `${v.disableIPv6 ? "0.0.0.0" : "[::]"}:${proxy.ports.outbound}`
    : validator.listenAddr;
  return {
    name: "linkerd-network-validator",
    ...image(proxy.image),
    command: [`${PROGRAMS}/linkerd2-network-validator`],
    args: [
      "--log-format",
      validator.logFormat,
      "--log-level",
      validator.logLevel,
      "--connect-addr",
      connect,
      "--listen-addr",
      listen,
      "--timeout",
      validator.timeout,
    ],
    ...resources(v),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      readOnlyRootFilesystem: true,
      runAsGroup: 65534,
      runAsNonRoot: true,
      runAsUser: 65534,
      seccompProfile: { type: "RuntimeDefault" },
    },
    terminationMessagePolicy: "FallbackToLogsOnError",
  };
}

/** The `linkerd-debug` container: tools to look at a pod's traffic with. */
export function debugContainer(v: InjectorValues): Manifest {
  return {
    name: "linkerd-debug",
    ...image(v.debugContainer.image),
    terminationMessagePolicy: "FallbackToLogsOnError",
  };
}

/** Lets the legacy variant of iptables lock. */
export const XTABLES_LOCK: Manifest = { name: XTABLES_VOLUME, emptyDir: {} };

/** What the proxy container mounts. */
export const PROXY_VOLUMES: readonly Manifest[] = [
  { name: "linkerd-identity-end-entity", emptyDir: { medium: "Memory" } },
  {
    name: "linkerd-identity-token",
    projected: {
      sources: [{
        serviceAccountToken: {
          audience: "identity.l5d.io",
          expirationSeconds: 86400,
          path: "linkerd-identity-token",
        },
      }],
    },
  },
];

function image({ name, version, pullPolicy }: ImageValues): Manifest {
  return { image: `${name}:${version}`, imagePullPolicy: pullPolicy };
}

function added(capabilities: readonly string[]): Manifest {
  return capabilities.length === 0 ? {} : { add: capabilities };
}

function list(...parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join(",");
}

/** As Linkerd's chart writes them; what it has no words for, with proxy-init's newer flag. */
function modeFlags(mode: InjectorValues["proxyInit"]["mode"]): string[] {
  if (mode === "legacy") return [];
  if (mode === "nft") {
    return [
      "--firewall-bin-path",
      "iptables-nft",
      "--firewall-save-bin-path",
      "iptables-nft-save",
    ];
  }
  return ["--iptables-mode", mode];
}

function resources({ proxy: { resources: r } }: InjectorValues): Manifest {
  const of = (which: keyof ResourceValues): Manifest =>
    Object.fromEntries(
      ([["cpu", r.cpu], ["ephemeral-storage", r.ephemeralStorage], ["memory", r.memory]] as const)
        .map(([name, values]) => [name, values[which]])
        .filter(([, value]) => value !== ""),
    );
  const [limits, requests] = [of("limit"), of("request")];
  const set = {
    ...(Object.keys(limits).length > 0 ? { limits } : {}),
    ...(Object.keys(requests).length > 0 ? { requests } : {}),
  };
  return Object.keys(set).length > 0 ? { resources: set } : {};
}
