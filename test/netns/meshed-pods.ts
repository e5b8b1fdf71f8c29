// Two pods with the real proxy, in namespaces: our control plane reads a folder of YAML beside the
// server, tokens are issued as kubelet would, and each proxy has the environment that the injector gives.

import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import process from "node:process";
import { importTokenKey, issueToken, TOKEN_KEY_FILE } from "../../src/api/service-account-token.ts";
import { CA_CERTIFICATE_FILE } from "../../src/control/identity/authority.ts";
import { proxyEnv } from "../../src/control/injector/env.ts";
import { DEFAULT_VALUES } from "../../src/install/values.ts";
import * as objects from "../mesh/support/objects.ts";
import { join, Namespace, RUNTIME } from "./namespaces.ts";
import { CLIENT, PORTS, SERVER, UID } from "./pods.ts";

/** Addresses of the Service that is in front of the server, by family. */
export const SERVICE = ["10.96.7.7", "fd96::7"] as const;
/** Of destination, policy and identity. */
const CONTROL = ["8086", "8090", "8180"] as const;
/** Ports that no proxy sees: of the proxies and of the control plane. */
const PASSING = ["--inbound-ports-to-ignore", `4190,4191,${CONTROL}`];
/** A proxy that got its certificate, on any machine. */
const READY_MS = 60_000;

/** The pods, their rules written. */
export interface MeshedPods {
  readonly client: Namespace;
  readonly server: Namespace;
  /** The text of the proxy's metrics. */
  metrics(of: "client" | "server"): string;
}

/** Makes them, and takes them away again. */
export async function withMeshedPods(
  mode: string,
  body: (pods: MeshedPods) => void | Promise<void>,
): Promise<void> {
  const client = new Namespace(`tulle-a-${process.pid}`);
  const server = new Namespace(`tulle-b-${process.pid}`);
  let dir = "";
  try {
    join(client, server);
    for (const [ip, family] of [[SERVICE[0], "-4"], [SERVICE[1], "-6"]] as const) {
      // Nobody has it: the rules decide before a packet leaves.
      client.must("ip", family, "route", "add", ip, "dev", client.device);
    }
    dir = await mkdtemp("/tmp/tulle-meshed-");
    await chmod(dir, 0o755);
    await mkdir(`${dir}/mesh`);
    await writeFile(`${dir}/mesh/mesh.yaml`, mesh());
    const control = ["destination", "policy", "identity"].flatMap((name, i) => {
      const port = CONTROL[i];
      return [`--${name}-listen`, `0.0.0.0:${port}`];
    });
    await server.start(
      ...[0, "src/control/main.ts", "--folder", `${dir}/mesh`, "--state", `${dir}/state`] as const,
      ...["--admin-listen", "127.0.0.1:9990", "--allow-remote", "--log-level", "warn", ...control],
    );
    await server.start(0, "test/netns/app-process.ts", "serve", ...PORTS.map(String));
    // In clear text a proxy speaks to a control plane on its own loopback only.
    await client.start(UID, "test/netns/app-process.ts", "relay", SERVER[0], ...CONTROL);
    const said = await Promise.all([
      startProxy(client, dir, "client", CLIENT),
      startProxy(server, dir, "server", SERVER),
    ]);
    for (const pod of [client, server]) {
      const flags = ["-p", "4143", "-o", "4140", "--proxy-uid", String(UID), ...PASSING];
      const { status, stdout, stderr } = pod.tulle("init", ...flags, "--iptables-mode", mode);
      if (status !== 0) throw new Error(stdout + stderr);
    }
    const end = performance.now() + READY_MS;
    for (const [i, pod] of [client, server].entries()) {
      while (pod.getAll([["127.0.0.1", "4191/ready"]])[0] !== "ready") {
        await new Promise((again) => setTimeout(again, 200)); // and reads what the proxies say
        if (performance.now() > end) throw new Error(`not ready: ${said[i]?.()}`);
      }
    }
    await body({
      client,
      server,
      metrics: (of) => (of === "client" ? client : server).getText("127.0.0.1", "4191/metrics"),
    });
  } finally {
    await client.remove();
    await server.remove();
    if (dir !== "") await rm(dir, { recursive: true, force: true });
  }
}

