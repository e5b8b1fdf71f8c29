import { test } from "uvu";
import * as assert from "uvu/assert";
import { createScreen } from "../../src/cli/demo-screen.ts";
import { fit, renderLine, renderTable, type TableView } from "../../src/cli/demo-table.ts";
import { fakeTerminal } from "./fake-terminal.ts";

const ESC = "\x1b";

const view: TableView = {
  elapsedMs: 83_400,
  dashboard: "http://127.0.0.1:8084/",
  services: new Map([
    ["web", {
      requests: 400,
      failures: 0,
      attempts: 400,
      failedAttempts: 0,
      latency: new Map([[50, 200], [100, 400], [Infinity, 400]]),
      arrived: 400,
      arrivedMtls: 400,
    }],
    ["catalogue", {
      requests: 320,
      failures: 0,
      attempts: 326,
      failedAttempts: 6,
      latency: new Map([[5, 300], [100, 320], [Infinity, 320]]),
      arrived: 326,
      arrivedMtls: 326,
    }],
    ["vote", {
      requests: 0,
      failures: 0,
      attempts: 0,
      failedAttempts: 0,
      latency: new Map(),
      arrived: 0,
      arrivedMtls: 0,
    }],
  ]),
  windowMs: 10_000,
  endpoints: [
    {
      pod: "catalogue-a",
      authority: "catalogue.shop.svc.cluster.local:8080",
      addr: "127.77.1.3:8080",
      weight: 10000,
      ewmaMs: 3.21,
      pending: 0,
      state: "available",
    },
    {
      pod: "catalogue-c",
      authority: "catalogue.shop.svc.cluster.local:8080",
      addr: "127.77.1.5:8080",
      weight: 10000,
      ewmaMs: 63.9,
      pending: 1,
      state: "available",
    },
  ],
  filters: [
    {
      name: "header-modifier",
      sha256: "0123456789abcdef",
      calls: 12_345,
      nsPerCall: 1_234,
      traps: 0,
      state: "active",
      lastError: "",
    },
    {
      name: "retry",
      sha256: "fedcba9876543210",
      calls: 7,
      nsPerCall: 0,
      traps: 2,
      state: "refused",
      lastError: "trap",
    },
  ],
  load: { requests: 3_210, failed: 1 },
  tally: { connected: true, lines: 1_234 },
  swaps: { done: 2, crossed: 57, failed: 0 },
};

test("renderTable() shows services, endpoints, filters and swaps", () => {
  assert.is(
    renderTable(view, 100, false).join("\n"),
    `Tulle demo  01:23  http://127.0.0.1:8084/  Ctrl-C ends it

SERVICE     SUCCESS       RPS    P50    P95    P99      MTLS    ACTUAL
web         100.00%   40.0rps   50ms   95ms   99ms   100.00%   100.00%
catalogue   100.00%   32.0rps    3ms   24ms   85ms   100.00%    98.15%
vote              -    0.0rps      -      -      -         -         -

ENDPOINT      WEIGHT     EWMA   PENDING   STATE       ADDRESS
catalogue-a    10000    3.2ms         0   available   127.77.1.3:8080
catalogue-c    10000   63.9ms         1   available   127.77.1.5:8080

FILTER            BUILD       CALLS   NS/CALL   TRAPS   STATE
header-modifier   01234567   12,345     1,234       0   active
retry             fedcba98        7         -       2   refused

load: 3,210 requests, 1 failed   tally (tcp): 1,234 lines
filter swaps: 2, 57 requests crossed them, 0 failed`,
  );
});

test("renderTable() leaves out columns and cuts lines on a narrow terminal", () => {
  assert.is(
    renderTable(view, 40, false).join("\n"),
    `Tulle demo  01:23  http://127.0.0.1:808…

SERVICE     SUCCESS       RPS    P50
web         100.00%   40.0rps   50ms
catalogue   100.00%   32.0rps    3ms
vote              -    0.0rps      -

ENDPOINT      WEIGHT     EWMA   PENDING
catalogue-a    10000    3.2ms         0
catalogue-c    10000   63.9ms         1

FILTER            BUILD       CALLS
header-modifier   01234567   12,345
retry             fedcba98        7

load: 3,210 requests, 1 failed   tally …
filter swaps: 2, 57 requests crossed th…`,
  );
});

