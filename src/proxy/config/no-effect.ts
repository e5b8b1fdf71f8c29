// Variables of Linkerd's proxy that this one reads and cannot follow, each with its reason. A proxy that
// finds one set says so in one line at its start; `docs/CONFIGURATION.md` has the same list.

import type { EnvName } from "./names.ts";

const POLICY = "the policy controller applies it";
const USER_TIMEOUT =
  "no runtime can set TCP_USER_TIMEOUT; keep-alive and idle time-outs end dead peers";
const TRACE = "spans are not exported";
const AS_REQUESTS = "connections wait as requests do, by the values of HTTP";
const H2_BUFFERS = "flow control has fixed windows, and what is sent is bounded by them";

/** What is set without effect, and why. */
export const NO_EFFECT: ReadonlyMap<EnvName, string> = new Map<EnvName, string>([
  ["LINKERD2_PROXY_INBOUND_ACCEPT_USER_TIMEOUT", USER_TIMEOUT],
  ["LINKERD2_PROXY_INBOUND_CONNECT_USER_TIMEOUT", USER_TIMEOUT],
  ["LINKERD2_PROXY_INBOUND_PORTS_REQUIRE_IDENTITY", POLICY],
  ["LINKERD2_PROXY_INBOUND_PORTS_REQUIRE_TLS", POLICY],
  ["LINKERD2_PROXY_INBOUND_SERVER_HTTP2_ADAPTIVE_FLOW_CONTROL", H2_BUFFERS],
  ["LINKERD2_PROXY_INBOUND_SERVER_HTTP2_MAX_SEND_BUF_SIZE", H2_BUFFERS],
  ["LINKERD2_PROXY_OUTBOUND_ACCEPT_USER_TIMEOUT", USER_TIMEOUT],
  ["LINKERD2_PROXY_OUTBOUND_CONNECT_USER_TIMEOUT", USER_TIMEOUT],
  ["LINKERD2_PROXY_OUTBOUND_SERVER_HTTP2_ADAPTIVE_FLOW_CONTROL", H2_BUFFERS],
  ["LINKERD2_PROXY_OUTBOUND_SERVER_HTTP2_MAX_SEND_BUF_SIZE", H2_BUFFERS],
  ["LINKERD2_PROXY_OUTBOUND_TCP_FAILFAST_TIMEOUT", AS_REQUESTS],
  ["LINKERD2_PROXY_OUTBOUND_TCP_QUEUE_CAPACITY", AS_REQUESTS],
  ["LINKERD2_PROXY_TRACE_ANNOTATIONS_PATH", TRACE],
  ["LINKERD2_PROXY_TRACE_ATTRIBUTES_PATH", TRACE],
  ["LINKERD2_PROXY_TRACE_COLLECTOR_SVC_ADDR", TRACE],
  ["LINKERD2_PROXY_TRACE_COLLECTOR_SVC_NAME", TRACE],
  ["LINKERD2_PROXY_TRACE_EXTRA_ATTRIBUTES", TRACE],
  ["LINKERD2_PROXY_TRACE_PROTOCOL", TRACE],
  ["LINKERD2_PROXY_TRACE_SERVICE_NAME", TRACE],
]);

/**
 * One line for each variable that is set without effect. The two that every injector sets are left
 * out: nobody chose them.
 */
export function withoutEffect(env: ReadonlyMap<string, string>): readonly string[] {
  const lines: string[] = [];
  for (const [name, why] of NO_EFFECT) {
    if (env.has(name) && !BY_EVERY_INJECTOR.has(name)) lines.push(`${name} has no effect: ${why}`);
  }
  return lines;
}

const BY_EVERY_INJECTOR: ReadonlySet<EnvName> = new Set<EnvName>([
  "LINKERD2_PROXY_INBOUND_ACCEPT_USER_TIMEOUT",
  "LINKERD2_PROXY_OUTBOUND_CONNECT_USER_TIMEOUT",
]);
