// The CNI plugin: one call of a container runtime from its variables and standard input to the answer on
// standard output. ADD writes the rules of `src/init` into the pod's network namespace, CHECK looks
// whether they are there, DEL has nothing to undo. What it needs of the machine is handed in.

import type { Field } from "../control/field.ts";
import { errorText } from "../core/errors.ts";
import type { Logger, LogLevel } from "../core/log.ts";
import { InitFailure } from "../init/failure.ts";
import type { InterceptOptions } from "../init/rules.ts";
import { type InitPlace, install, type RunCommand, script } from "../init/run.ts";
import {
  type CniCommand,
  NEWEST,
  type PodName,
  readCommand,
  readObject,
  readPodName,
  readSandbox,
  readVersion,
  VERSIONS,
} from "./call.ts";
import { checkRules } from "./check.ts";
import { type CniConfig, readConfig } from "./config.ts";
import { CniError, CODES, errorJson } from "./errors.ts";
import { apiServerPorts, interceptOf, readNamespace, readPod } from "./pod.ts";

/** An object of the API server; null: it does not exist. Rejects with one line. */
export type ReadObject = (path: string) => Promise<unknown>;

/** What the plugin needs of the machine. */
export interface CniHost {
  /** Of `CNI_ENV`. */
  readonly env: ReadonlyMap<string, string>;
  /** All of standard input; rejects when it is too much. */
  stdin(): Promise<string>;
  /** A reader of the API server that a kubeconfig names. Rejects with one line. */
  openApi(kubeconfig: string): Promise<ReadObject>;
  readonly run: RunCommand;
  /** Lines for people, which a runtime takes from standard error. */
  logger(level: LogLevel): Logger;
}

/** What the process prints and ends with. */
export interface CniAnswer {
  readonly stdout: string;
  readonly exit: 0 | 1;
}

/** Answers one call. Never rejects. */
export async function runPlugin(host: CniHost): Promise<CniAnswer> {
  let version: string = NEWEST;
  try {
    const command = readCommand(host.env);
    // A pod that is going away is not held up by what is wrong here.
    if (command === "DEL" || command === "GC") return done("");
    const root = readObject(
      await host.stdin().catch((e: unknown) => {
        throw new CniError(CODES.io, `The network configuration cannot be read: ${errorText(e)}`);
      }),
    );
    if (command === "VERSION") return done(versionJson(root));
    version = readVersion(root);
    return done(await answer(command, root, version, host));
  } catch (e) {
    return { stdout: errorJson(asCniError(e), version), exit: 1 };
  }
}

async function answer(
  command: Exclude<CniCommand, "DEL" | "GC" | "VERSION">,
  root: Field,
  version: string,
  host: CniHost,
): Promise<string> {
  const config = readConfig(root);
  if (command === "STATUS") {
    await host.openApi(config.kubeconfig).catch((e: unknown) => {
      throw new CniError(CODES.notAvailable, `Pods could not be looked up: ${errorText(e)}`);
    });
    return "";
  }
  const { netns } = readSandbox(host.env);
  const pod = readPodName(host.env);
  const log = host.logger(config.level);
  const result = command === "ADD" ? previous(root, version) : "";
  if (pod === null) {
    log.info("CNI_ARGS name no pod: nothing is redirected");
    return result;
  }
  const intercept = await interceptFor(pod, config, host, log);
  if (intercept === null) return result;
  const place: InitPlace = { mode: config.mode, ipv6: config.ipv6, netns, wait: config.wait };
  if (command === "CHECK") {
    await checkRules(intercept, place, onHost(host.run));
    return "";
  }
  if (config.simulate) {
    for (const line of script(intercept, place, "install")) log.warn(line);
    return result;
  }
  await install(intercept, place, onHost(host.run), log);
  log.info("The pod's traffic is redirected", { pod: `${pod.namespace}/${pod.name}`, netns });
  return result;
}

/** The rules of a pod; null: it is left alone. */
async function interceptFor(
  { namespace, name }: PodName,
  config: CniConfig,
  host: CniHost,
  log: Logger,
): Promise<InterceptOptions | null> {
  const which = `${namespace}/${name}`;
  const { read, found } = await reader(config, host);
  const object = await read(`/api/v1/namespaces/${namespace}/pods/${name}`);
  if (object === null) {
    // Its sandbox is being made: an API server that does not know it yet will.
    throw new CniError(CODES.tryAgain, `The API server does not know the pod ${which}`);
  }
  try {
    const pod = readPod(object);
    if (pod.leave !== null) {
      log.info("The pod is left alone", { pod: which, why: pod.leave });
      return null;
    }
    const space = await read(`/api/v1/namespaces/${namespace}`);
    const apiPorts = pod.isControlPlane
      ? apiServerPorts(await found("/api/v1/namespaces/default/services/kubernetes"))
      : "";
    return interceptOf(
      config.intercept,
      pod,
      space === null ? {} : readNamespace(space),
      apiPorts,
      (line) => log.error(line, { pod: which }),
    );
  } catch (e) {
    if (e instanceof CniError) throw e;
    throw new CniError(CODES.pod, `The pod ${which}: ${errorText(e)}`);
  }
}

/** Reads objects: `read` fails the call, `found` takes what cannot be read for missing. */
async function reader(config: CniConfig, host: CniHost) {
  const again = (e: unknown): never => {
    throw new CniError(
      CODES.tryAgain,
      `The API server cannot be asked: ${errorText(e)}`,
      `With ${config.kubeconfig}`,
    );
  };
  const api = await host.openApi(config.kubeconfig).catch(again);
  return {
    read: (path: string) => api(path).catch(again),
    found: (path: string) => api(path).catch(() => null),
  };
}

/** What the plugins before this one made, unchanged: the answer of an ADD. */
function previous(root: Field, version: string): string {
  const before = root.at("prevResult");
  if (before.isAbsent) return JSON.stringify({ cniVersion: version }) + "\n";
  if (typeof before.value !== "object" || Array.isArray(before.value)) {
    throw new CniError(CODES.config, "prevResult is no object");
  }
  return JSON.stringify({ ...before.value, cniVersion: version }) + "\n";
}

function versionJson(root: Field): string {
  const asked = root.at("cniVersion").value;
  return JSON.stringify({
    cniVersion: typeof asked === "string" && asked.length < 32 ? asked : NEWEST,
    supportedVersions: VERSIONS,
  }) + "\n";
}

/** `run`, where a missing nsenter is the host's fault and ends the call. */
function onHost(run: RunCommand): RunCommand {
  return async (command, stdin) => {
    const result = await run(command, stdin);
    if (result.missing) throw new CniError(CODES.rules, `${command[0]} is not on this host's PATH`);
    return result;
  };
}

function asCniError(e: unknown): CniError {
  if (e instanceof CniError) return e;
  if (e instanceof InitFailure) {
    return new CniError(CODES.rules, onThisHost(e.message), "Rules of iptables were not written");
  }
  return new CniError(CODES.rules, errorText(e));
}

/** `src/init` speaks to who runs a container. */
function onThisHost(message: string): string {
  return message.replaceAll(" in this image", " on this host")
    .replaceAll(": add both to the container, or use the CNI plugin", "");
}

function done(stdout: string): CniAnswer {
  return { stdout, exit: 0 };
}
