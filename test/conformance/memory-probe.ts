// Loaded before a proxy of a test: on SIGUSR2 it collects what nobody holds, and says what is held.

import process from "node:process";

process.on("SIGUSR2", () => {
  const { gc } = globalThis as { gc?: () => void };
  gc?.();
  gc?.();
  const { heapUsed, external } = process.memoryUsage();
  console.error(`held=${heapUsed + external} collected=${gc !== undefined}`);
});
