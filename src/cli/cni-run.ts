// Runs the CNI plugin once: hands it the environment, standard input, the API server of its kubeconfig
// and the programs of this machine. For `tulle cni`, and for the executable that lies on a host.

import { dirname, resolve } from "node:path";
import process from "node:process";
import { type CniHost, runPlugin } from "../cni/plugin.ts";
import { CNI_ENV, MAX_STDIN_BYTES } from "../cni/call.ts";
import { KUBE_CONTEXT } from "../cni/config.ts";
import { KubeError } from "../control/k8s/api.ts";
import { openKube } from "../control/k8s/open.ts";
import { createLogger } from "../core/log.ts";
import { readEnv } from "../runtime/env.ts";
import { execute } from "../runtime/exec.ts";
import { readBounded } from "../runtime/files.ts";
import { createHttpsClient } from "../runtime/https-request.ts";
import { runCommand } from "../runtime/iptables-run.ts";
import { SYSTEM_CLOCK, writeErrorLine } from "../runtime/process.ts";
import { readStdin } from "./stdin.ts";

/** A kubelet waits for a sandbox as a whole: one answer of the API server must not take it all. */
const API_TIMEOUT_MS = 10_000;

/** Answers the call that this process was started for. Resolves with the exit status; never rejects. */
export async function runCni(): Promise<number> {
  const ends: (() => Promise<void>)[] = [];
  const host: CniHost = {
    env: readEnv(CNI_ENV),
    stdin: () => readStdin(MAX_STDIN_BYTES),
    async openApi(kubeconfig) {
      const { api } = await openKube({ kubeconfig, context: KUBE_CONTEXT }, {
        env: new Map(),
        read: readBounded,
        execute,
        clock: SYSTEM_CLOCK,
        resolve,
        folderOf: dirname,
        connect(options) {
          const client = createHttpsClient(options);
          return {
            ...client,
            request: (what) => client.request({ ...what, timeoutMs: API_TIMEOUT_MS }),
          };
        },
      });
      ends.push(() => api.close());
      return async (path) => {
        try {
          return await api.request({ path });
        } catch (e) {
          if (e instanceof KubeError && e.status === 404) return null;
          throw e;
        }
      };
    },
    run: runCommand,
    logger: (level) =>
      createLogger({
        level,
        format: "plain",
        wall: SYSTEM_CLOCK.wall,
        write: writeErrorLine,
        name: "linkerd-cni",
      }),
  };
  const { stdout, exit } = await runPlugin(host);
  await new Promise<void>((written) => {
    if (stdout === "") written();
    else process.stdout.write(stdout, () => written());
  });
  for (const end of ends) await end();
  return exit;
}
