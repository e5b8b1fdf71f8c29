// The environment, read by declared names only. Each reader hands in its list (`PROXY_ENV` in
// `proxy/config/names.ts`), which is also what Deno is granted: reading any other name there is an error.

import process from "node:process";

/**
 * The variables of `names` that are set. A name that a permission hides counts as not set, so that a
 * narrow grant gives defaults, not a crash.
 */
export function readEnv(names: readonly string[]): ReadonlyMap<string, string> {
  const env = new Map<string, string>();
  for (const name of names) {
    const value = readOne(name);
    if (value !== undefined) env.set(name, value);
  }
  return env;
}

function readOne(name: string): string | undefined {
  try {
    return process.env[name];
  } catch {
    return undefined;
  }
}
