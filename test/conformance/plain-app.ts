// An application of HTTP/1 in a process of its own, so that what a test does with its own time is not
// the application's: `/` is small, everything else is large. Prints its port.

import http from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";

const LARGE = Buffer.alloc(2_000_000, "x");

const server = http.createServer((request, response) => {
  request.resume();
  request.on("error", () => {});
  response.on("error", () => {});
  response.end(request.url === "/" ? "fine" : LARGE);
});
server.listen(0, "127.0.0.1", () => {
  // no console: Deno's colours numbers
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
