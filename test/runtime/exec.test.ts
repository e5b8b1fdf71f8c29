import { test } from "uvu";
import * as assert from "uvu/assert";
import { chmod, writeFile } from "node:fs/promises";
import { execute } from "../../src/runtime/exec.ts";
import { tempDir } from "../support/temp-dir.ts";

const LIMITS = { args: [] as string[], env: {}, timeoutMs: 20_000, maxBytes: 1000 };

test("execute() gives the output of a program, which has arguments and environment", async () => {
  await using dir = await tempDir("exec");
  const command = dir.join("program");
  await writeFile(command, '#!/bin/sh\ncat; echo "$1 $GIVEN"\n');
  await chmod(command, 0o755);
  const output = await execute({ ...LIMITS, command, args: ["a b"], env: { GIVEN: "it's" } });
  assert.is(output, "a b it's\n");
});

test("execute() says why in one line, and never what the program wrote", async () => {
  await using dir = await tempDir("exec");
  const command = dir.join("program");
  const cases: [string, Partial<typeof LIMITS>, RegExp][] = [
    ["echo s3cret; echo s3cret >&2; exit 3", {}, /program ended with 3$/],
    ["echo s3cret; exec sleep 60", { timeoutMs: 300 }, /program did not end within 300 ms$/],
    ["while :; do echo s3cret; done", {}, /program wrote over 1000 bytes$/],
  ];
  for (const [script, limits, why] of cases) {
    await writeFile(command, `#!/bin/sh\n${script}\n`);
    await chmod(command, 0o755);
    const message = await execute({ ...LIMITS, ...limits, command })
      .then(() => "it ended", (e: Error) => e.message);
    assert.match(message, why);
    assert.not.match(message, /s3cret|\n/);
  }
  const missing = await execute({ ...LIMITS, command: dir.join("nowhere") })
    .then(() => "", (e: Error) => e.message);
  assert.match(missing, /nowhere is not installed$/);
});

test.run();
