// The plugin's part of a network configuration: Linkerd's names and defaults, checked. Pure.

import type { Field } from "../control/field.ts";
import type { LogLevel } from "../core/log.ts";
import { MODE_NAMES, type ModeName } from "../init/modes.ts";
import { parsePortRange, type PortRange } from "../init/ports.ts";
import type { InterceptOptions } from "../init/rules.ts";
import { parseSubnet, type Subnet } from "../init/subnets.ts";
import { errorText } from "../core/errors.ts";
import { quote, reading } from "./call.ts";

/** `type` of the plugin in a list, and the name of its program. */
export const PLUGIN_TYPE = "linkerd-cni";
/** The context of the kubeconfig that is used. */
export const KUBE_CONTEXT = "linkerd-cni-context";

const DEFAULT_KUBECONFIG = "/etc/cni/net.d/ZZZ-linkerd-cni-kubeconfig";
const DEFAULT_INBOUND = 4143;
const DEFAULT_OUTBOUND = 4140;
const MAX_ITEMS = 1024;

/** What the configuration says. */
export interface CniConfig {
  readonly level: LogLevel;
  readonly kubeconfig: string;
  /** Before a pod's annotations. */
  readonly intercept: InterceptOptions;
  readonly mode: ModeName;
  readonly ipv6: boolean;
  readonly wait: boolean;
  /** Say in the log what would be written. */
  readonly simulate: boolean;
}

/** Reads it. Throws a `CniError` that names the field. */
export function readConfig(root: Field): CniConfig {
  return reading(() => {
    const linkerd = root.at("linkerd");
    const level = root.at("log_level").stringOr("");
    return {
      level: level === "debug" || level === "info" ? level : "warn",
      kubeconfig: absolute(root.at("kubernetes").at("kubeconfig")),
      intercept: {
        inboundPort: port(linkerd.at("incoming-proxy-port"), DEFAULT_INBOUND),
        outboundPort: port(linkerd.at("outgoing-proxy-port"), DEFAULT_OUTBOUND),
        proxyUid: id(linkerd.at("proxy-uid")),
        proxyGid: id(linkerd.at("proxy-gid")),
        portsToRedirect: linkerd.at("ports-to-redirect").list(MAX_ITEMS).map((p) => port(p, -1)),
        inboundIgnore: ranges(linkerd.at("inbound-ports-to-ignore")),
        outboundIgnore: ranges(linkerd.at("outbound-ports-to-ignore")),
        subnetsIgnore: linkerd.at("subnets-to-ignore").list(MAX_ITEMS).map(subnet),
      },
      // Linkerd's default, as for `tulle init`
      mode: mode(linkerd.at("iptables-mode")),
      ipv6: linkerd.at("ipv6").boolOr(false),
      wait: linkerd.at("use-wait-flag").boolOr(false),
      simulate: linkerd.at("simulate").boolOr(false),
    };
  });
}

function absolute(field: Field): string {
  const path = field.stringOr("");
  if (path === "") return DEFAULT_KUBECONFIG;
  return path.startsWith("/") ? path : field.fail(`${quote(path)} is not an absolute path`);
}

function port(field: Field, or: number): number {
  if (field.isAbsent && or >= 0) return or;
  const { value } = field;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 65535) {
    return value;
  }
  return field.fail("is not a port");
}

/** Null: no rule, as for a missing, negative or zero one. */
function id(field: Field): number | null {
  if (field.isAbsent) return null;
  const { value } = field;
  if (typeof value !== "number" || !Number.isInteger(value) || value > 0xffff_ffff) {
    return field.fail("is not a whole number");
  }
  return value > 0 ? value : null;
}

function ranges(field: Field): PortRange[] {
  return field.list(MAX_ITEMS).map((item) => {
    const text = String(item.value).trim();
    return parsePortRange(text) ?? item.fail(`${quote(text)} is not PORT or LOW-HIGH`);
  });
}

function subnet(field: Field): Subnet {
  try {
    return parseSubnet(field.string());
  } catch (e) {
    return field.fail(errorText(e));
  }
}

function mode(field: Field): ModeName {
  const text = field.stringOr("");
  if (text === "") return "legacy";
  const found = MODE_NAMES.find((name) => name === text);
  return found ?? field.fail(`${quote(text)} is not one of ${MODE_NAMES.join(", ")}`);
}
