// The CNI plugin as a program of its own: what the executable on a host starts with. It takes no
// arguments; a container runtime says what it wants by variables. Loads nothing of the other commands.

import process from "node:process";
import { runCni } from "./cni-run.ts";

void runCni().then((status) => process.exit(status));
