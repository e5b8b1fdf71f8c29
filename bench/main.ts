// `npm run bench -- NAME [flags]`: finds a bench by its name and runs it. Every figure in the
// documents is one that a bench here prints.

import { http1 } from "./http1.ts";

const BENCHES: Readonly<Record<string, (argv: readonly string[]) => Promise<number>>> = { http1 };

const [name, ...argv] = process.argv.slice(2);
const bench = name === undefined ? undefined : BENCHES[name];
if (bench === undefined) {
  console.error(
    `Usage: npm run bench -- NAME [flags]; NAME is one of ${Object.keys(BENCHES).join(", ")}`,
  );
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await bench(argv);
  } catch (e) {
    console.error(`bench: ${e instanceof Error ? e.message : e}`);
    process.exitCode = 1;
  }
}
