// `npm run build`, and before `npm pack`: one bundle for each process that the package starts, in
// dist/. Bundles, since Node strips no types under node_modules, and since one file starts sooner.
// What a bundle reads at run time (filters/build, demo/mesh) is listed in package.json's `files`.

import { cp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Metafile } from "esbuild";
import { buildTypes } from "./build-types.ts";

/** What is bundled: the bundle's path in dist/ without `.js`, and its entry. As in src/cli/entries.ts. */
export const ENTRIES: Readonly<Record<string, string>> = {
  "cli": "src/cli/main.ts",
  "proxy": "src/proxy/main.ts",
  "worker": "src/proxy/worker.ts",
  "control": "src/control/main.ts",
  "injector": "src/control/injector/main.ts",
  "tether": "src/runtime/tether.ts",
  "testing": "wasm/sdk/testing.ts",
  "demo/web": "demo/services/web.ts",
  "demo/catalogue": "demo/services/catalogue.ts",
  "demo/vote": "demo/services/vote.ts",
  "demo/load": "demo/services/load.ts",
};

/** Packages in CommonJS call `require`, which an ES module has not. */
const REQUIRE = `import { createRequire as __createRequire } from "node:module";
const require = __createRequire(import.meta.url);`;

/** Builds every bundle into `<root>/dist`, and the notices of what they contain. */
export async function buildPackage(root: string): Promise<{ path: string; bytes: number }[]> {
  const dist = join(root, "dist");
  await rm(dist, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: Object.entries(ENTRIES).map(([out, entry]) => ({ in: entry, out })),
    outdir: "dist",
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node26",
    conditions: ["node"],
    // Not of the package: only commands that compile filters load it, and it is 100 MB.
    external: ["assemblyscript"],
    banner: { js: REQUIRE },
    legalComments: "none", // The notices are whole, in one file.
    metafile: true,
    logLevel: "silent",
  });
  // Read by the control plane beside its bundle.
  await cp(join(root, "src/dashboard"), join(dist, "dashboard"), { recursive: true });
  await buildTypes(root);
  await writeFile(join(dist, "THIRD-PARTY.txt"), await notices(root, metafile));
  const files = Object.keys(ENTRIES).map((out) => join(dist, `${out}.js`));
  return await Promise.all(
    files.map(async (path) => ({ path, bytes: (await stat(path)).size })),
  );
}

/** Name, version and licence text of every package of which a bundle contains something. */
async function notices(root: string, metafile: Metafile): Promise<string> {
  const folders = new Set<string>();
  for (const output of Object.values(metafile.outputs)) {
    for (const input of Object.keys(output.inputs)) {
      const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
      if (folder !== undefined) folders.add(folder);
    }
  }
  const parts = ["The bundles in this folder contain parts of the following packages.\n"];
  for (const folder of [...folders].sort()) {
    const manifest = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8"));
    const names = await readdir(join(root, folder));
    const file = names.find((n) => /^(licen[cs]e|copying)/i.test(n));
    const text = file === undefined
      ? `Licensed under ${manifest.license}; the package carries no licence text.`
      : (await readFile(join(root, folder, file), "utf8")).trim();
    parts.push(
      `${"=".repeat(78)}\n${manifest.name} ${manifest.version} (${manifest.license})\n\n${text}\n`,
    );
  }
  return parts.join("\n");
}

if (import.meta.main) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  try {
    // On standard error: what `npm pack` prints is read by programs.
    for (const { path, bytes } of await buildPackage(root)) {
      console.error(`${path.slice(root.length)}  ${(bytes / 1024).toFixed(0)} KiB`);
    }
  } catch (e) {
    console.error(e instanceof Error ? e.message : e);
    process.exitCode = 1;
  }
}
