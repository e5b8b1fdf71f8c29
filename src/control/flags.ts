// The control plane's command line. Each bad flag is one line that names it.

import { formatSocketAddr, parseSocketAddr, type SocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import { LOG_LEVELS, type LogLevel } from "../core/log.ts";
import { isDnsLike } from "../model/identity.ts";
import { inCidr } from "../model/policy.ts";
import { type ValidatorName, VALIDATORS } from "./admission/validate.ts";
import { DEFAULT_OPTIONS, DEFAULT_POLICIES, type MeshOptions } from "./options.ts";

/** Parts of the control plane that a process may serve; the filter registry is destination's. */
export const SERVICES = ["destination", "policy", "identity"] as const;
export type ServiceName = (typeof SERVICES)[number];

/** Where Kubernetes objects come from. */
export type ObjectSource =
  | { readonly kind: "folder"; readonly folder: string }
  | {
    readonly kind: "kubernetes";
    /** Null: the pod's service account, else what kubectl would read. */
    readonly kubeconfig: string | null;
    /** Null: the current one. */
    readonly context: string | null;
  };

/** Who signs: files that are mounted. */
export interface IssuerFiles {
  readonly dir: string;
  readonly anchors: string;
}

/** A validating webhook: where it listens in TLS, and the folder of `tls.crt` and `tls.key`. */
export interface ValidatorFlags {
  readonly name: ValidatorName;
  readonly listen: SocketAddr;
  readonly tls: string;
}

export interface ControlFlags {
  readonly source: ObjectSource;
  /** All when missing. */
  readonly serve?: readonly ServiceName[];
  /** Null or missing: a CA of its own, kept in the state folder. */
  readonly issuer?: IssuerFiles | null;
  readonly state: string;
  readonly destination: SocketAddr;
  readonly policy: SocketAddr;
  readonly identity: SocketAddr;
  readonly admin: SocketAddr;
  /** Those that are served. */
  readonly validators?: readonly ValidatorFlags[];
  /** Folder of the public keys that sign modules; null: modules need no signature. */
  readonly filterKeys?: string | null;
  readonly logLevel: LogLevel;
  readonly mesh: MeshOptions;
}

/** Where the manifests mount the issuer and the trust anchors. */
const MOUNTED_ISSUER: IssuerFiles = {
  dir: "/var/run/linkerd/identity/issuer",
  anchors: "/var/run/linkerd/identity/trust-roots/ca-bundle.crt",
};

/** The command line is wrong; the message is one line. */
export class UsageError extends Error {}

/** Printed by `--help`. */
export const USAGE = `Usage: control --folder DIR --state DIR [flags]
       control --source kubernetes --state DIR [flags]

  --source folder|kubernetes     where Kubernetes objects come from (folder)
  --folder DIR                   Kubernetes objects as YAML, watched
  --kubeconfig FILE              which API server, and as whom (the pod's service account, else
                                 KUBECONFIG, else ~/.kube/config)
  --context NAME                 context of the kubeconfig (its current one)
  --state DIR                    what the control plane keeps: CA, keys, modules
  --serve NAME,…                 ${SERVICES.join(", ")} (all)
  --issuer DIR                   issuer: crt.pem and key.pem, or tls.crt and tls.key; followed
                                 (in a cluster ${MOUNTED_ISSUER.dir}; a folder has a CA in --state)
  --trust-anchors FILE           PEM, followed (in a cluster
                                 ${MOUNTED_ISSUER.anchors})
  --destination-listen ADDR      destination API and filter registry (127.0.0.1:8086)
  --policy-listen ADDR           policy API (127.0.0.1:8090)
  --identity-listen ADDR         identity API (127.0.0.1:8080)
  --admin-listen ADDR            admin plane (127.0.0.1:9990)
  --sp-validator-listen ADDR     webhook that checks ServiceProfiles, in TLS (not served)
  --sp-validator-tls DIR         its tls.crt and tls.key, followed
  --policy-validator-listen ADDR webhook that checks policies, routes and filters (not served)
  --policy-validator-tls DIR     its tls.crt and tls.key, followed
  --filter-keys DIR              public keys (*.pub, *.pem): modules must be signed by one
  --allow-remote                 listen on addresses that are not loopback, in clear text
  --log-level LEVEL              ${LOG_LEVELS.join(", ")} (info)
  --cluster-domain NAME          (${DEFAULT_OPTIONS.clusterDomain})
  --control-namespace NAME       (${DEFAULT_OPTIONS.controlNamespace})
  --trust-domain NAME            (${DEFAULT_OPTIONS.trustDomain})
  --cluster-networks CIDR,…      (${DEFAULT_OPTIONS.clusterNetworks.join(",")})
  --probe-networks CIDR,…|none   from where probes are answered whatever the policy (0.0.0.0/0,::/0)
  --global-egress-network-namespace NAME
                                 EgressNetworks for clients of all namespaces without their own
                                 (${DEFAULT_OPTIONS.egressNamespace})
  --default-inbound-policy NAME  (${DEFAULT_OPTIONS.defaultInboundPolicy})
  --no-h2-upgrade                have proxies speak HTTP/1 to each other for HTTP/1
`;

const VALUES = [
  "--source",
  "--folder",
  "--kubeconfig",
  "--context",
  "--state",
  "--serve",
  "--issuer",
  "--trust-anchors",
  "--destination-listen",
  "--policy-listen",
  "--identity-listen",
  "--admin-listen",
  "--sp-validator-listen",
  "--sp-validator-tls",
  "--policy-validator-listen",
  "--policy-validator-tls",
  "--filter-keys",
  "--log-level",
  "--cluster-domain",
  "--control-namespace",
  "--trust-domain",
  "--cluster-networks",
  "--probe-networks",
  "--global-egress-network-namespace",
  "--default-inbound-policy",
] as const;
const SOURCES = ["folder", "kubernetes"] as const;
const SWITCHES = ["--allow-remote", "--no-h2-upgrade"] as const;

type ValueFlag = (typeof VALUES)[number];
type SwitchFlag = (typeof SWITCHES)[number];

/** Null: help is asked for. Throws a `UsageError`. */
export function parseControlFlags(argv: readonly string[]): ControlFlags | null {
  if (argv.includes("--help") || argv.includes("-h")) return null;
  const { values, switches } = read(argv);
  const text = (flag: ValueFlag, absent: string | null): string => {
    const value = values.get(flag) ?? absent;
    if (value === null) throw new UsageError(`${flag} is missing: name a folder`);
    return value;
  };
  const remote = switches.has("--allow-remote");
  const listen = (flag: ValueFlag, absent: string) => address(flag, text(flag, absent), remote);
  const word = <T extends string>(flag: ValueFlag, words: readonly T[], absent: T): T => {
    const given = text(flag, absent);
    const found = words.find((w) => w === given);
    if (found === undefined) {
      throw new UsageError(`${flag} ${quote(given)} is not one of ${words.join(", ")}`);
    }
    return found;
  };
  const name = (flag: ValueFlag, absent: string): string => {
    const given = text(flag, absent);
    if (!isDnsLike(given)) throw new UsageError(`${flag} ${quote(given)} is not a name`);
    return given;
  };
  const source = readSource(values, word("--source", SOURCES, "folder"), text);
  return {
    source,
    serve: services(values.get("--serve") ?? SERVICES.join(",")),
    issuer: readIssuer(values, source),
    state: text("--state", null),
    destination: listen("--destination-listen", "127.0.0.1:8086"),
    policy: listen("--policy-listen", "127.0.0.1:8090"),
    identity: listen("--identity-listen", "127.0.0.1:8080"),
    admin: listen("--admin-listen", "127.0.0.1:9990"),
    validators: VALIDATORS.flatMap((name) => validator(name, values)),
    filterKeys: values.get("--filter-keys") ?? null,
    logLevel: word("--log-level", LOG_LEVELS, "info"),
    mesh: {
      ...DEFAULT_OPTIONS,
      clusterDomain: name("--cluster-domain", DEFAULT_OPTIONS.clusterDomain),
      controlNamespace: name("--control-namespace", DEFAULT_OPTIONS.controlNamespace),
      trustDomain: name("--trust-domain", DEFAULT_OPTIONS.trustDomain),
      clusterNetworks: networks(
        "--cluster-networks",
        text("--cluster-networks", DEFAULT_OPTIONS.clusterNetworks.join(",")),
      ),
      probeNetworks: values.get("--probe-networks") === "none" ? [] : networks(
        "--probe-networks",
        text("--probe-networks", DEFAULT_OPTIONS.probeNetworks.join(",")),
      ),
      egressNamespace: name("--global-egress-network-namespace", DEFAULT_OPTIONS.egressNamespace),
      defaultInboundPolicy: word(
        "--default-inbound-policy",
        DEFAULT_POLICIES,
        DEFAULT_OPTIONS.defaultInboundPolicy,
      ),
      h2Upgrade: !switches.has("--no-h2-upgrade"),
    },
  };
}

type Values = ReadonlyMap<ValueFlag, string>;

function readSource(
  values: Values,
  kind: ObjectSource["kind"],
  text: (flag: ValueFlag, absent: string | null) => string,
): ObjectSource {
  const stray = kind === "folder" ? ["--kubeconfig", "--context"] as const : ["--folder"] as const;
  for (const flag of stray) {
    if (values.has(flag)) throw new UsageError(`${flag} is not for --source ${kind}`);
  }
  return kind === "folder" ? { kind, folder: text("--folder", null) } : {
    kind,
    kubeconfig: values.get("--kubeconfig") ?? null,
    context: values.get("--context") ?? null,
  };
}

function validator(name: ValidatorName, values: Values): ValidatorFlags[] {
  const [at, tls] = [`--${name}-listen`, `--${name}-tls`] as const;
  const [listen, folder] = [values.get(at), values.get(tls)];
  if (listen === undefined && folder === undefined) return [];
  if (listen === undefined || folder === undefined) {
    throw new UsageError(`${at} and ${tls} go together`);
  }
  // TLS: it may listen anywhere.
  return [{ name, listen: address(at, listen, true), tls: folder }];
}

function services(list: string): readonly ServiceName[] {
  return list.split(",").map((name) => {
    const found = SERVICES.find((s) => s === name);
    if (found !== undefined) return found;
    throw new UsageError(`--serve ${quote(name)} is not one of ${SERVICES.join(", ")}`);
  });
}

/** A folder keeps a CA of its own, unless it is told of files; a cluster has the files of its mounts. */
function readIssuer(values: Values, source: ObjectSource): IssuerFiles | null {
  const dir = values.get("--issuer");
  const anchors = values.get("--trust-anchors");
  if (source.kind === "folder" && dir === undefined && anchors === undefined) return null;
  if (source.kind === "folder" && (dir === undefined || anchors === undefined)) {
    throw new UsageError("--issuer and --trust-anchors go together");
  }
  return { dir: dir ?? MOUNTED_ISSUER.dir, anchors: anchors ?? MOUNTED_ISSUER.anchors };
}

function read(argv: readonly string[]) {
  const values = new Map<ValueFlag, string>();
  const switches = new Set<SwitchFlag>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] ?? "";
    const cut = argument.indexOf("=");
    const flag = cut < 0 ? argument : argument.slice(0, cut);
    const bare = SWITCHES.find((s) => s === argument);
    const valued = VALUES.find((v) => v === flag);
    if (bare !== undefined) switches.add(bare);
    else if (valued === undefined) {
      throw new UsageError(`Unknown flag ${quote(argument)}, see --help`);
    } else {
      const value = cut < 0 ? argv[++i] : argument.slice(cut + 1);
      if (value === undefined || value === "" || value.startsWith("--")) {
        throw new UsageError(`${valued} needs a value`);
      }
      if (values.has(valued)) throw new UsageError(`${valued} is given twice`);
      values.set(valued, value);
    }
  }
  return { values, switches };
}

/** These APIs are in clear text: beyond loopback, a proxy must stand before them. */
function address(flag: string, text: string, remote: boolean): SocketAddr {
  let addr: SocketAddr;
  try {
    addr = parseSocketAddr(text);
  } catch (e) {
    throw new UsageError(`${flag} ${errorText(e)}`);
  }
  if (!remote && addr.ip !== "::1" && !inCidr(addr.ip, "127.0.0.0/8")) {
    throw new UsageError(
      `${flag} ${
        formatSocketAddr(addr)
      } is not loopback, and this is clear text: add --allow-remote`,
    );
  }
  return addr;
}

function networks(flag: string, text: string): readonly string[] {
  return text.split(",").map((cidr) => {
    if (!inCidr(cidr.replace(/\/.*$/, ""), cidr)) {
      throw new UsageError(`${flag} ${quote(cidr)} is not a network such as 10.0.0.0/8`);
    }
    return cidr;
  });
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text);
}
