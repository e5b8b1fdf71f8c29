// The rules that send a pod's TCP through its proxy, as values: chains, order and comments of
// Linkerd's proxy-init. A pure function; `restore.ts` writes them, `run.ts` installs them.

import { multiportLists, type PortRange } from "./ports.ts";
import type { Family, Subnet } from "./subnets.ts";

/** Packets that arrive at the pod. */
export const REDIRECT_CHAIN = "PROXY_INIT_REDIRECT";
/** Packets that the pod's processes send. */
export const OUTPUT_CHAIN = "PROXY_INIT_OUTPUT";

/** What is redirected to where, and what is left alone. */
export interface InterceptOptions {
  readonly inboundPort: number;
  readonly outboundPort: number;
  /** The proxy's own traffic passes; null or 0: no such rule. */
  readonly proxyUid: number | null;
  readonly proxyGid: number | null;
  /** Only these are redirected inbound; empty: all. */
  readonly portsToRedirect: readonly number[];
  readonly inboundIgnore: readonly PortRange[];
  readonly outboundIgnore: readonly PortRange[];
  /** Sources whose connections are not redirected inbound. */
  readonly subnetsIgnore: readonly Subnet[];
}

/** One rule of the nat table: `-A <chain> <args> -m comment --comment <comment>`. */
export interface Rule {
  readonly chain: string;
  readonly args: readonly string[];
  readonly comment: string;
}

/** A chain of ours, what is in it, and the rule that leads into it. */
export interface Chain {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly jump: Rule;
}

/** The chains of one address family, in the order in which they are made. */
export function interceptRules(o: InterceptOptions, family: Family): readonly Chain[] {
  return [inbound(o, family), outbound(o)];
}

function inbound(o: InterceptOptions, family: Family): Chain {
  const name = REDIRECT_CHAIN;
  const rule = (comment: string, ...args: string[]) => make(name, comment, args);
  const to = ["-j", "REDIRECT", "--to-port", String(o.inboundPort)];
  return {
    name,
    rules: [
      ...ignoredPorts(name, o.inboundIgnore),
      ...o.subnetsIgnore.filter((subnet) => subnet.family === family).map(({ cidr }) =>
        rule(`ignore-subnet-${cidr}`, "-p", "all", "-j", "RETURN", "-s", cidr)
      ),
      ...(o.portsToRedirect.length === 0
        ? [rule("redirect-all-incoming-to-proxy-port", "-p", "tcp", ...to)]
        : o.portsToRedirect.map((port) =>
          rule(
            `redirect-port-${port}-to-proxy-port`,
            ...["-p", "tcp", "--destination-port", String(port)],
            ...to,
          )
        )),
    ],
    jump: make("PREROUTING", "install-proxy-init-prerouting", ["-j", name]),
  };
}

function outbound(o: InterceptOptions): Chain {
  const name = OUTPUT_CHAIN;
  const rule = (comment: string, ...args: string[]) => make(name, comment, args);
  const owner = (comment: string, flag: string, id: number | null) =>
    id !== null && id > 0 ? [rule(comment, "-m", "owner", flag, String(id), "-j", "RETURN")] : [];
  return {
    name,
    rules: [
      ...owner("ignore-proxy-user-id", "--uid-owner", o.proxyUid),
      ...owner("ignore-proxy-group-id", "--gid-owner", o.proxyGid),
      rule("ignore-loopback", "-o", "lo", "-j", "RETURN"),
      ...ignoredPorts(name, o.outboundIgnore),
      rule(
        "redirect-all-outgoing-to-proxy-port",
        ...["-p", "tcp", "-j", "REDIRECT", "--to-port", String(o.outboundPort)],
      ),
    ],
    jump: make("OUTPUT", "install-proxy-init-output", ["-j", name]),
  };
}

function ignoredPorts(chain: string, ranges: readonly PortRange[]): Rule[] {
  return multiportLists(ranges).map((list) =>
    make(chain, `ignore-port-${list}`, [
      ...["-p", "tcp", "--match", "multiport", "--dports", list],
      ...["-j", "RETURN"],
    ])
  );
}

function make(chain: string, comment: string, args: readonly string[]): Rule {
  return { chain, args, comment: `proxy-init/${comment}` };
}
