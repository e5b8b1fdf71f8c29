// `tulle cni-install`: what the CNI plugin's DaemonSet runs on each node. Takes Linkerd's variables; puts
// the plugin onto the host, keeps it there, and takes it away when it is stopped.

import process from "node:process";
import { Installer, type InstallPlan } from "../cni/installer.ts";
import { pluginObject } from "../cni/kubeconfig.ts";
import { errorText } from "../core/errors.ts";
import { createLogger, LOG_LEVELS } from "../core/log.ts";
import { readEnv } from "../runtime/env.ts";
import { hostFiles } from "../runtime/host-files.ts";
import { onStopSignal, SYSTEM_CLOCK } from "../runtime/process.ts";
import type { Command } from "./command.ts";
import { CliError, EXIT_CONFIG, usageError } from "./failure.ts";
import { quote } from "./flags.ts";

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const PLUGIN = "linkerd-cni";

/** Variables that are read, and what counts without them. */
export const CNI_INSTALL_ENV: Readonly<Record<string, string>> = {
  DEST_CNI_BIN_DIR: "/opt/cni/bin",
  DEST_CNI_NET_DIR: "/etc/cni/net.d",
  CONTAINER_CNI_BIN_DIR: "/opt/cni/bin",
  CONTAINER_MOUNT_PREFIX: "/host",
  CNI_NETWORK_CONFIG: "",
  CNI_NETWORK_CONFIG_FILE: "",
  KUBECONFIG_FILE_NAME: "ZZZ-linkerd-cni-kubeconfig",
  KUBE_CA_FILE: `${ACCOUNT}/ca.crt`,
  KUBE_TOKEN_FILE: `${ACCOUNT}/token`,
  KUBERNETES_SERVICE_HOST: "",
  KUBERNETES_SERVICE_PORT: "443",
  TULLE_CNI_ON_EXIT: "remove",
};

/** Installs the plugin on a host. */
export const cniInstallCommand: Command = {
  name: "cni-install",
  summary: "Put the CNI plugin onto this node and keep it there",
  usage: "[--log-level LEVEL]",
  flags: [
    { name: "--log-level", value: "LEVEL", summary: "debug, info, warn, error (info)" },
    { name: "--log-format", value: "plain|json", summary: "(plain)" },
  ],
  notes: [
    "Variables, with what counts without them:\n" +
    Object.entries(CNI_INSTALL_ENV).map(([name, or]) => `  ${name}${or === "" ? "" : `  ${or}`}`)
      .join("\n"),
    "CNI_NETWORK_CONFIG, or a file, holds the plugin's part of a list. On SIGTERM it takes everything\n" +
    "away again, unless TULLE_CNI_ON_EXIT is keep.",
  ],
  async run(flags, terminal) {
    const env = readEnv(Object.keys(CNI_INSTALL_ENV));
    const levelText = flags.text("--log-level") ?? "info";
    const level = LOG_LEVELS.find((name) => name === levelText);
    if (level === undefined) {
      throw usageError(`--log-level ${quote(levelText)} is not one of ${LOG_LEVELS.join(", ")}`);
    }
    const format = flags.text("--log-format") ?? "plain";
    if (format !== "plain" && format !== "json") {
      throw usageError(`--log-format ${quote(format)} is neither plain nor json`);
    }
    const log = createLogger({ level, format, wall: SYSTEM_CLOCK.wall, write: terminal.out });
    const files = hostFiles();
    const read = async (path: string) => {
      const text = await files.read(path);
      if (text === null) throw bad(`CNI_NETWORK_CONFIG_FILE ${path} is not there`);
      return text;
    };
    const { plan, keep } = await installPlan(env, read);
    const installer = new Installer(plan, files, SYSTEM_CLOCK, log);
    const stop = new AbortController();
    onStopSignal((signal) => {
      log.info("Stops", { signal });
      stop.abort();
    });
    await installer.run(stop.signal);
    if (keep) log.info("The plugin stays on this host");
    else await installer.remove();
    process.exitCode = 0;
    return 0;
  },
};

/** What the variables say. Throws one line that names the variable. */
export async function installPlan(
  env: ReadonlyMap<string, string>,
  readFile: (path: string) => Promise<string>,
): Promise<{ readonly plan: InstallPlan; readonly keep: boolean }> {
  const value = (name: string): string => {
    const given = env.get(name) ?? "";
    return given === "" ? CNI_INSTALL_ENV[name] ?? "" : given;
  };
  const folder = (name: string): string => {
    const path = value(name).replace(/\/+$/, "");
    if (!path.startsWith("/") && path !== "") throw bad(`${name} ${path} is not absolute`);
    return path;
  };
  const api = { host: value("KUBERNETES_SERVICE_HOST"), port: value("KUBERNETES_SERVICE_PORT") };
  if (api.host === "") {
    throw bad("KUBERNETES_SERVICE_HOST is not set: this is for a pod of a cluster");
  }
  const onExit = value("TULLE_CNI_ON_EXIT");
  if (onExit !== "remove" && onExit !== "keep") {
    throw bad(`TULLE_CNI_ON_EXIT ${quote(onExit)} is neither remove nor keep`);
  }
  const name = value("KUBECONFIG_FILE_NAME");
  if (!/^[A-Za-z0-9][\w.-]*$/.test(name)) {
    throw bad(`KUBECONFIG_FILE_NAME ${quote(name)} is not the name of a file`);
  }
  const file = value("CNI_NETWORK_CONFIG_FILE");
  const template = value("CNI_NETWORK_CONFIG") || (file === "" ? "" : await readFile(file));
  if (template === "") throw bad("CNI_NETWORK_CONFIG is not set, nor CNI_NETWORK_CONFIG_FILE");
  const prefix = folder("CONTAINER_MOUNT_PREFIX");
  try {
    return {
      plan: {
        source: `${folder("CONTAINER_CNI_BIN_DIR")}/${PLUGIN}`,
        executable: `${prefix}${folder("DEST_CNI_BIN_DIR")}/${PLUGIN}`,
        netDir: `${prefix}${folder("DEST_CNI_NET_DIR")}`,
        kubeconfigName: name,
        // As the host sees it.
        plugin: pluginObject(template, `${folder("DEST_CNI_NET_DIR")}/${name}`, api),
        apiHost: api.host,
        apiPort: api.port,
        tokenFile: value("KUBE_TOKEN_FILE"),
        caFile: value("KUBE_CA_FILE"),
      },
      keep: onExit === "keep",
    };
  } catch (e) {
    throw e instanceof CliError ? e : bad(errorText(e));
  }
}

function bad(message: string): CliError {
  return new CliError(message, { exit: EXIT_CONFIG });
}
