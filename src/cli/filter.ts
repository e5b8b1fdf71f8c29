// `tulle filter …`: the list of what can be done with a filter. Each command has its own file.

import type { CommandGroup } from "./command.ts";
import { filterBuildCommand } from "./filter-build.ts";
import { filterDevCommand } from "./filter-dev.ts";
import { filterInspectCommand } from "./filter-inspect.ts";
import { filterNewCommand } from "./filter-new.ts";
import { filterKeygenCommand, filterSignCommand, filterVerifyCommand } from "./filter-sign.ts";
import { filterTestCommand } from "./filter-test.ts";

/** What `tulle filter` can do, in the order in which a filter needs it. */
export const filterCommands: CommandGroup = {
  name: "filter",
  summary: "Make filters: scaffold, build, inspect, test, sign and verify them",
  commands: [
    filterNewCommand,
    filterBuildCommand,
    filterTestCommand,
    filterDevCommand,
    filterInspectCommand,
    filterKeygenCommand,
    filterSignCommand,
    filterVerifyCommand,
  ],
  notes: [
    "A filter is a folder: filters/NAME/assembly/index.ts is its source, filters/NAME/*.test.ts its\n" +
    "tests, filters/build/NAME.wasm what it is compiled to.",
  ],
};
