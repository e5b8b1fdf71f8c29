// Where the demo's words go: a table redrawn in place on a terminal, plain lines elsewhere, and
// nothing but the document with `--json`.

import type { Terminal } from "./command.ts";
import { alarm, fit, renderLine, renderTable, type TableView } from "./demo-table.ts";

/** What the demo may say. Messages stay; the view is replaced by the next one. */
export interface Screen {
  message(line: string): void;
  /** Something failed. */
  alarm(line: string): void;
  view(view: TableView): void;
}

/** Chooses by what the terminal can do. `quiet` leaves stdout to the final document. */
export function createScreen(terminal: Terminal, quiet: boolean): Screen {
  if (quiet) {
    return { message: () => {}, alarm: (line) => terminal.err(line), view: () => {} };
  }
  if (!terminal.interactive) {
    return {
      message: (line) => terminal.out(line),
      alarm: (line) => terminal.err(line),
      view: (view) => terminal.out(renderLine(view)),
    };
  }
  return new LiveScreen(terminal);
}

const ERASE_LINE = "\x1b[K";
const ERASE_BELOW = "\x1b[J";

class LiveScreen implements Screen {
  readonly #terminal: Terminal;
  #drawn: readonly string[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  message(line: string): void {
    this.#draw(this.#drawn, line + "\n");
  }

  alarm(line: string): void {
    this.message(alarm(line, this.#terminal.color));
  }

  view(view: TableView): void {
    const { columns, rows } = this.#terminal.size();
    const lines = renderTable(view, columns, this.#terminal.color);
    // one row is left for the cursor; a table that scrolls could not be redrawn
    const shown = lines.length < rows ? lines : [
      ...lines.slice(0, Math.max(1, rows - 2)),
      fit("… (a taller terminal shows more)", columns),
    ];
    this.#draw(shown, "");
  }

  #draw(lines: readonly string[], above: string): void {
    const up = this.#drawn.length === 0 ? "" : `\x1b[${this.#drawn.length}A\r`;
    const body = lines.map((line) => line + ERASE_LINE + "\n").join("");
    const cleared = above.replaceAll("\n", ERASE_LINE + "\n");
    this.#terminal.write(up + cleared + body + ERASE_BELOW);
    this.#drawn = lines;
  }
}
