// The demo's temporary folder: a copy of `demo/mesh` with the chosen network in it, and a folder for
// each pod. Made at the start, removed at the end.

import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_NET, type DemoFolders, type DemoPod, podFolders } from "./demo-plan.ts";
import { PACKAGE_ROOT } from "./entries.ts";
import { CliError, writeTrouble } from "./failure.ts";

/** Makes the folders; only this user may look into them. */
export async function makeFolders(net: string, pods: readonly DemoPod[]): Promise<DemoFolders> {
  const root = await mkdtemp(join(tmpdir(), "tulle-demo-")).catch((e: unknown) => {
    throw new CliError(`A folder in ${tmpdir()} ${writeTrouble(e)}`, {
      hint: "TMPDIR names another place",
      cause: e,
    });
  });
  await chmod(root, 0o700);
  const folders = {
    root,
    mesh: join(root, "demo", "mesh"),
    modules: join(root, "filters", "build"),
    state: join(root, "state"),
    pods: join(root, "pods"),
  };
  await mkdir(folders.mesh, { recursive: true });
  await mkdir(folders.state, { mode: 0o700 });
  for (const pod of pods) {
    const { identity, filters } = podFolders(folders, pod);
    await mkdir(identity, { recursive: true, mode: 0o700 });
    await mkdir(filters, { recursive: true, mode: 0o700 });
  }
  const digests = await readDigests();
  const from = join(PACKAGE_ROOT, "demo", "mesh");
  for (const name of await readdir(from)) {
    const text = await readFile(join(from, name), "utf8");
    await writeFile(join(folders.mesh, name), withDigests(withNet(text, net), digests));
  }
  // as far from the objects as in the checkout, since they name their modules by a relative path
  await cp(join(PACKAGE_ROOT, "filters", "build"), folders.modules, { recursive: true });
  return folders;
}

/** Puts another network in the place of the one in the files. */
export function withNet(text: string, net: string): string {
  return text.replaceAll(new RegExp(`\\b${DEFAULT_NET.replace(".", "\\.")}\\.`, "g"), `${net}.`);
}

/** The digests of the builds that the package has, by file name without `.wasm`. */
export async function readDigests(): Promise<Readonly<Record<string, string>>> {
  const text = await readFile(join(PACKAGE_ROOT, "filters", "build", "digests.json"), "utf8");
  return JSON.parse(text) as Record<string, string>;
}

/** The second builds of filters, `NAME.v2.wasm`, by the filter's name. */
export async function readSpares(
  folders: DemoFolders,
): Promise<ReadonlyMap<string, { readonly sha256: string; readonly wasm: Uint8Array }>> {
  const spares = new Map<string, { sha256: string; wasm: Uint8Array }>();
  for (const [name, sha256] of Object.entries(await readDigests())) {
    const filter = /^(.+)\.v2$/.exec(name)?.[1];
    if (filter === undefined) continue;
    const wasm = await readFile(join(folders.modules, `${name}.wasm`));
    spares.set(filter, { sha256, wasm: new Uint8Array(wasm) });
  }
  return spares;
}

/** Names the builds that are there, should a filter have been built again since the file was written. */
export function withDigests(text: string, digests: Readonly<Record<string, string>>): string {
  return text.replaceAll(
    /^( *sha256: )[0-9a-f]{64}(\n *file: \S*?([a-z0-9.-]+)\.wasm)$/gm,
    (whole, key: string, file: string, name: string) =>
      digests[name] === undefined ? whole : key + digests[name] + file,
  );
}

/** Removes everything. */
export function removeFolders(folders: DemoFolders): Promise<void> {
  return rm(folders.root, { recursive: true, force: true });
}
