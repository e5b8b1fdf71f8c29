// Shows our file rules in `deno lint` and so in an editor. Named in deno.json; runs in Deno only. The
// rules themselves are in tools/check/file-rules.ts; only what needs a syntax tree is here.

import { FILE_RULES, source } from "./file-rules.ts";

/** What Deno hands to a rule, as far as it is used here (its own types are not known to tsc). */
interface Context {
  readonly filename: string;
  readonly sourceCode: { readonly text: string };
  report(what: {
    readonly range: [number, number];
    readonly message: string;
    readonly hint: string;
  }): void;
}
interface Visited {
  readonly range: [number, number];
}
interface Plugin {
  readonly name: string;
  readonly rules: Record<
    string,
    { create(context: Context): Record<string, (node: Visited) => void> }
  >;
}

const root = new URL("../../", import.meta.url).pathname;

/** The path relative to the project; a file elsewhere keeps its whole path. */
function relative(filename: string): string {
  const path = decodeURI(filename.replace(/^file:\/\//, ""));
  return path.startsWith(root) ? path.slice(root.length) : path;
}

const rules: Plugin["rules"] = {
  // The value is there or it is not: say what happens when it is not. Tests may assume.
  "no-non-null": {
    create(context) {
      if (!/^(src|wasm\/host|tools|bin)\//.test(relative(context.filename))) return {};
      return {
        TSNonNullExpression(node) {
          context.report({
            range: node.range,
            message: "assumes with ! that a value is there",
            hint: "handle its absence, or read it so that the type knows",
          });
        },
      };
    },
  },
};

for (const [name, rule] of Object.entries(FILE_RULES)) {
  rules[name] = {
    create(context) {
      return {
        Program() {
          for (const f of rule(source(relative(context.filename), context.sourceCode.text))) {
            const message = `${f.message} (line ${f.line})`;
            context.report({ range: [f.at, f.at + 1], message, hint: f.hint });
          }
        },
      };
    },
  };
}

const plugin: Plugin = { name: "tulle", rules };

// Deno takes a plugin as the default export of its file: the one place where we have one.
// deno-lint-ignore tulle/no-default-export
export default plugin;
