// Where the package's files are: in the sources beside each other by folder, in the npm package as
// bundles in one folder. The only file that knows the difference.

import { fileURLToPath } from "node:url";

const SOURCES = import.meta.url.endsWith(".ts");

/** The package's folder, with `filters/` and `demo/` in it. */
export const PACKAGE_ROOT = fileURLToPath(new URL(SOURCES ? "../../" : "../", import.meta.url));

const ENTRIES = {
  control: ["src/control/main.ts", "dist/control.js"],
  injector: ["src/control/injector/main.ts", "dist/injector.js"],
  proxy: ["src/proxy/main.ts", "dist/proxy.js"],
  tether: ["src/runtime/tether.ts", "dist/tether.js"],
  web: ["demo/services/web.ts", "dist/demo/web.js"],
  catalogue: ["demo/services/catalogue.ts", "dist/demo/catalogue.js"],
  vote: ["demo/services/vote.ts", "dist/demo/vote.js"],
  testing: ["wasm/sdk/testing.ts", "dist/testing.js"],
  load: ["demo/services/load.ts", "dist/demo/load.js"],
} as const;

/** A module that runs as a process of its own, or is loaded into one. */
export type EntryName = keyof typeof ENTRIES;

/** The path of an entry's main module. */
export function entryPath(name: EntryName): string {
  return PACKAGE_ROOT + ENTRIES[name][SOURCES ? 0 : 1];
}

/** The filters that each proxy carries, as `runtime/carried-modules.ts` finds them. */
export const CARRIED_MODULES = [
  "failure-injector",
  "header-modifier",
  "local-rate-limit",
  "redirect",
  "retry",
  "route-policy",
  "timeout",
].map((name) => `${PACKAGE_ROOT}filters/build/${name}.wasm`);

/** The folder of the dashboard's pages, as `src/control/main.ts` finds it beside itself. */
export const DASHBOARD = PACKAGE_ROOT + (SOURCES ? "src/dashboard" : "dist/dashboard");

/**
 * Where Node keeps what it made of the sources, so that stripping types is paid for once and not by
 * each process of each start; null in a package, whose bundles have none.
 */
export const COMPILE_CACHE: string | null = SOURCES ? `${PACKAGE_ROOT}.cache/compile` : null;
