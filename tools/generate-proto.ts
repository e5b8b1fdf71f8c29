// Generates `src/api/gen` from `proto/` with buf and protoc-gen-es, both pinned in package.json.
// `node tools/generate-proto.ts` writes; with `--check` it compares with what is committed.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process, { stderr, stdout } from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const committed = join(root, "src/api/gen");

/** Runs buf into `out`. Only Node strips types, so that enums must come out as plain objects. */
function generate(out: string): void {
  const template = {
    version: "v2",
    clean: true,
    plugins: [{
      local: [
        process.execPath,
        join(root, "node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es"),
      ],
      out,
      opt: ["target=ts", "import_extension=ts", "erasable_syntax=true"],
    }],
  };
  execFileSync(join(root, "node_modules/.bin/buf"), [
    "generate",
    join(root, "proto"),
    "--template",
    JSON.stringify(template),
  ], { stdio: ["ignore", "inherit", "inherit"], timeout: 60_000 });
}

/** Path to content of every file under `dir`. */
function snapshot(dir: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(dir, path), readFileSync(path, "utf8"));
  }
  return files;
}

/** Names of files that differ between two trees. */
function differences(a: Map<string, string>, b: Map<string, string>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((f) => a.get(f) !== b.get(f)).sort();
}

const args = process.argv.slice(2);
if (args.length > 1 || (args.length === 1 && args[0] !== "--check")) {
  stderr.write("usage: node tools/generate-proto.ts [--check]\n");
  process.exit(2);
}
if (args[0] === "--check") {
  const fresh = mkdtempSync(join(tmpdir(), "tulle-proto-"));
  try {
    generate(fresh);
    const different = differences(snapshot(committed), snapshot(fresh));
    if (different.length > 0) {
      stderr.write(
        `src/api/gen differs from proto/ in ${different.join(", ")}: ` +
          "run node tools/generate-proto.ts\n",
      );
      process.exit(1);
    }
    stdout.write("src/api/gen is what proto/ generates\n");
  } finally {
    rmSync(fresh, { recursive: true });
  }
} else {
  generate(committed);
  stdout.write("wrote src/api/gen\n");
}
