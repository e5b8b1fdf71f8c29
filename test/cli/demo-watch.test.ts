import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { FilterCompiler } from "../../src/core/filter.ts";
import { swap } from "../../src/cli/demo-rollout.ts";
import type { ProxyStats } from "../../src/cli/demo-scrape.ts";
import { watchFilters } from "../../src/cli/demo-watch.ts";
import { tempDir } from "../support/temp-dir.ts";

const V2 = "22".repeat(32);

const ends: (() => void)[] = [];
/** A control plane that takes every roll-out. */
async function rollouts(): Promise<string> {
  const server = createServer((_request, response) => response.end("{}"));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

/** What a proxy says of the build: each look finds one trap more. */
let looks = 0;
const figures = () => ({
  ...{ name: "alpha", sha256: V2, state: "ready", calls: looks, traps: looks++ },
  lastError: "onRequest trapped, in f (byte 0x1 of the module)",
});

/** Watches a folder with the filters `alpha` and `beta`; remembers what is compiled and said. */
async function watching(compile: FilterCompiler["compile"]) {
  const dir = await tempDir("watch");
  for (const name of ["alpha", "beta"]) {
    await mkdir(dir.join(name, "assembly"), { recursive: true });
    await writeFile(dir.join(name, "assembly", "index.ts"), "// 1\n");
  }
  await mkdir(dir.join("build"));
  const stop = new AbortController();
  const said: string[] = [];
  const compiled: string[] = [];
  const edited = new Set<string>();
  let wake = () => {};
  const say = (line: string) => {
    said.push(line);
    wake();
  };
  const over = watchFilters({
    mesh: {
      adminUrl: "http://127.0.0.1:1",
      stats: () => Promise.resolve(new Map()),
      crossing: async (during) => {
        await during();
        return { crossed: 0, failed: 0 };
      },
    },
    screen: { message: say, alarm: say, view() {} },
    stop: stop.signal,
    edited,
    done: () => {},
    folder: dir.path,
    compiler: {
      compile: (entry) => {
        compiled.push(entry);
        return compile(entry);
      },
    },
  });
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise<void>((resolve) => (wake = resolve));
  };
  const edit = async (name: string) => {
    // two writes, as some editors do
    for (const text of ["", `// ${Math.random()}\n`]) {
      await writeFile(dir.join(name, "assembly", "index.ts"), text);
    }
  };
  const end = async () => {
    stop.abort();
    await over;
    await dir[Symbol.asyncDispose]();
  };
  await until(() => said.length > 0);
  assert.is(said.shift(), `watching ${dir.path}/*/assembly: alpha, beta`);
  return { dir, said, compiled, edited, edit, until, end };
}

test("an edited filter is compiled, once for several writes, and rolled out", async () => {
  const w = await watching(() => Promise.resolve({ wasm: new Uint8Array(8), sha256: V2 }));
  await w.edit("beta");
  await w.until(() => w.said.length >= 2);
  assert.is(w.compiled.length, 1);
  assert.match(w.compiled[0]!, /beta\/assembly\/index\.ts$/);
  assert.match(w.said[0]!, /^beta: compiled in \d+ ms$/);
  assert.match(w.said[1]!, /^beta: the build before 22222222 goes on serving: the control plane/);
  assert.equal([...w.edited], ["beta"]);
  await w.end();
});

test("a build that every proxy runs is told with the time since it was saved", async () => {
  const build = { wasm: new Uint8Array(8), sha256: V2 };
  const taken: string[] = [];
  const outcome = await swap(
    {
      adminUrl: await rollouts(),
      stats: () =>
        Promise.resolve(
          new Map([["web", { filters: [figures()] } as unknown as ProxyStats]]),
        ),
      crossing: async (during) => {
        await during();
        return { crossed: 1, failed: 0 };
      },
    },
    { message: (line) => taken.push(line), alarm: (line) => taken.push(line), view() {} },
    "alpha",
    build,
    new AbortController().signal,
    {
      taken: () => taken.push("taken"),
      explain: (reason) => reason.replace("(byte 0x1 of the module)", "at alpha.ts:1:2"),
    },
  );
  assert.is(outcome?.done, false);
  assert.is(taken[0], "taken");
  assert.match(
    taken[1]!,
    /alpha: the build before 22222222 goes on .* trapped, in f at alpha\.ts:1:2/,
  );
  for (const end of ends) end();
});

test("a filter that does not compile is one line with its place, and nothing is rolled out", async () => {
  const w = await watching((entry) =>
    Promise.resolve({ errors: [`${entry}:3:7: Cannot find name 'x'.`, "another", "a third"] })
  );
  await w.edit("alpha");
  await w.until(() => w.said.length >= 1);
  assert.match(
    w.said[0]!,
    /^alpha: the build before goes on serving: .*alpha\/assembly\/index\.ts:3:7: Cannot find name 'x'\. \(and 2 more\)$/,
  );
  assert.is(w.edited.size, 0);
  await w.end();
});

test("a compiler that fails is one line, and watching goes on", async () => {
  const w = await watching(() => Promise.reject(new Error("out of memory")));
  await w.edit("alpha");
  await w.until(() => w.said.length >= 1);
  assert.is(w.said[0], "alpha: the build before goes on serving: out of memory");
  const before = w.said.length;
  await w.edit("beta");
  await w.until(() => w.said.length > before);
  assert.match(w.said.at(-1)!, /^beta: /);
  await w.end();
});

test.run();
