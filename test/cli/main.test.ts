import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Command } from "../../src/cli/command.ts";
import { CliError, EXIT_CONFIG } from "../../src/cli/failure.ts";
import { COMMANDS, runTulle } from "../../src/cli/main.ts";
import { fakeTerminal } from "./fake-terminal.ts";

const greet: Command = {
  name: "greet",
  summary: "Say hello",
  usage: "--to NAME",
  flags: [
    { name: "--to", value: "NAME", summary: "To whom" },
    { name: "--also", value: "NAME", repeat: true, summary: "To whom else" },
    { name: "--loud", summary: "Loudly" },
  ],
  notes: ["Example: tulle greet --to you"],
  run(flags, terminal) {
    if (flags.text("--to") === "nobody") throw new Error("nobody is there\nto greet");
    if (flags.text("--to") === "bad") {
      throw new CliError("bad.yaml is wrong", { exit: EXIT_CONFIG, hint: "Write it again" });
    }
    const all = [flags.text("--to"), ...flags.all("--also")].join(" and ");
    terminal.out(flags.has("--loud") ? all.toUpperCase() : all);
    return Promise.resolve(0);
  },
};

async function run(...argv: string[]) {
  const terminal = fakeTerminal();
  const status = await runTulle(argv, [greet], terminal);
  return { status, out: terminal.stdout.join("\n"), err: terminal.stderr.join("\n") };
}

test("tulle --help lists every command that exists", async () => {
  const terminal = fakeTerminal();
  assert.is(await runTulle(["--help"], COMMANDS, terminal), 0);
  for (const { name, summary } of COMMANDS) {
    assert.match(
      terminal.stdout.join("\n"),
      new RegExp(`^  ${name} +${summary.slice(0, 20)}`, "m"),
    );
  }
  assert.equal(COMMANDS.map((c) => c.name), [
    "demo",
    "filter",
    "proxy",
    "init",
    "network-validator",
    "cni",
    "cni-install",
    "cni-repair",
    "install",
    "upgrade",
    "uninstall",
    "prune",
    "install-cni",
    "inject",
    "uninject",
    "await",
  ]);
});

test("tulle without a command prints the help", async () => {
  assert.match((await run()).out, /Usage: tulle COMMAND/);
});

test("tulle --version prints one line", async () => {
  assert.match((await run("--version")).out, /^tulle \d+\.\d+\.\d+$/);
});

test("tulle COMMAND --help shows its flags, in a table", async () => {
  const { out, status } = await run("greet", "--help");
  assert.is(status, 0);
  assert.is(
    out,
    [
      "Say hello.",
      "",
      "Usage: tulle greet --to NAME",
      "",
      "Flags:",
      "  --to NAME     To whom",
      "  --also NAME   To whom else",
      "  --loud        Loudly",
      "  --help        Print this help",
      "  --verbose     Say more, with stack traces for errors",
      "",
      "Example: tulle greet --to you",
    ].join("\n"),
  );
});

test("every command's help fits 100 columns", async () => {
  for (const { name } of COMMANDS) {
    const terminal = fakeTerminal();
    await runTulle([name, "--help"], COMMANDS, terminal);
    for (const line of terminal.stdout.join("\n").split("\n")) assert.ok(line.length <= 100, line);
  }
  for (const group of COMMANDS) {
    for (const { name } of "commands" in group ? group.commands : []) {
      const terminal = fakeTerminal();
      assert.is(await runTulle([group.name, name, "--help"], COMMANDS, terminal), 0);
      const text = terminal.stdout.join("\n");
      assert.match(text, `Usage: tulle ${group.name} ${name}`);
      for (const line of text.split("\n")) assert.ok(line.length <= 100, line);
    }
  }
});

test("a command of a group is found by both words", async () => {
  const group = { name: "say", summary: "Say things", commands: [greet], notes: ["That is all."] };
  const say = async (...argv: string[]) => {
    const terminal = fakeTerminal();
    const status = await runTulle(argv, [group], terminal);
    return { status, out: terminal.stdout.join("\n"), err: terminal.stderr.join("\n") };
  };
  assert.is((await say("say", "greet", "--to", "you")).out, "you");
  const { out, status } = await say("say");
  assert.is(status, 0);
  assert.is(
    out,
    "Say things.\n\nUsage: tulle say COMMAND [flags]\n\nCommands:\n" +
      "  greet --to NAME   Say hello\n\nThat is all.",
  );
  assert.is((await say("say", "--help")).out, out);
  assert.match((await say("say", "greet", "--help")).out, /Usage: tulle say greet --to NAME/);
  assert.is(
    (await say("say", "great")).err,
    'tulle: Unknown command "say great"\n  Did you mean say greet?',
  );
  assert.is(
    (await say("say", "xyz")).err,
    'tulle: Unknown command "say xyz"\n  Run tulle say --help for what exists',
  );
});

