// What a pod asks for: whether its traffic is redirected at all, and what its annotations and those of
// its namespace change. Pure; the API server's objects are handed in and are not trusted.

import { Field } from "../control/field.ts";
import { errorText } from "../core/errors.ts";
import { parsePortRanges, type PortRange } from "../init/ports.ts";
import type { InterceptOptions } from "../init/rules.ts";
import { parseSubnet } from "../init/subnets.ts";
import { quote } from "./call.ts";

const PROXY = "linkerd-proxy";
const INIT = "linkerd-init";
const CONFIG = "config.linkerd.io/";
const COMPONENT = "linkerd.io/control-plane-component";
const MAX_CONTAINERS = 1024;
/** Where the control plane reaches the API server when its Service cannot be read; Linkerd's. */
const API_PORTS = "443,6443";

/** What is known of a pod. */
export interface PodView {
  readonly annotations: Readonly<Record<string, string>>;
  /** It is a part of the control plane, which reaches the API server without its proxy. */
  readonly isControlPlane: boolean;
  /** Why it is left alone; null: its traffic is redirected. */
  readonly leave: string | null;
}

/** Reads a Pod. Throws a line that names the field where it is not one. */
export function readPod(object: unknown): PodView {
  const pod = new Field(object, []);
  const names = (list: string) =>
    pod.at("spec").at(list).list(MAX_CONTAINERS).map((c) => c.at("name").stringOr(""));
  const init = names("initContainers");
  const leave = init.includes(INIT)
    ? `its container ${INIT} writes the rules`
    : init.includes(PROXY) || names("containers").includes(PROXY)
    ? null
    : `it has no container ${PROXY}`;
  const labels = pod.at("metadata").at("labels").strings();
  return {
    annotations: pod.at("metadata").at("annotations").strings(),
    isControlPlane: (labels[COMPONENT] ?? "") !== "",
    leave,
  };
}

/** The annotations of a Namespace. */
export function readNamespace(object: unknown): Readonly<Record<string, string>> {
  return new Field(object, []).at("metadata").at("annotations").strings();
}

/** The ports of the Service `default/kubernetes`, as a list; those that are usual when it is null. */
export function apiServerPorts(service: unknown): string {
  if (service === null) return API_PORTS;
  const ports = new Field(service, []).at("spec").at("ports").list(64).flatMap((port) =>
    [port.at("port").value, port.at("targetPort").value]
      .filter((n) => typeof n === "number" && Number.isInteger(n) && n > 0 && n <= 65535)
  );
  return ports.length === 0 ? API_PORTS : [...new Set(ports)].join(",");
}

/**
 * The rules of one pod: `base` with what its annotations, or else its namespace's, change. As in
 * Linkerd, ports to skip inbound are added to the configured ones, outbound and subnets replace them.
 * The proxy's own ports follow its annotations too, since the injector gives them to the proxy. `note`
 * hears of list elements that are left out. Throws a line that names the annotation.
 */
export function interceptOf(
  base: InterceptOptions,
  pod: PodView,
  namespace: Readonly<Record<string, string>>,
  apiPorts: string,
  note: (line: string) => void,
): InterceptOptions {
  /** Empty values count as none. */
  const text = (name: string): string | null => {
    const own = (pod.annotations[CONFIG + name] ?? "").trim();
    const found = own !== "" ? own : (namespace[CONFIG + name] ?? "").trim();
    return found === "" ? null : found;
  };
  const whole = (name: string, max: number): number | null => {
    const given = text(name);
    if (given === null) return null;
    if (/^\d{1,10}$/.test(given) && Number(given) <= max) return Number(given);
    throw new Error(
      `The annotation ${CONFIG}${name} is ${quote(given)}, not a number up to ${max}`,
    );
  };
  const list = (name: string): PortRange[] | null => {
    const given = text(name);
    return given === null ? null : ranges(given, CONFIG + name, note);
  };
  const subnets = text("skip-subnets");
  const more = [whole("control-port", 65535), whole("admin-port", 65535)]
    .filter((port) => port !== null).map((port) => ({ lo: port, hi: port }));
  return {
    inboundPort: whole("inbound-port", 65535) ?? base.inboundPort,
    outboundPort: whole("outbound-port", 65535) ?? base.outboundPort,
    proxyUid: whole("proxy-uid", 0xffff_ffff) ?? base.proxyUid,
    proxyGid: whole("proxy-gid", 0xffff_ffff) ?? base.proxyGid,
    portsToRedirect: base.portsToRedirect,
    inboundIgnore: [...base.inboundIgnore, ...more, ...list("skip-inbound-ports") ?? []],
    outboundIgnore: [
      ...list("skip-outbound-ports") ?? base.outboundIgnore,
      ...(pod.isControlPlane ? ranges(apiPorts, "API server", note) : []),
    ],
    subnetsIgnore: subnets === null
      ? base.subnetsIgnore
      : split(subnets).map((cidr) => subnet(cidr)),
  };
}

function ranges(text: string, where: string, note: (line: string) => void): PortRange[] {
  return parsePortRanges(
    split(text),
    (wrong) => note(`${where}: ${quote(wrong)} is not PORT or LOW-HIGH and is left out`),
  );
}

function subnet(cidr: string) {
  try {
    return parseSubnet(cidr);
  } catch (e) {
    throw new Error(`The annotation ${CONFIG}skip-subnets: ${errorText(e)}`, { cause: e });
  }
}

function split(text: string): string[] {
  return text.split(",").map((part) => part.trim()).filter((part) => part !== "");
}
