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
// Attackers have the proxy connect 800 times at once: what the system turns away is no matter of ours.
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  // no console: Deno's colours numbers
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