test("renderTable() keeps to any width", () => {
  for (let columns = 20; columns < 120; columns++) {
    for (const line of renderTable(view, columns, false)) assert.ok(line.length <= columns, line);
  }
});

test("renderTable() rounds a success rate down, so that 100 % means all", () => {
  const web = { ...view.services.get("web")!, requests: 100_000, failures: 1 };
  const [, , , line] = renderTable({ ...view, services: new Map([["web", web]]) }, 100, false);
  assert.match(line!, /99\.99%/);
});

test("renderLine() says the same in one plain line", () => {
  assert.is(
    renderLine(view),
    "01:23  web 100.00% 40.0rps p50 50ms p99 99ms  catalogue 100.00% 32.0rps p50 3ms p99 85ms  " +
      "vote - 0.0rps p50 - p99 -  swaps 2 (57 crossed, 0 failed)",
  );
});

test("fit() cuts and marks the cut", () => {
  assert.is(fit("abcdef", 6), "abcdef");
  assert.is(fit("abcdefg", 6), "abcde…");
});

test("a screen that is no terminal gets plain lines, without an escape", () => {
  const terminal = fakeTerminal({ interactive: false, color: false });
  const screen = createScreen(terminal, false);
  screen.message("up");
  screen.view(view);
  screen.alarm("it fails");
  assert.equal(terminal.stdout, ["up", renderLine(view)]);
  assert.equal(terminal.stderr, ["it fails"]);
  assert.equal(terminal.raw, []);
});

test("a quiet screen leaves stdout to the document", () => {
  const terminal = fakeTerminal({ interactive: true });
  const screen = createScreen(terminal, true);
  screen.message("up");
  screen.view(view);
  screen.alarm("it fails");
  assert.equal(terminal.stdout, []);
  assert.equal(terminal.raw, []);
  assert.equal(terminal.stderr, ["it fails"]);
});

test("a terminal is redrawn in place, with messages above the table", () => {
  const terminal = fakeTerminal({ interactive: true, columns: 100, rows: 40 });
  const screen = createScreen(terminal, false);
  screen.view(view);
  screen.message("a swap");
  screen.view(view);
  const rows = emulate(terminal.raw.join(""));
  assert.equal(rows, ["a swap", ...renderTable(view, 100, false), ""]);
});

test("a low terminal shows the head of the table and says so", () => {
  const terminal = fakeTerminal({ interactive: true, columns: 100, rows: 10 });
  const screen = createScreen(terminal, false);
  screen.view(view);
  screen.view(view);
  const rows = emulate(terminal.raw.join(""));
  assert.is(rows.length, 10);
  assert.is(rows[8], "… (a taller terminal shows more)");
});

test("color is used only where it may be", () => {
  assert.ok(renderTable(view, 100, true).join("\n").includes(`${ESC}[1mSERVICE`));
  assert.not.ok(renderTable(view, 100, false).join("\n").includes(ESC));
});

/** What a terminal would show: knows the few sequences that the screen uses. */
function emulate(text: string): string[] {
  const rows = [""];
  let row = 0;
  let column = 0;
  const sequence = `${ESC}\\[(\\d*)([A-Za-z])`;
  for (const [token] of text.matchAll(new RegExp(`${sequence}|[^]`, "gu"))) {
    const escape = new RegExp(`^${sequence}$`).exec(token);
    if (escape === null) {
      if (token === "\n") {
        row++;
        column = 0;
        rows[row] ??= "";
      } else if (token === "\r") column = 0;
      else {
        rows[row] = rows[row]!.slice(0, column) + token + rows[row]!.slice(column + 1);
        column++;
      }
    } else if (escape[2] === "A") row = Math.max(0, row - Number(escape[1]));
    else if (escape[2] === "K") rows[row] = rows[row]!.slice(0, column);
    else if (escape[2] === "J") {
      rows[row] = rows[row]!.slice(0, column);
      rows.length = row + 1;
    } else throw new Error(`unknown sequence ${escape[2]}`);
  }
  return rows;
}

test.run();
