#!/usr/local/bin/node
// The programs of the image under Linkerd's names, without a shell: looks up by which name it was
// called and becomes that program.

import { basename } from "node:path";
import process from "node:process";

const CLI = "/app/dist/cli.js";
const PROGRAMS = {
  "linkerd2-proxy": ["/app/dist/proxy.js"],
  "linkerd2-proxy-identity": ["/app/dist/proxy.js"],
  "linkerd2-proxy-init": [CLI, "init"],
  "linkerd2-network-validator": [CLI, "network-validator"],
  "linkerd2-cni-install": [CLI, "cni-install"],
  "linkerd-cni": [CLI, "cni"],
  "linkerd-cni-repair-controller": [CLI, "cni-repair"],
  "linkerd-await": [CLI, "await"],
  "tulle": [CLI],
  "tulle-control": ["/app/dist/control.js"],
  "tulle-injector": ["/app/dist/injector.js"],
};

const program = PROGRAMS[basename(process.argv[1] ?? "")];
if (program === undefined) {
  process.stderr.write(`There is no program ${basename(process.argv[1] ?? "")} in this image\n`);
  process.exit(127);
}
process.execve(process.execPath, [
  "node",
  "--disable-sigusr1",
  "--disable-warning=ExperimentalWarning",
  ...program,
  ...process.argv.slice(2),
], process.env);
