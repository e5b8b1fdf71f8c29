#!/usr/bin/env node
// Starts the Deno that the lock file pins, with the arguments given: what `npx deno` and the scripts
// of package.json run. Plain JavaScript, since any Node from 20 on may run it.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";

const libc = process.platform === "linux" ? "-glibc" : "";
const name = `@deno/${process.platform}-${process.arch}${libc}`;

/** The binary's path, or null when npm has not installed the package of this platform. */
function find() {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return join(manifest, "..", "deno");
  } catch {
    return null;
  }
}

const deno = find();
if (deno === null) {
  console.error(`deno: the package ${name} is not installed: run npm ci without --omit=optional`);
  process.exit(1);
}
// The binary's own folder first, so that a right to run `deno` is a right to run this one.
const PATH = dirname(deno) + delimiter + (process.env.PATH ?? "");
const child = spawn(deno, process.argv.slice(2), {
  stdio: "inherit",
  env: { ...process.env, PATH },
});
child.on("error", (e) => {
  console.error(`deno: cannot start ${deno}: ${e.message}`);
  process.exit(1);
});
for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"]) {
  process.on(signal, () => {
    // A terminal has told the child already: it signals the whole foreground group.
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  for (const s of ["SIGTERM", "SIGHUP", "SIGINT"]) process.removeAllListeners(s);
  process.kill(process.pid, signal);
});
