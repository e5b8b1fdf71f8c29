// Values with meaning for the mesh: policies, identities, namespaces. As `grammar.ts`, each throws a
// sentence that completes «NAME …», which never repeats key material.

import { contextFromWire, workloadFromWire } from "../../api/workload.ts";
import { isDnsLike } from "../../model/identity.ts";
import type { AccessLog, DefaultPolicy, LogFormat } from "../config.ts";
import { isHostName } from "./grammar.ts";

const DEFAULT_POLICIES: readonly DefaultPolicy[] = [
  "deny",
  "all-authenticated",
  "all-unauthenticated",
  "cluster-authenticated",
  "cluster-unauthenticated",
  "audit",
];

/** One of the six names; those that speak of the cluster need its networks. */
export function parseDefaultPolicy(
  text: string,
  clusterNetworks: readonly string[],
): DefaultPolicy {
  const policy = DEFAULT_POLICIES.find((p) => p === text);
  if (policy === undefined) {
    throw new Error(`is ${JSON.stringify(text)}: write one of ${DEFAULT_POLICIES.join(", ")}`);
  }
  if (clusterNetworks.length === 0 && (policy.startsWith("cluster-") || policy === "audit")) {
    throw new Error(`is ${policy}, which needs LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS`);
  }
  return policy;
}

/** `plain` or `json`; empty is plain. */
export function parseLogFormat(text: string): LogFormat {
  const format = text.trim().toLowerCase();
  if (format === "" || format === "plain") return "plain";
  if (format === "json") return "json";
  throw new Error(`is ${JSON.stringify(text)}: write plain or json`);
}

/** `apache` or `json`; empty is no access log. */
export function parseAccessLog(text: string): AccessLog | null {
  if (text === "") return null;
  if (text === "apache" || text === "json") return text;
  throw new Error(`is ${JSON.stringify(text)}: write apache or json`);
}

/** Empty, or `unsafe`: a client chooses the label, and so how many series there are. */
export function parseAuthorityLabels(text: string): boolean {
  if (text === "" || text === "unsafe") return text === "unsafe";
  throw new Error(`is ${JSON.stringify(text)}: write unsafe, or leave it out`);
}

/** A DNS-like identity, without final dot. */
export function parseIdentity(text: string): string {
  const name = text.replace(/\.$/, "");
  if (!isDnsLike(name)) throw new Error(`is ${JSON.stringify(text)}, which is not a DNS-like name`);
  return name;
}

/** A DNS-like identity or a SPIFFE ID. */
export function parseServerId(text: string): string {
  return /^spiffe:\/\/[!-~]{1,2000}$/.test(text) ? text : parseIdentity(text);
}

/** Any text: only the control plane reads it. */
export function parseWorkload(text: string): string {
  if (text.trim() === "") throw new Error("must not be empty");
  return text;
}

/** A path of the file system. */
export function parsePath(text: string): string {
  if (text === "" || text.includes("\0")) throw new Error("must be a path");
  return text;
}

/** Only the frame is looked at here; the keys are parsed where they are used. */
export function parseKeys(text: string): string {
  if (text.startsWith("/") && !text.includes("\n")) return text; // a file with them
  if (text.includes("PRIVATE KEY")) throw new Error("holds a private key");
  const isPem = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/.test(text);
  if (!isPem && !/^\s*[A-Za-z0-9+/]{43}=\s*$/m.test(text)) throw new Error("holds no public key");
  return text;
}

/** Only the frame is looked at here; the certificates are parsed where they are used. */
export function parsePem(text: string): string {
  if (!/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.test(text)) {
    throw new Error("holds no PEM certificate");
  }
  return text;
}

/** A DNS domain in lower case without final dot. */
export function parseDomain(text: string): string {
  const name = text.toLowerCase().replace(/\.$/, "");
  if (!isHostName(name)) throw new Error(`is ${JSON.stringify(text)}, which is no domain`);
  return name;
}

/** The namespace that a context token or a workload names, or null. */
export function namespaceOf(context: string, workload: string): string | null {
  const named = contextFromWire(context).namespace || workloadFromWire(workload)?.namespace || "";
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(named) ? named : null;
}
