// The demo's three filters as flags of `tulle proxy`, each with something to do for every request.

import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What shows that the filters run: one of them sets it on each response. */
export const FILTERED = { name: "x-filtered-by", value: "tulle" };

const CONFIGS: Readonly<Record<string, unknown>> = {
  "route-metrics": { route: "bench", paths: ["/items/", "/items"] },
  "retry": { statuses: "502-504", maxRetries: 2 },
  "header-modifier": {
    requestSet: { "x-asked-by": "bench" },
    responseSet: { [FILTERED.name]: FILTERED.value },
  },
};

/** `--filter FILE=CONFIG` for each; configurations go into `dir`. Empty when one is not built. */
export async function filterFlags(root: string, dir: string): Promise<string[]> {
  const flags: string[] = [];
  for (const [name, config] of Object.entries(CONFIGS)) {
    const module = join(root, "filters", "build", `${name}.wasm`);
    if (!existsSync(module)) return [];
    const path = join(dir, `${name}.json`);
    await writeFile(path, JSON.stringify(config));
    flags.push("--filter", `${module}=${path}`);
  }
  return flags;
}