async function startProxy(
  pod: Namespace,
  dir: string,
  name: "client" | "server",
  ips: readonly string[],
): Promise<() => string> {
  const own = `${dir}/${name}`;
  await mkdir(`${own}/identity`, { recursive: true, mode: 0o700 });
  const token = await issueToken(
    await importTokenKey(await readFile(`${dir}/state/${TOKEN_KEY_FILE}`, "utf8")),
    {
      namespace: objects.NAMESPACE,
      serviceAccount: name,
      nowMs: Date.now(),
      lifetimeMs: 3_600_000,
    },
  );
  await writeFile(`${own}/token`, token, { mode: 0o600 });
  for (const path of [own, `${own}/identity`, `${own}/token`]) await chown(path, UID, UID);
  const env = injected({
    _pod_name: name,
    _pod_ns: objects.NAMESPACE,
    _pod_nodeName: "test",
    _pod_ip: ips[0] ?? "",
    _pod_sa: name,
    LINKERD2_PROXY_INBOUND_IPS: ips.join(","),
  });
  return pod.launch(
    UID,
    {
      ...env,
      LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS: await readFile(
        `${dir}/state/${CA_CERTIFICATE_FILE}`,
        "utf8",
      ),
      LINKERD2_PROXY_DESTINATION_SVC_ADDR: "127.0.0.1:8086",
      LINKERD2_PROXY_POLICY_SVC_ADDR: "127.0.0.1:8090",
      LINKERD2_PROXY_IDENTITY_SVC_ADDR: "127.0.0.1:8180",
      LINKERD2_PROXY_IDENTITY_DIR: `${own}/identity`,
      LINKERD2_PROXY_IDENTITY_TOKEN_FILE: `${own}/token`,
    },
    ...RUNTIME,
    "src/proxy/main.ts",
  );
}

/** What the injector writes for a pod with both families, with what kubelet fills in. */
function injected(fields: Readonly<Record<string, string>>): Record<string, string> {
  const env: Record<string, string> = {};
  const variables = proxyEnv({ ...DEFAULT_VALUES, disableIPv6: false }, {
    anchorsPem: "",
    inboundPorts: [...PORTS],
    opaquePorts: "5432",
    beside: null,
    anchorsFromConfigMap: false,
  });
  for (const { name, value } of variables) {
    const text = fields[name] ?? value;
    // The control plane has no proxy of its own: it is asked without TLS.
    if (text === undefined || name.endsWith("_SVC_NAME")) continue;
    env[name] = text.replaceAll(/\$\((\w+)\)/g, (whole, of: string) => env[of] ?? whole);
  }
  return env;
}

/** Both pods and the Service, each with addresses of both families. */
function mesh(): string {
  const both = (name: "client" | "server", ips: readonly string[]) => {
    const pod = objects.pod(name, ips[0] ?? "", name, NAMED) as {
      status: Record<string, unknown>;
    };
    return { ...pod, status: { ...pod.status, podIPs: ips.map((ip) => ({ ip })) } };
  };
  const [service, slice] = objects.service("server", SERVICE[0], { server: SERVER[0] }, NAMED);
  const spec = (service as { spec: object }).spec;
  const [, slice6] = objects.service("server", SERVICE[0], { server: SERVER[1] }, NAMED);
  return objects.yaml(
    both("client", CLIENT),
    both("server", SERVER),
    { ...service, spec: { ...spec, clusterIPs: [...SERVICE], ipFamilies: ["IPv4", "IPv6"] } },
    slice as objects.KubeObject,
    {
      ...slice6,
      addressType: "IPv6",
      metadata: { ...(slice6 as { metadata: object }).metadata, name: "server-6" },
    },
  );
}

const NAMED = [
  { name: "http", port: 8080 },
  { name: "more", port: 8081 },
  { name: "sql", port: 5432, opaque: true },
];
