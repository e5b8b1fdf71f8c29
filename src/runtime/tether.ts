// Loaded before the main module of a child process: ends the child when its standard input closes,
// which is how a parent asks it to end and also what happens when the parent dies.
// No signal is sent, since Deno wants the right to run everything for one.

import process from "node:process";

/** Deno runs what a preloaded module waits for before the main module, hence later and without a hold. */
const START_MS = 100;

setTimeout(() => {
  const end = () => {
    const handled = process.emit("SIGTERM", "SIGTERM");
    if (!handled) process.exit(0);
  };
  process.stdin.once("end", end);
  process.stdin.once("error", end);
  process.stdin.resume();
}, START_MS).unref();
