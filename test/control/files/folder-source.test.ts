import { test } from "uvu";
import * as assert from "uvu/assert";
import { createLogger } from "../../../src/core/log.ts";
import { Cluster } from "../../../src/control/cluster.ts";
import { Counters } from "../../../src/control/counters.ts";
import { FolderSource } from "../../../src/control/files/folder-source.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { MemoryFiles } from "../support/memory-files.ts";

const service = (name: string, port: number | string = 80) =>
  `apiVersion: v1
kind: Service
metadata:
  name: ${name}
  namespace: shop
spec:
  clusterIP: 10.0.0.1
  ports:
    - port: ${port}
`;

async function start(initial: Record<string, string | Uint8Array>) {
  const files = new MemoryFiles();
  for (const [path, text] of Object.entries(initial)) files.write(path, text);
  const clock = new FakeClock();
  const cluster = new Cluster();
  const counters = new Counters();
  const lines: string[] = [];
  let told = 0;
  const source = new FolderSource({
    folder: "/mesh",
    files,
    cluster,
    clock,
    counters,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: () => 0,
      write: (l) => lines.push(l.slice(25)),
    }),
    onProblems: () => told++,
  });
  await source.start();
  /** Lets `ms` pass, and the reading that it causes. */
  const pass = async (ms: number) => {
    clock.advance(ms);
    for (let i = 0; i < 100; i++) await Promise.resolve();
  };
  return {
    files,
    clock,
    cluster,
    counters,
    lines,
    source,
    pass,
    told: () => told,
    names: () => [...cluster.services.rows.keys()].sort(),
    problems: () => source.problems.map((p) => `${p.source}: ${p.message}`),
  };
}

test("objects of all files and documents are applied, lists too", async () => {
  const t = await start({
    "a.yaml": `${service("a")}---\n${service("b")}---\n# nothing\n---\n`,
    "more/c.yml": service("c"),
    "list.yaml": `apiVersion: v1\nkind: List\nitems:\n${
      service("d").replace(/^/gm, "    ").replace("    api", "  - api")
    }`,
    "README.md": "not YAML: [",
  });
  assert.equal(t.names(), ["shop/a", "shop/b", "shop/c", "shop/d"]);
  assert.equal(t.problems(), []);
  assert.equal(t.files.watched, ["/mesh", "/mesh/more"]);
  t.source.close();
  assert.equal(t.files.watched, []);
  assert.is(t.clock.pending, 0);
});

test("an edit is seen within 200 ms, told once, and only what changed", async () => {
  const t = await start({ "a.yaml": service("a"), "b.yaml": service("b") });
  const batches: string[][] = [];
  t.cluster.subscribe((dirty) => batches.push([...dirty]));
  t.files.write("a.yaml", service("a", 81) + "---\n" + service("x"));
  await t.pass(39);
  assert.equal(batches, []);
  await t.pass(1);
  assert.equal(batches, [["shop"]]);
  assert.is(t.cluster.services.get("shop/a")?.ports[0]?.port, 81);
  assert.equal(t.names(), ["shop/a", "shop/b", "shop/x"]);
  // Writing again and again does not put it off for ever.
  for (let ms = 0; ms < 150; ms += 30) {
    t.files.write("b.yaml", service("b", 8000 + ms));
    await t.pass(30);
  }
  assert.ok((t.cluster.services.get("shop/b")?.ports[0]?.port ?? 0) > 8000);
  t.source.close();
});

test("deleting a file or a document removes its objects", async () => {
  const t = await start({
    "a.yaml": `${service("a")}---\n${service("b")}`,
    "c.yaml": service("c"),
  });
  t.files.remove("c.yaml");
  t.files.write("a.yaml", service("b"));
  await t.pass(50);
  assert.equal(t.names(), ["shop/b"]);
  t.source.close();
});

test("a field that is wrong is named by file, line and path; the rest is served", async () => {
  const t = await start({
    "a.yaml": `${service("a")}---\n${service("bad", '"web site"')}---\n${service("c")}`,
  });
  assert.equal(t.names(), ["shop/a", "shop/c"]);
  assert.equal(t.problems(), [
    'a.yaml:19: Service shop/bad: spec.ports[0].port: is "web site", not a whole number from 1 to 65535',
  ]);
  assert.match(t.lines[0] ?? "", /WARN {2}a\.yaml:19: Service shop\/bad/);
  assert.is(t.counters.refusals["resource"], 1);
  assert.is(t.told(), 1);
  t.source.close();
});

test("the last good version of an object stays until it is good again", async () => {
  const t = await start({ "a.yaml": service("a", 80) });
  t.files.write("a.yaml", service("a", 70_000));
  await t.pass(50);
  assert.is(t.cluster.services.get("shop/a")?.ports[0]?.port, 80);
  assert.match(t.problems()[0] ?? "", /^a\.yaml:9: .*the version before it stays in force$/);
  // Told once, however often it is looked at.
  await t.pass(5000);
  assert.is(t.counters.refusals["resource"], 1);
  t.files.write("a.yaml", service("a", 82));
  await t.pass(50);
  assert.is(t.cluster.services.get("shop/a")?.ports[0]?.port, 82);
  assert.equal(t.problems(), []);
  assert.match(t.lines.at(-1) ?? "", /INFO {2}no longer: a\.yaml:9/);
  t.source.close();
});

