import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type Child,
  type ChildExit,
  ChildGroup,
  type ChildPlan,
  denoFlags,
  runtimeArgs,
} from "../../src/runtime/children.ts";
import { tempDir } from "../support/temp-dir.ts";

const TETHER = fileURLToPath(new URL("../../src/runtime/tether.ts", import.meta.url));
const NO_RIGHTS = { net: [], read: [], write: [], env: [], sys: [] };

/** A group whose lines and deaths are remembered and can be waited for. */
function group() {
  const lines: string[] = [];
  const deaths: { name: string; exit: ChildExit; lastLine: string }[] = [];
  let wake = () => {};
  const children = new ChildGroup({ tether: TETHER, compileCache: null }, {
    line: (child, stream, line) => {
      lines.push(`${child.name} ${stream} ${line}`);
      wake();
    },
    died: (child, exit) => {
      deaths.push({ name: child.name, exit, lastLine: child.lastLine });
      wake();
    },
  });
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { children, lines, deaths, until };
}

function plan(name: string, entry: string, env: Record<string, string> = {}): ChildPlan {
  const rights = { ...NO_RIGHTS, env: ["GREETING"], net: ["127.0.0.1"] };
  return { name, entry, args: ["one", "two"], env, rights };
}

const HOLD = `
import { createServer } from "node:net";
createServer().listen(0, "127.0.0.1", () => console.log("up"));
`;

test("ChildGroup starts a module with its arguments and environment, and sends it lines", async () => {
  await using dir = await tempDir("children");
  await writeFile(
    dir.join("a.ts"),
    `import process from "node:process";
    const words: string[] = process.argv.slice(2);
    console.log(words.join(" ") + " " + process.env.GREETING);
    process.stdin.setEncoding("utf8").on("data", (t) => console.log("got " + String(t).trim()));`,
  );
  const { children, lines, until } = group();
  const child = children.start(plan("a", dir.join("a.ts"), { GREETING: "hello" }));
  await until(() => lines.includes("a stdout one two hello"));
  child.send("a line");
  await until(() => lines.includes("a stdout got a line"));
  assert.ok(child.running);
  await children.end();
  assert.not.ok(child.running);
});

test("ChildGroup passes on nothing of the parent's environment but what runtimes need", async () => {
  await using dir = await tempDir("children");
  await writeFile(
    dir.join("a.ts"),
    `import process from "node:process";
    try { console.log("secret " + process.env.GREETING); } catch (e) { console.log(String(e)); }`,
  );
  process.env.GREETING = "of the parent";
  const { children, lines, until } = group();
  children.start(plan("a", dir.join("a.ts")));
  await until(() => lines.length > 0);
  delete process.env.GREETING;
  assert.equal(lines, ["a stdout secret undefined"]);
  await children.end();
});

test("end() ends a child that listens, one that has a handler, and one that will not, within two seconds", async () => {
  await using dir = await tempDir("children");
  await writeFile(dir.join("hold.ts"), HOLD);
  await writeFile(
    dir.join("polite.ts"),
    `import process from "node:process";
    process.on("SIGTERM", () => { console.log("goodbye"); process.exit(7); });` + HOLD,
  );
  await writeFile(
    dir.join("stubborn.ts"),
    `import process from "node:process";
    for (const s of ["SIGTERM", "SIGINT"] as const) process.on(s, () => {});` + HOLD,
  );
  const { children, lines, deaths, until } = group();
  const started = ["hold", "polite", "stubborn"].map((name) =>
    children.start(plan(name, dir.join(`${name}.ts`)))
  );
  await until(() => started.every((child) => lines.includes(`${child.name} stdout up`)));
  // the tether is tied a moment after the start
  await new Promise((resolve) => setTimeout(resolve, 300));
  const from = performance.now();
  await children.end();
  assert.ok(performance.now() - from < 2_000, `it took ${performance.now() - from} ms`);
  const exits = await Promise.all(started.map((child) => child.exited));
  assert.equal(exits[0], { code: 0, signal: null });
  assert.equal(exits[1], { code: 7, signal: null });
  assert.is(exits[2]!.signal, "SIGKILL");
  assert.ok(lines.includes("polite stdout goodbye"));
  for (const child of started) assert.not.ok(alive(child), child.name);
  assert.equal(deaths, [], "an end that was asked for is no death");
  assert.throws(() => children.start(plan("late", dir.join("hold.ts"))), /late is not started/);
});

test("a child that dies is reported with its status and the line that says why", async () => {
  await using dir = await tempDir("children");
  await writeFile(
    dir.join("a.ts"),
    `console.error("port 80 is taken"); console.log("last words"); process.exitCode = 3;
    import process from "node:process";`,
  );
  await writeFile(dir.join("b.ts"), `throw new Error("a defect");`);
  const { children, deaths, until } = group();
  children.start(plan("a", dir.join("a.ts")));
  children.start(plan("b", dir.join("b.ts")));
  await until(() => deaths.length === 2);
  const a = deaths.find((death) => death.name === "a")!;
  assert.equal(a.exit, { code: 3, signal: null });
  assert.is(a.lastLine, "port 80 is taken");
  const b = deaths.find((death) => death.name === "b")!;
  assert.match(b.lastLine, /Error: a defect/);
  await children.end();
});

test("children end when their parent is killed", async () => {
  await using dir = await tempDir("children");
  await writeFile(dir.join("hold.ts"), HOLD);
  await writeFile(
    dir.join("parent.ts"),
    `import { ChildGroup } from ${
      JSON.stringify(new URL("../../src/runtime/children.ts", import.meta.url).href)
    };
    const group = new ChildGroup({ tether: ${JSON.stringify(TETHER)}, compileCache: null }, {
      line: (child, _, line) => { if (line === "up") setTimeout(() => console.log(String(child.pid)), 300); },
      died: () => {},
    });
    group.start({ name: "hold", entry: ${JSON.stringify(dir.join("hold.ts"))}, args: [], env: {},
      rights: { net: ["127.0.0.1"], read: [], write: [], env: [], sys: [] } });`,
  );
  const deno = process.versions.deno !== undefined;
  const parent = spawn(process.execPath, [...(deno ? ["run", "-A"] : []), dir.join("parent.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [text] = await once(parent.stdout, "data");
  const pid = Number(text);
  assert.ok(alive({ pid }));
  parent.kill("SIGKILL");
  const until = performance.now() + 3_000;
  while (alive({ pid }) && performance.now() < until) await new Promise((r) => setTimeout(r, 20));
  assert.not.ok(alive({ pid }));
});

test("denoFlags() grants what is listed and nothing else", () => {
  assert.equal(denoFlags(NO_RIGHTS), ["--no-prompt", "--quiet", "--ignore-env"]);
  assert.equal(
    denoFlags({ ...NO_RIGHTS, net: ["127.77.0.0/16", "127.0.0.1:8086"], write: ["/tmp/a"] }),
    [
      "--no-prompt",
      "--quiet",
      "--ignore-env",
      "--allow-net=127.77.0.0/16,127.0.0.1:8086",
      "--allow-write=/tmp/a",
    ],
  );
  const args = runtimeArgs(TETHER, plan("a", "/a.ts"));
  assert.equal(args.slice(-3), ["/a.ts", "one", "two"]);
  assert.not.ok(args.some((arg) => /allow-(all|run|ffi)|^-A$/.test(arg)));
});

function alive(child: Pick<Child, "pid">): boolean {
  try {
    process.kill(child.pid, 0);
    return true;
  } catch {
    return false;
  }
}

test.run();
