// A host for the plugin in memory: an API server of a few objects, and network namespaces whose
// iptables keep what iptables-restore was given. Knows as much of iptables as our documents use.

import type { CniHost } from "../../src/cni/plugin.ts";
import { createLogger } from "../../src/core/log.ts";
import type { RunCommand } from "../../src/init/run.ts";

export const KUBECONFIG = "/etc/cni/net.d/ZZZ-linkerd-cni-kubeconfig";
export const POD_PATH = "/api/v1/namespaces/shop/pods/web-1";
export const RESULT = {
  cniVersion: "1.0.0",
  interfaces: [{ name: "eth0", sandbox: "/run/netns/a" }],
  ips: [{ address: "10.1.0.5/16", interface: 0 }],
};

/** The plugin's part of a list, as install-cni renders it, with a result before it. */
export const NETCONF = {
  cniVersion: "1.0.0",
  name: "k8s-pod-network",
  type: "linkerd-cni",
  log_level: "debug",
  kubernetes: { kubeconfig: KUBECONFIG },
  linkerd: {
    "incoming-proxy-port": 4143,
    "outgoing-proxy-port": 4140,
    "proxy-uid": 2102,
    "ports-to-redirect": [],
    "inbound-ports-to-ignore": ["4191", "4190"],
    "outbound-ports-to-ignore": [],
    "subnets-to-ignore": [],
    "iptables-mode": "nft",
    ipv6: false,
  },
  prevResult: RESULT,
};

/** A meshed pod. */
export function meshedPod(annotations: Record<string, string> = {}, labels = {}) {
  return {
    metadata: { name: "web-1", namespace: "shop", annotations, labels },
    spec: {
      initContainers: [{ name: "linkerd-network-validator" }, { name: "linkerd-proxy" }],
      containers: [{ name: "app" }],
    },
  };
}

/** A host, and what happened on it. */
export class FakeHost implements CniHost {
  env: Map<string, string>;
  input: string;
  /** By path; an Error is what reading it fails with. */
  objects: Record<string, unknown> = { "/api/v1/namespaces/shop": { metadata: {} } };
  /** Programs that there are. */
  programs: Set<string>;
  readonly asked: string[] = [];
  readonly lines: string[] = [];
  readonly commands: string[][] = [];
  /** Lines of the nat table by save program. */
  readonly tables = new Map<string, string[]>();

  constructor(command: string, config: unknown = NETCONF) {
    this.input = typeof config === "string" ? config : JSON.stringify(config);
    this.env = new Map([
      ["CNI_COMMAND", command],
      ["CNI_CONTAINERID", "a1b2"],
      ["CNI_NETNS", "/run/netns/a"],
      ["CNI_IFNAME", "eth0"],
      ["CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u"],
    ]);
    this.programs = new Set(
      ["iptables", "ip6tables"].flatMap((p) =>
        ["nft", "legacy"].flatMap((mode) => [`${p}-${mode}-save`, `${p}-${mode}-restore`])
      ),
    );
  }

  stdin = () => Promise.resolve(this.input);

  openApi = (path: string) => {
    if (path !== KUBECONFIG) return Promise.reject(new Error(`Cannot read ${path}: ENOENT`));
    return Promise.resolve((at: string): Promise<unknown> => {
      this.asked.push(at);
      const object = this.objects[at];
      return object instanceof Error ? Promise.reject(object) : Promise.resolve(object ?? null);
    });
  };

  run: RunCommand = (command, stdin) => {
    this.commands.push([...command]);
    const program = command[3] ?? "";
    const ok = (stdout = "") => ({ code: 0, stdout, stderr: "", missing: false });
    if (!this.programs.has(program)) {
      const stderr = `nsenter: failed to execute ${program}: No such file or directory\n`;
      return Promise.resolve({ code: 127, stdout: "", stderr, missing: false });
    }
    const kind = program.replace(/-(save|restore)$/, "");
    if (program.endsWith("-save")) {
      return Promise.resolve(ok(["*nat", ...this.tables.get(kind) ?? [], "COMMIT", ""].join("\n")));
    }
    let lines = this.tables.get(kind) ?? [];
    for (const line of stdin.split("\n")) {
      const chain = /^:(\S+) /.exec(line)?.[1];
      if (chain !== undefined) {
        lines = lines.filter((l) => !l.startsWith(`-A ${chain} `) && !l.startsWith(`:${chain} `));
        lines.push(line);
      } else if (line.startsWith("-A ")) lines.push(asSaved(line));
    }
    this.tables.set(kind, lines);
    return Promise.resolve(ok());
  };

  logger: CniHost["logger"] = (level) =>
    createLogger({ level, format: "plain", wall: () => 0, write: (line) => this.lines.push(line) });
}

/** As iptables-save writes it. */
function asSaved(line: string): string {
  return line.replace(/--to-port (\d+)/, "--to-ports $1")
    .replace(/--comment (\S+,\S+)/, '--comment "$1"');
}
