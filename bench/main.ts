// `npm run bench -- NAME [flags]`: finds a bench by its name and runs it. Every figure in the
// documents is one that a bench here prints.

type Bench = (argv: readonly string[]) => Promise<number>;

/** By name; a bench is loaded when it is asked for. */
const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  http1: async () => (await import("./http1.ts")).http1,
  http2: async () => (await import("./http2.ts")).http2,
  heads: async () => (await import("./heads.ts")).heads,
  filters: async () => (await import("./filters.ts")).filters,
  detection: async () => (await import("./detection.ts")).detection,
};

const [name = "", ...argv] = process.argv.slice(2);
const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
if (bench === undefined) {
  const names = Object.keys(BENCHES).join(", ");
  console.error(`Usage: npm run bench -- NAME [flags]; NAME is one of ${names}`);
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await (await bench())(argv);
  } catch (e) {
    console.error(`bench: ${e instanceof Error ? e.message : e}`);
    process.exitCode = 1;
  }
}