test("a command that takes words takes as many as it says", async () => {
  const echo: Command = {
    ...greet,
    operands: { min: 1, max: 2 },
    run(flags, terminal) {
      terminal.out([...flags.operands, flags.text("--to")].join(" "));
      return Promise.resolve(0);
    },
  };
  const echoed = async (...argv: string[]) => {
    const terminal = fakeTerminal();
    const status = await runTulle(["greet", ...argv], [echo], terminal);
    return status + " " + [...terminal.stdout, ...terminal.stderr].join("\n");
  };
  assert.is(await echoed("a", "--to", "you", "b"), "0 a b you");
  assert.match(await echoed(), /^2 tulle: An argument is missing\n {2}Usage: tulle \S/);
  assert.match(
    await echoed("a", "b", "c"),
    /^2 tulle: Unexpected argument "c": it takes at most 2/,
  );
  assert.match(await echoed("--help"), /^0 Say hello/);
});

test("flags take their value after a blank or an equals sign, and may repeat where they say so", async () => {
  assert.is(
    (await run("greet", "--to", "you", "--also=me", "--also", "it")).out,
    "you and me and it",
  );
  assert.is((await run("greet", "--loud", "--to=you")).out, "YOU");
});

for (
  const [argv, message] of [
    [["greeet"], 'tulle: Unknown command "greeet"\n  Did you mean greet?'],
    [["sing"], 'tulle: Unknown command "sing"\n  Run tulle --help for what exists'],
    [["--hlep"], 'tulle: Unknown flag "--hlep"\n  Run tulle --help for what exists'],
    [["greet", "--two", "x"], 'tulle: Unknown flag "--two"\n  Did you mean --to?'],
    [["greet", "--lod"], 'tulle: Unknown flag "--lod"\n  Did you mean --loud?'],
    [
      ["greet", "--xyz"],
      'tulle: Unknown flag "--xyz"\n  Run it with --help for the flags that it takes',
    ],
    [["greet", "you"], 'tulle: Unexpected argument "you"\n  This command takes only flags'],
    [["greet", "--to"], "tulle: --to needs a value: --to NAME"],
    [["greet", "--to="], "tulle: --to needs a value: --to NAME"],
    [["greet", "--to", "--loud"], "tulle: --to needs a value: --to NAME"],
    [["greet", "--loud=yes"], "tulle: --loud takes no value"],
    [["greet", "--to", "a", "--to", "b"], "tulle: --to is given twice"],
  ] as const
) {
  test(`tulle ${argv.join(" ")} is a usage error in one line and a hint`, async () => {
    const { status, out, err } = await run(...argv);
    assert.is(err, message);
    assert.is(out, "");
    assert.is(status, 2);
  });
}

test("an error that no command expected is one line and status 1", async () => {
  const { status, err } = await run("greet", "--to", "nobody");
  assert.is(err, "tulle: nobody is there to greet");
  assert.is(status, 1);
});

test("wrong configuration is status 64", async () => {
  const { status, err } = await run("greet", "--to", "bad");
  assert.is(err, "tulle: bad.yaml is wrong\n  Write it again");
  assert.is(status, 64);
});

test("a stack trace is shown with --verbose only", async () => {
  const terminal = fakeTerminal({ verbose: true });
  await runTulle(["greet", "--to", "nobody", "--verbose"], [greet], terminal);
  assert.match(terminal.stderr.join("\n"), /at .*main\.test\.ts/);
  assert.not.match((await run("greet", "--to", "nobody")).err, /main\.test\.ts/);
});

test("asking for a flag that a command does not declare is a defect", async () => {
  const broken = {
    ...greet,
    run: (flags: { has(n: string): boolean }) => Promise.resolve(flags.has("--nope") ? 1 : 0),
  };
  const terminal = fakeTerminal();
  assert.is(await runTulle(["greet"], [broken], terminal), 1);
  assert.match(terminal.stderr[0]!, /--nope is not declared/);
});

test.run();
