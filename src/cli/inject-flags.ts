// The flags of `tulle inject` that become annotations of pods, and which of their values are refused.

import { valuesFor } from "../control/injector/annotations.ts";
import { parsePortRange } from "../init/ports.ts";
import { parseSubnet } from "../init/subnets.ts";
import { DEFAULT_VALUES } from "../install/values.ts";
import { type CliError, usageError } from "./failure.ts";
import { quote } from "./flags.ts";

/** The flag, what stands for its value, and the annotation below `config.linkerd.io/`. */
export const ANNOTATIONS: readonly (readonly [flag: string, value: string, key: string])[] = [
  ["--proxy-image", "IMAGE", "proxy-image"],
  ["--proxy-version", "VERSION", "proxy-version"],
  ["--image-pull-policy", "WORD", "image-pull-policy"],
  ["--inbound-port", "PORT", "inbound-port"],
  ["--outbound-port", "PORT", "outbound-port"],
  ["--control-port", "PORT", "control-port"],
  ["--admin-port", "PORT", "admin-port"],
  ["--skip-inbound-ports", "PORTS", "skip-inbound-ports"],
  ["--skip-outbound-ports", "PORTS", "skip-outbound-ports"],
  ["--skip-subnets", "CIDRS", "skip-subnets"],
  ["--opaque-ports", "PORTS", "opaque-ports"],
  ["--proxy-uid", "UID", "proxy-uid"],
  ["--proxy-gid", "GID", "proxy-gid"],
  ["--proxy-log-level", "FILTER", "proxy-log-level"],
  ["--proxy-cpu-request", "CPU", "proxy-cpu-request"],
  ["--proxy-cpu-limit", "CPU", "proxy-cpu-limit"],
  ["--proxy-memory-request", "BYTES", "proxy-memory-request"],
  ["--proxy-memory-limit", "BYTES", "proxy-memory-limit"],
  ["--default-inbound-policy", "POLICY", "default-inbound-policy"],
  ["--native-sidecar", "BOOL", "proxy-enable-native-sidecar"],
  ["--require-identity-on-inbound-ports", "PORTS", "proxy-require-identity-inbound-ports"],
  ["--close-wait-timeout", "TIME", "close-wait-timeout"],
];

/** Null, or what to tell: in a pod the injector would leave such a value out, where nobody looks. */
export function refused(flag: string, kind: string, key: string, value: string): CliError | null {
  const parts = value.split(",").map((part) => part.trim());
  // an opaque port may be a container's port by name
  const named = (part: string) =>
    flag === "--opaque-ports" && /^[a-z0-9-]*[a-z][a-z0-9-]*$/.test(part);
  const bad = kind === "PORTS"
    ? parts.find((part) => parsePortRange(part) === null && !named(part))
    : kind === "CIDRS"
    ? parts.find((part) => !isSubnet(part))
    : undefined;
  if (bad !== undefined) {
    const example = kind === "PORTS" ? "25,3000-3010" : "10.0.0.0/8,fd00::/8";
    return usageError(`${flag}: ${quote(bad)} is not as in ${example}`);
  }
  const annotation = `config.linkerd.io/${key}`;
  const lines: string[] = [];
  valuesFor(DEFAULT_VALUES, { [annotation]: value }, {}, (line) => void lines.push(line));
  const [line] = lines;
  return line === undefined ? null : usageError(line.replace(annotation, flag));
}

function isSubnet(text: string): boolean {
  try {
    parseSubnet(text);
    return true;
  } catch {
    return false;
  }
}
