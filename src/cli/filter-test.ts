// `tulle filter test`: runs the tests of filters, each file in a process of its own, on the runtime that
// runs this command. The tests are ordinary programs that import `tulle/testing`.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { entryPath, PACKAGE_ROOT } from "./entries.ts";
import type { Command, Terminal } from "./command.ts";
import { CliError, EXIT_CONFIG, EXIT_FAILURE } from "./failure.ts";
import { chosenFilters, FILTERS_FLAG, filtersFolder } from "./filter-project.ts";

/** A test that hangs is ended. */
const MAX_MS = 120_000;

/** Runs the tests of the filters that are named, or of all. */
export const filterTestCommand: Command = {
  name: "test",
  summary: "Run the tests of filters, filters/NAME/*.test.ts",
  usage: "[NAME…] [flags]",
  operands: { min: 0, max: 100 },
  flags: [FILTERS_FLAG],
  notes: [
    'A test imports loadFilter, test and assert from "tulle/testing": the filter runs in the engine\n' +
    "of a proxy, with requests made of plain values and time that stands still. Afterwards the fuel\n" +
    "is shown that each hook used at most.",
  ],
  async run(flags, terminal) {
    const folder = filtersFolder(flags);
    const names = await chosenFilters(folder, flags.operands);
    let files = 0;
    let failed = 0;
    for (const name of names) {
      const tests = (await readdir(join(folder, name))).filter((f) => f.endsWith(".test.ts"));
      if (tests.length === 0) {
        const path = join(folder, name, `${name}.test.ts`);
        if (flags.operands.length > 0) {
          throw new CliError(`${path} does not exist`, { exit: EXIT_CONFIG });
        }
        terminal.out(`${name}: has no test`);
      }
      for (const test of tests.sort()) {
        files++;
        const path = join(folder, name, test);
        terminal.out(path);
        const why = await runTest(path, terminal);
        if (why === "") continue;
        failed++;
        terminal.err(`${path}: ${why}`);
      }
    }
    terminal.out(`${files - failed} passed, ${failed} failed`);
    return failed > 0 || files === 0 ? EXIT_FAILURE : 0;
  },
};

/** Resolves with "" or what went wrong. */
function runTest(path: string, terminal: Terminal): Promise<string> {
  return new Promise((done) => {
    const child = spawn(process.execPath, argumentsFor(resolve(path)), {
      env: { ...process.env, TULLE_FUEL_REPORT: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), MAX_MS);
    let ran = 0;
    const show = (write: (line: string) => void) => {
      let rest = "";
      return {
        data: (chunk: string) => {
          const lines = (rest + chunk).split("\n");
          rest = lines.pop() ?? "";
          for (const line of lines) say(line);
        },
        end: () => {
          if (rest !== "") say(rest);
        },
      };
      function say(line: string): void {
        ran += Number(/^\s*Total:\s+(\d+)/.exec(line)?.[1] ?? 0);
        write(line);
      }
    };
    for (
      const [stream, write] of [[child.stdout, terminal.out], [child.stderr, terminal.err]] as const
    ) {
      const { data, end } = show(write);
      stream.setEncoding("utf8").on("data", data).on("end", end);
    }
    const settle = (why: string) => {
      clearTimeout(timer);
      done(why);
    };
    child.once("error", (e) => settle(`cannot be run: ${e.message}`));
    child.once("close", (code, signal) => {
      if (signal === "SIGKILL") settle(`did not end within ${MAX_MS / 1000} s`);
      else if (code !== 0) settle("failed");
      else settle(ran === 0 ? "ran no test: does it end with test.run()?" : "");
    });
  });
}

/** How a file is run so that it finds `tulle/testing` wherever it lies. */
function argumentsFor(path: string): readonly string[] {
  const harness = pathToFileURL(entryPath("testing")).href;
  if (!existsSync(entryPath("testing"))) {
    throw new CliError("The test harness is missing: this package is not whole, install it again");
  }
  if ("Deno" in globalThis) {
    const imports = JSON.stringify({ imports: { "tulle/testing": harness } });
    const map = `data:application/json,${encodeURIComponent(imports)}`;
    // a checkout's own, by which the harness finds its packages; there is none in a package
    const config = join(PACKAGE_ROOT, "deno.json");
    const flags = existsSync(config) ? [`--config=${config}`] : [];
    return ["run", "-A", "--no-lock", ...flags, `--import-map=${map}`, path];
  }
  // a test is a module, also where the project's package.json says nothing, or commonjs, as npm init does
  const project = pathToFileURL(`${dirname(path)}/`).href;
  const hook = `import { registerHooks } from "node:module";
registerHooks({ resolve: (name, context, next) => {
  if (name === "tulle/testing") return { url: ${JSON.stringify(harness)}, shortCircuit: true };
  const found = next(name, context);
  const isTest = found.url.startsWith(${JSON.stringify(project)}) && found.url.endsWith(".ts");
  return isTest ? { ...found, format: "module-typescript" } : found;
} });`;
  const flags = ["--disable-warning=ExperimentalWarning"];
  return [...flags, `--import=data:text/javascript,${encodeURIComponent(hook)}`, path];
}
