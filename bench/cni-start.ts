// What the CNI plugin's executable costs each pod: from its start to its answer, without a network, and
// what a Node that does nothing costs on the same machine. Makes the executable if it is not there.
// Usage: node bench/cni-start.ts [RUNS]

import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import process from "node:process";
import { buildPlugin, CNI_EXECUTABLE, pinnedNode } from "../tools/build-cni.ts";

const runs = Number(process.argv[2] ?? 30);
const node = await pinnedNode();
if (node === null) throw new Error("there is no pinned Node for this platform");
if (!existsSync(CNI_EXECUTABLE)) await buildPlugin(CNI_EXECUTABLE);

const programs: readonly [string, string, readonly string[]][] = [
  ["linkerd-cni VERSION", CNI_EXECUTABLE, []],
  ["node -e 0", node, ["-e", "0"]],
];
const times = new Map<string, number[]>(programs.map(([name]) => [name, []]));
// One after the other in turns, so that a busy machine is as unfair to both.
for (let i = 0; i < runs; i++) {
  for (const [name, file, args] of programs) {
    const from = performance.now();
    const { status } = spawnSync(file, args, {
      input: '{"cniVersion":"1.0.0"}',
      env: { CNI_COMMAND: "VERSION" },
    });
    if (status !== 0) throw new Error(`${name} ended with ${status}`);
    times.get(name)?.push(performance.now() - from);
  }
}
for (const [name, all] of times) {
  all.sort((a, b) => a - b);
  const at = (q: number) => all[Math.min(all.length - 1, Math.floor(q * all.length))]?.toFixed(0);
  console.log(`${name}: median ${at(0.5)} ms, p90 ${at(0.9)} ms of ${all.length} runs`);
}
console.log(`size: ${(statSync(CNI_EXECUTABLE).size / 1e6).toFixed(0)} MB`);
