// `tulle filter new`: a folder with a filter that builds, a test that passes, and a README. The texts
// are the first thing that somebody reads who writes a filter.

import { existsSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import type { Command } from "./command.ts";
import { PACKAGE_ROOT } from "./entries.ts";
import { CliError } from "./failure.ts";
import { buildOf, checkName, FILTERS_FLAG, filtersFolder, sourceOf } from "./filter-project.ts";
import { writeOutput } from "./output.ts";

/** Makes a filter. */
export const filterNewCommand: Command = {
  name: "new",
  summary: "Make a filter: source, test and README",
  usage: "NAME [flags]",
  operands: { min: 1, max: 1 },
  flags: [FILTERS_FLAG],
  notes: [],
  async run(flags, terminal) {
    const [given = ""] = flags.operands;
    const name = checkName(given);
    const folder = filtersFolder(flags);
    const at = join(folder, name);
    if (existsSync(at)) {
      throw new CliError(`${at} exists already`, { hint: "Take another name, or remove it" });
    }
    const files = [
      [sourceOf(folder, name), source(name)],
      [join(at, `${name}.test.ts`), testOf(name, harnessFrom(at))],
      [join(at, "README.md"), readme(name, folder)],
    ] as const;
    for (const [path, text] of files) {
      await writeOutput(path, text, { inNewFolder: true });
      terminal.out(path);
    }
    const where = flags.text("--filters") === null ? "" : ` --filters ${folder}`;
    terminal.out("");
    terminal.out(`  tulle filter build ${name}${where}    compile it`);
    terminal.out(`  tulle filter test ${name}${where}     run its test`);
    terminal.out(
      `  tulle filter dev ${name}${where}      run it in a local mesh, built anew as you save`,
    );
    return 0;
  },
};

/** How a test imports the harness: by its path in a checkout of Tulle, by its name elsewhere. */
function harnessFrom(at: string): string {
  const harness = join(PACKAGE_ROOT, "wasm", "sdk", "testing.ts");
  const isInCheckout = existsSync(harness) && !relative(PACKAGE_ROOT, resolve(at)).startsWith("..");
  return isInCheckout ? relative(resolve(at), harness).replaceAll("\\", "/") : "tulle/testing";
}

function source(name: string): string {
  return `// ${name}: refuses requests without the right token, and counts them.

import { Action, config, CONTINUE, counter, is, reply, request } from "@tulle/filter";

const token = config.text("token", "open sesame");
const denied = counter({ name: "denied_total", help: "Requests without the token" });

export function onRequest(): Action {
  if (is(request.header("x-token"), token)) return CONTINUE;
  denied.inc();
  return reply(403, "Say the magic word\\n");
}
`;
}

function testOf(name: string, harness: string): string {
  return `import { assert, loadFilter, test } from "${harness}";

const here = new URL(".", import.meta.url);
const config = { token: "please" };

test("${name} lets requests with the token pass", async () => {
  const filter = await loadFilter(here, { config });
  const { verdict, fuel } = filter.request({ path: "/items", headers: { "x-token": "please" } });
  assert.is(verdict, "continue");
  assert.ok(fuel < 1_000, "a look at one header is cheap");
  assert.is(filter.metric("denied_total"), 0);
});

test("${name} refuses and counts the others", async () => {
  const filter = await loadFilter(here, { config });
  for (const token of ["", "open sesame"]) {
    const { reply } = filter.request({ headers: { "x-token": token } });
    assert.is(reply?.status, 403);
    assert.is(reply?.body, "Say the magic word\\n");
  }
  assert.is(filter.metric("denied_total"), 2);
});

test.run();
`;
}

function readme(name: string, folder: string): string {
  return `# ${name}

Refuses requests whose header \`x-token\` is not the configured one, with 403.

| key     | type | default         | meaning                             |
| ------- | ---- | --------------- | ----------------------------------- |
| \`token\` | text | \`"open sesame"\` | what the header \`x-token\` must hold |

Metric: \`filter_denied_total\`, requests that were refused.

\`\`\`sh
tulle filter build ${name}     # ${buildOf(folder, name)}
tulle filter test ${name}
\`\`\`
`;
}
