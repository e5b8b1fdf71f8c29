// `npm run build:cni [OUT]`: the CNI plugin as one executable that needs no Node on its host: Node's own,
// made smaller (tools/cni/slim-elf.ts), with the plugin's bundle in it. Into .cache/cni/linkerd-cni
// unless another path is given; tried once before it counts as made.

import { execFile, spawnSync } from "node:child_process";
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { needsLibatomic, withoutLibatomic, withoutSections } from "./cni/slim-elf.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
/** Where the executable is made for tests and the image. */
export const CNI_EXECUTABLE = join(ROOT, ".cache/cni/linkerd-cni");

/** What was made. */
export interface BuiltPlugin {
  readonly path: string;
  readonly bytes: number;
  /** The host must have libatomic.so.1. */
  readonly needsLibatomic: boolean;
}

/** The Node whose executable it is made of: the pinned one of this platform. Null: there is none. */
export async function pinnedNode(): Promise<string | null> {
  const path = join(ROOT, `node_modules/node-linux-${process.arch}/bin/node`);
  return process.platform === "linux" && await stat(path).then(() => true, () => false)
    ? path
    : null;
}

/** The plugin's bundle: what it needs of the sources and of the package yaml. CommonJS, as Node wants. */
export async function bundlePlugin(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: ["src/cli/cni-main.ts"],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: "node26",
    minify: true,
    legalComments: "none",
    logLevel: "silent",
  });
  const text = outputFiles[0]?.text;
  if (text === undefined) throw new Error("esbuild made no bundle");
  return text;
}

/** Makes the executable at `out`. Rejects with one line. */
export async function buildPlugin(out: string): Promise<BuiltPlugin> {
  const node = await pinnedNode();
  if (node === null) throw new Error(`there is no pinned Node for linux-${process.arch}`);
  const folder = `${out}.${process.pid}.build`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  try {
    const whole = new Uint8Array(await readFile(node));
    const slim = withoutSections(withoutLibatomic(whole) ?? whole);
    await writeFile(join(folder, "node"), slim, { mode: 0o755 });
    await writeFile(join(folder, "main.cjs"), await bundlePlugin());
    // By names alone, since they end up in the executable.
    const config = {
      main: "main.cjs",
      output: "linkerd-cni",
      executable: "./node",
      disableExperimentalSEAWarning: true,
      useSnapshot: false,
      // It saves 5 ms of 60, and is another one each time: the image would be too.
      useCodeCache: false,
    };
    await writeFile(join(folder, "sea.json"), JSON.stringify(config));
    await promisify(execFile)(node, ["--build-sea", "sea.json"], { cwd: folder });
    const made = join(folder, config.output);
    await chmod(made, 0o755);
    tryOut(made);
    await mkdir(dirname(out), { recursive: true });
    await rename(made, out);
    const { size } = await stat(out);
    return { path: out, bytes: size, needsLibatomic: needsLibatomic(slim) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A runtime's first question. */
function tryOut(path: string): void {
  const { status, stdout, stderr } = spawnSync(path, [], {
    input: '{"cniVersion":"1.0.0"}',
    env: { CNI_COMMAND: "VERSION" },
    encoding: "utf8",
    timeout: 30_000,
  });
  if (status !== 0 || !stdout.includes('"supportedVersions"')) {
    throw new Error(`the executable does not work: status ${status}, ${stderr.slice(0, 300)}`);
  }
}

if (import.meta.main) {
  try {
    const made = await buildPlugin(resolve(process.argv[2] ?? CNI_EXECUTABLE));
    const needs = made.needsLibatomic ? ", needs libatomic.so.1 on its host" : "";
    console.log(`${made.path}  ${(made.bytes / 1e6).toFixed(1)} MB${needs}`);
  } catch (e) {
    console.error(`build-cni: ${e instanceof Error ? e.message : e}`);
    process.exitCode = 1;
  }
}
