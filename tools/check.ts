// `npm run check`: format, lint with the import table, tree rules, tsc and deno check. Says what
// failed with file and line, and what to do. Usage: node tools/check.ts

import { fileURLToPath } from "node:url";
import { runChecks } from "./check/steps.ts";
import { killAll } from "./runner/process.ts";

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    killAll();
    process.exit(1);
  });
}
const steps = await runChecks(fileURLToPath(new URL("..", import.meta.url)));
const failed = steps.filter((s) => !s.ok).map((s) => s.name);
if (failed.length > 0) {
  console.log(`\ncheck: ${failed.join(", ")} failed`);
  process.exitCode = 1;
}
