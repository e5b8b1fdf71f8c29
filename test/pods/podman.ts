// Podman as the suite of pods uses it: with a configuration of its own, bounded, one line for what
// failed. What tools/setup-pods made is found here, and why pods cannot be played where it made nothing.

import { execFile, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MADE = `${ROOT}.cache/pods/`;

/** What a finished command left. */
export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Which runtime the proxy's image has. */
export type ImageKind = "node" | "deno";

/** Why no pods can be played here, or null. */
export function podsMissing(): string | null {
  if (process.getuid?.() !== 0) return "pods need root";
  if (existsSync(`${MADE}problem`)) {
    return `${readFileSync(`${MADE}problem`, "utf8").trim()} (tools/setup-pods)`;
  }
  if (!existsSync(`${MADE}stamp`)) return "there are no base images (tools/setup-pods makes them)";
  for (const image of [baseImage("base"), baseImage("apps")]) {
    const args = ["image", "exists", image];
    const { status } = spawnSync("podman", args, { env: environment(), timeout: 60_000 });
    if (status !== 0) return `podman has no image ${image} (tools/setup-pods makes it)`;
  }
  return null;
}

/** `base`: what our image stands on; `apps`: applications that are not ours. */
export function baseImage(name: "base" | "apps"): string {
  return `localhost/tulle-pods/${name}:${readFileSync(`${MADE}stamp`, "utf8").trim()}`;
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, CONTAINERS_CONF: `${MADE}containers.conf` };
}

/** Runs a command to its end. Rejects for one that does not end in time. */
export function run(
  command: readonly string[],
  options: { readonly timeoutMs?: number; readonly input?: string } = {},
): Promise<Finished> {
  const { timeoutMs = 120_000, input = "" } = options;
  const [file = "", ...args] = command;
  const { promise, resolve, reject } = Promise.withResolvers<Finished>();
  const child = execFile(file, args, {
    cwd: ROOT,
    env: environment(),
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    maxBuffer: 64 * 1024 * 1024,
  }, (error, stdout, stderr) => {
    if (error?.killed) reject(new Error(`${command.join(" ")} took over ${timeoutMs} ms`));
    else resolve({ status: child.exitCode ?? 1, stdout, stderr });
  });
  child.stdin?.end(input);
  return promise;
}

/** Runs podman and gives its output. Rejects with what it said when it fails. */
export async function podman(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(["nice", "-n", "10", "podman", ...args]);
  if (status === 0) return stdout.trim();
  throw new Error(
    `podman ${args.slice(0, 4).join(" ")}: ${stderr.trim() || `ended with ${status}`}`,
  );
}

/** Builds our image from the sources as they are, and gives its name. */
export async function buildImage(kind: ImageKind): Promise<string> {
  const tag = `localhost/tulle-pods/tulle:${kind}`;
  const target = kind === "node" ? [] : ["--target", kind];
  const id = async () => (await run(["podman", "image", "inspect", "-f", "{{.Id}}", tag])).stdout;
  const before = await id();
  const { status, stdout, stderr } = await run([
    ...["nice", "-n", "10", "k8s/image/build", tag],
    ...["--build-arg", `BASE=${baseImage("base")}`, ...target],
  ], { timeoutMs: 240_000 });
  if (status !== 0) throw new Error(`k8s/image/build: ${(stderr || stdout).slice(-2000)}`);
  // Of other sources: nobody needs it any more, unless a pod still runs it.
  if (before !== "" && before !== await id()) await run(["podman", "rmi", before.trim()]);
  return tag;
}
