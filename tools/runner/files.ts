// Which test files there are and how each is run. Data first: the exceptions from «60 seconds, two at
// a time» are listed here and nowhere else.

import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** One test file as the runner sees it. */
export interface TestFile {
  /** Relative to the project, with `/`. */
  readonly path: string;
  readonly timeoutMs: number;
  /** Runs with nothing beside it: it starts many processes, or measures time. */
  readonly alone: boolean;
}

const DEFAULT_TIMEOUT_MS = 60_000;

/** Files that need more, by how their path begins. The first that fits counts. */
const EXCEPTIONS: readonly { prefix: string; timeoutMs: number; alone: boolean }[] = [
  { prefix: "test/mesh/", timeoutMs: 180_000, alone: true },
  { prefix: "test/conformance/", timeoutMs: 180_000, alone: true },
  { prefix: "test/kubernetes/", timeoutMs: 180_000, alone: true },
  { prefix: "test/netns/", timeoutMs: 300_000, alone: true },
  { prefix: "test/pods/", timeoutMs: 420_000, alone: true },
  { prefix: "test/soak/", timeoutMs: 420_000, alone: true },
  { prefix: "test/peers/", timeoutMs: 300_000, alone: true },
  { prefix: "test/wire/", timeoutMs: 180_000, alone: true },
  { prefix: "test/package.test.ts", timeoutMs: 180_000, alone: true },
];

/** Suites with a task of their own: run when a word names them, not with everything. */
const OWN_TASK = [
  "test/kubernetes/",
  "test/netns/",
  "test/peers/",
  "test/pods/",
  "test/soak/",
  "test/wire/",
];

/** Folders that may hold tests. */
const ROOTS = ["test", "filters"];

/** What the path of a test file says about running it. */
export function testFile(path: string): TestFile {
  const e = EXCEPTIONS.find((x) => path.startsWith(x.prefix));
  return { path, timeoutMs: e?.timeoutMs ?? DEFAULT_TIMEOUT_MS, alone: e?.alone ?? false };
}

/**
 * Every `*.test.ts` whose path contains one of `words` (all when there are none), sorted; those that
 * run alone come last.
 */
export async function findTests(root: string, words: readonly string[]): Promise<TestFile[]> {
  const found: TestFile[] = [];
  for (const top of ROOTS) {
    for (const path of await walk(root, top)) {
      if (!path.endsWith(".test.ts")) continue;
      const own = OWN_TASK.some((folder) => path.startsWith(folder));
      if (words.length > 0 ? !words.some((w) => path.includes(w)) : own) continue;
      found.push(testFile(path));
    }
  }
  return found.sort((a, b) => Number(a.alone) - Number(b.alone) || (a.path < b.path ? -1 : 1));
}

async function walk(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
  const paths: string[] = [];
  for (const entry of entries) {
    if (entry.name === "node_modules") continue;
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) paths.push(...await walk(root, path));
    else paths.push(path);
  }
  return paths;
}
