// Modules that were rolled out by hand or by a changed file, in place of what configuration pins.
// Remembered in the state folder; a new digest in the configuration ends them.

import { errorText } from "../../core/errors.ts";
import type { StateDir } from "../state-dir.ts";

/** One module in place of another. */
export interface Rollout {
  readonly sha256: string;
  /** What configuration pinned then. */
  readonly instead: string;
}

const FILE = "rollouts.json";
const DIGEST = /^[0-9a-f]{64}$/;

export class Rollouts {
  readonly #dir: StateDir;
  readonly #byName: Map<string, Rollout>;

  private constructor(dir: StateDir, byName: Map<string, Rollout>) {
    this.#dir = dir;
    this.#byName = byName;
  }

  /** Reads what is remembered. Rejects when the file is there and cannot be read. */
  static async open(dir: StateDir): Promise<Rollouts> {
    const bytes = await dir.read(FILE);
    const byName = new Map<string, Rollout>();
    if (bytes !== null) {
      let value: unknown;
      try {
        value = JSON.parse(new TextDecoder().decode(bytes));
      } catch (e) {
        throw new Error(`${FILE} in the state folder is not JSON: ${errorText(e)}`, { cause: e });
      }
      for (const [name, r] of Object.entries(value as Record<string, Partial<Rollout> | null>)) {
        if (DIGEST.test(r?.sha256 ?? "") && DIGEST.test(r?.instead ?? "")) {
          byName.set(name, r as Rollout);
        }
      }
    }
    return new Rollouts(dir, byName);
  }

  /** The digest to run for a filter that configuration pins to `pinned`. */
  digestFor(name: string, pinned: string): string {
    const rollout = this.#byName.get(name);
    return rollout?.instead === pinned ? rollout.sha256 : pinned;
  }

  /** Remembers; the pinned digest itself means that there is nothing to remember. */
  async set(name: string, rollout: Rollout): Promise<void> {
    if (rollout.sha256 === rollout.instead) {
      if (!this.#byName.delete(name)) return;
    } else this.#byName.set(name, rollout);
    const text = JSON.stringify(Object.fromEntries(this.#byName), null, 2);
    await this.#dir.write(FILE, new TextEncoder().encode(`${text}\n`));
  }
}
