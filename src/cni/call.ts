// One call of a container runtime: the variables that it sets and the configuration on standard input,
// checked and bounded. Before anything else of the plugin; asks nobody anything.

import { Field, FieldError } from "../control/field.ts";
import { CniError, CODES } from "./errors.ts";

/** The variables that a runtime sets, and where programs are found. */
export const CNI_ENV = [
  "CNI_COMMAND",
  "CNI_CONTAINERID",
  "CNI_NETNS",
  "CNI_IFNAME",
  "CNI_ARGS",
] as const;

/** Versions of the specification that are spoken, oldest first. */
export const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
/** Said where no version was understood. */
export const NEWEST = "1.1.0";

/** Larger than any configuration with any `prevResult`. */
export const MAX_STDIN_BYTES = 1024 * 1024;

const COMMANDS = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as const;
export type CniCommand = (typeof COMMANDS)[number];

const MAX_VALUE = 4096;
/** As libcni checks it. */
const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,255}$/;
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const DNS_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Which pod a sandbox is for. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** The command. Throws where it is missing or not one. */
export function readCommand(env: ReadonlyMap<string, string>): CniCommand {
  const text = env.get("CNI_COMMAND") ?? "";
  const command = COMMANDS.find((name) => name === text);
  if (command !== undefined) return command;
  throw new CniError(
    CODES.environment,
    text === "" ? "CNI_COMMAND is not set" : `CNI_COMMAND ${quote(text)} is not a command`,
    "A container runtime runs this program; it is one of " + COMMANDS.join(", "),
  );
}

/** The object on standard input. Its text is never repeated: a runtime may put credentials into it. */
export function readObject(text: string): Field {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CniError(
      CODES.decode,
      text.trim() === ""
        ? "There is no network configuration on standard input"
        : "The network configuration on standard input is not JSON",
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CniError(CODES.decode, "The network configuration on standard input is no object");
  }
  return new Field(value, []);
}

/** The configuration's version. Throws for one that is not spoken here. */
export function readVersion(config: Field): string {
  const text = reading(() => config.at("cniVersion").stringOr(""));
  if (VERSIONS.some((version) => version === text)) return text;
  throw new CniError(
    CODES.version,
    text === "" ? "cniVersion is missing" : `cniVersion ${quote(text)} is not supported`,
    `It is one of ${VERSIONS.join(", ")}`,
  );
}

/** The path of the pod's network namespace, and what else a runtime must set. */
export function readSandbox(env: ReadonlyMap<string, string>): { readonly netns: string } {
  const id = env.get("CNI_CONTAINERID") ?? "";
  if (!CONTAINER_ID.test(id)) {
    throw new CniError(CODES.environment, `CNI_CONTAINERID ${quote(id)} is not a container's id`);
  }
  const device = env.get("CNI_IFNAME") ?? "";
  if (!/^[^\s/:]{1,15}$/.test(device) || device === "." || device === "..") {
    throw new CniError(CODES.environment, `CNI_IFNAME ${quote(device)} is not an interface's name`);
  }
  const netns = env.get("CNI_NETNS") ?? "";
  // deno-lint-ignore no-control-regex -- it ends up in a command line and in logs
  if (!netns.startsWith("/") || netns.length > MAX_VALUE || /[\x00-\x1f\x7f]/.test(netns)) {
    throw new CniError(
      CODES.environment,
      `CNI_NETNS ${quote(netns)} is not the absolute path of a network namespace`,
    );
  }
  return { netns };
}

/** Of `CNI_ARGS`, `K=V;K=V`: which pod it is for. Null: for none, as in a runtime without Kubernetes. */
export function readPodName(env: ReadonlyMap<string, string>): PodName | null {
  const text = env.get("CNI_ARGS") ?? "";
  if (text.length > 64 * MAX_VALUE) {
    throw new CniError(CODES.environment, `CNI_ARGS has ${text.length} characters: too many`);
  }
  const args = new Map<string, string>();
  for (const pair of text.split(";")) {
    const cut = pair.indexOf("=");
    if (cut > 0) args.set(pair.slice(0, cut), pair.slice(cut + 1));
  }
  const namespace = args.get("K8S_POD_NAMESPACE") ?? "";
  const name = args.get("K8S_POD_NAME") ?? "";
  if (namespace === "" || name === "") return null;
  // They become a part of a path at the API server.
  if (!DNS_LABEL.test(namespace) || !DNS_NAME.test(name)) {
    throw new CniError(
      CODES.environment,
      `CNI_ARGS: ${quote(`${namespace}/${name}`)} is not the name of a pod`,
    );
  }
  return { namespace, name };
}

/** What `read` gives; a wrong field is an error of the configuration. */
export function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (e) {
    if (e instanceof FieldError) throw new CniError(CODES.config, e.message);
    throw e;
  }
}

/** For messages: short, and on one line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? text.slice(0, 79) + "…" : text);
}