test("a document that is no YAML takes nothing away and leaves the others readable", async () => {
  const t = await start({ "a.yaml": `${service("a")}---\n${service("b")}` });
  t.files.write(
    "a.yaml",
    `${service("a", 81)}---\nkind: Service\nspec: [1, 2\n---\n${service("c")}`,
  );
  await t.pass(50);
  assert.is(t.cluster.services.get("shop/a")?.ports[0]?.port, 81);
  assert.equal(t.names(), ["shop/a", "shop/b", "shop/c"]);
  assert.match(t.problems()[0] ?? "", /^a\.yaml:1\d: /);
  t.source.close();
});

test("a file that cannot be read keeps its objects: not UTF-8, too large, gone blank for a moment", async () => {
  const t = await start({ "a.yaml": service("a"), "b.yaml": service("b"), "c.yaml": service("c") });
  t.files.write("a.yaml", new Uint8Array([0x61, 0xff, 0xfe]));
  t.files.write("b.yaml", new Uint8Array(5 * 1024 * 1024));
  t.files.write("c.yaml", "");
  await t.pass(50);
  assert.equal(t.names(), ["shop/a", "shop/b", "shop/c"]);
  assert.match(t.problems().join("\n"), /a\.yaml: is not UTF-8\nb\.yaml: Cannot read .* over/);
  // Its writer may be kept waiting; still empty after seconds, it is meant.
  await t.pass(500);
  assert.equal(t.names(), ["shop/a", "shop/b", "shop/c"]);
  await t.pass(3000);
  assert.equal(t.names(), ["shop/a", "shop/b"]);
  t.source.close();
});

test("an object that is there twice counts once, and both places are named", async () => {
  const t = await start({ "a.yaml": service("a", 1), "b.yaml": service("a", 2) });
  assert.is(t.cluster.services.get("shop/a")?.ports[0]?.port, 1);
  assert.equal(t.problems(), ["b.yaml:1: Service shop/a is already in a.yaml:1, which counts"]);
  t.files.remove("a.yaml");
  await t.pass(50);
  assert.is(t.cluster.services.get("shop/a")?.ports[0]?.port, 2);
  assert.equal(t.problems(), []);
  t.source.close();
});

test("kinds that are not known are said once and ignored", async () => {
  const config = (n: number) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c${n} }\n`;
  const t = await start({ "a.yaml": `${config(1)}---\n${config(2)}---\n${service("a")}` });
  assert.equal(t.names(), ["shop/a"]);
  assert.equal(t.problems(), []);
  assert.is(t.lines.filter((l) => l.includes("ConfigMap")).length, 1);
  t.files.write("a.yaml", `${config(3)}---\n${service("a")}`);
  await t.pass(50);
  assert.is(t.lines.filter((l) => l.includes("ConfigMap")).length, 1);
  t.source.close();
});

test("what is no object, has no name, or expands without end is named by line", async () => {
  const bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" +
    "bcdefghi".split("").map((c, i) => {
      const before = "abcdefgh"[i];
      return `${c}: &${c} [${new Array(9).fill(`*${before}`).join(",")}]\n`;
    }).join("");
  const t = await start({
    "a.yaml": "just text\n",
    "b.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: Not_A_Name\n",
    "c.yaml": "kind: Service\n",
    "d.yaml": bomb,
    "e.yaml": "a: 1\na: 2\n",
  });
  const problems = t.problems();
  assert.is(problems.length, 5);
  assert.match(problems[0] ?? "", /^a\.yaml:1: is not an object/);
  assert.match(problems[1] ?? "", /^b\.yaml:4: metadata\.name: is "Not_A_Name"/);
  assert.match(problems[2] ?? "", /^c\.yaml:1: apiVersion: is missing/);
  assert.match(problems[3] ?? "", /^d\.yaml:1: .*alias/i);
  assert.match(problems[4] ?? "", /^e\.yaml:2: .*unique/i);
  t.source.close();
});

test("a folder that goes away keeps everything and is found again", async () => {
  const t = await start({ "a.yaml": service("a") });
  t.files.broken = "Cannot read the folder /mesh: gone";
  await t.pass(2000);
  assert.equal(t.names(), ["shop/a"]);
  assert.match(t.problems()[0] ?? "", /gone/);
  t.files.broken = null;
  t.files.write("a.yaml", service("b"));
  await t.pass(2000);
  assert.equal(t.names(), ["shop/b"]);
  assert.equal(t.problems(), []);
  t.source.close();
});

test("a change that nothing told of is found by looking", async () => {
  const t = await start({ "a.yaml": service("a") });
  t.source.close();
  const files = new MemoryFiles();
  files.write("a.yaml", service("a"));
  const deaf = Object.assign(files, { watch: () => () => {} });
  const clock = new FakeClock();
  const cluster = new Cluster();
  const source = new FolderSource({
    folder: "/mesh",
    files: deaf,
    cluster,
    clock,
    counters: new Counters(),
    log: createLogger({ level: "off", format: "plain", wall: () => 0, write: () => {} }),
    onProblems: () => {},
  });
  await source.start();
  files.write("a.yaml", service("z"));
  clock.advance(2000);
  for (let i = 0; i < 100; i++) await Promise.resolve();
  assert.equal([...cluster.services.rows.keys()], ["shop/z"]);
  source.close();
});

test.run();
