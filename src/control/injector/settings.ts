// What the injector is set up with, from the files of a ConfigMap: read again when they change, and the
// last good state kept when they become bad.

import type { Clock } from "../../core/clock.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { DEFAULT_INJECTOR_VALUES, INIT_MODES, type InjectorValues } from "./values.ts";

/** How often files are looked at: a kubelet takes longer to replace them. */
const POLL_MS = 2_000;

/**
 * The `values` of the ConfigMap `linkerd-config`, as `install` writes them: JSON. What is missing has
 * its default, what is not the injector's is not looked at. Throws one line for a value of a wrong type.
 */
export function readValues(text: string): InjectorValues {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw new Error("The values are not JSON: write them with tulle install");
  }
  const values = overlay(DEFAULT_INJECTOR_VALUES, given, "values") as InjectorValues;
  if (!INIT_MODES.includes(values.proxyInit.mode)) {
    throw new Error(`values.proxyInit.mode is not one of ${INIT_MODES.join(", ")}`);
  }
  return values;
}

function overlay(known: unknown, given: unknown, path: string): unknown {
  if (given === undefined) return known;
  if (Array.isArray(known)) {
    if (!Array.isArray(given)) throw new Error(`${path} is not a list`);
    return given;
  }
  if (typeof known === "object" && known !== null) {
    if (typeof given !== "object" || given === null || Array.isArray(given)) {
      throw new Error(`${path} is not an object`);
    }
    const from = given as Readonly<Record<string, unknown>>;
    return Object.fromEntries(
      Object.entries(known).map(([key, value]) => [
        key,
        overlay(value, Object.hasOwn(from, key) ? from[key] : undefined, `${path}.${key}`),
      ]),
    );
  }
  if (typeof given !== typeof known) throw new Error(`${path} is not a ${typeof known}`);
  return given;
}

/** Something that is made of files and kept up to date. */
export class Reloaded<T> {
  readonly #read: () => Promise<string>;
  readonly #make: (text: string) => T | Promise<T>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #what: string;
  #text: string;
  #value: T;
  #cancel: () => void = () => {};
  #closed = false;
  #complained = "";

  private constructor(
    options: ReloadOptions<T>,
    text: string,
    value: T,
  ) {
    this.#read = options.read;
    this.#make = options.make;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#what = options.what;
    this.#text = text;
    this.#value = value;
    this.#wait();
  }

  /** Rejects when the first state cannot be used: there is none to keep. */
  static async open<T>(options: ReloadOptions<T>): Promise<Reloaded<T>> {
    const text = await options.read();
    return new Reloaded(options, text, await options.make(text));
  }

  get value(): T {
    return this.#value;
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #wait(): void {
    if (this.#closed) return;
    this.#cancel = this.#clock.after(POLL_MS, () => void this.#look());
  }

  async #look(): Promise<void> {
    try {
      const text = await this.#read();
      if (text !== this.#text) {
        this.#value = await this.#make(text);
        this.#text = text;
        this.#log.info(`${this.#what} changed and is used`);
      }
      this.#complained = "";
    } catch (e) {
      const why = errorText(e);
      if (why !== this.#complained) this.#log.error(`${this.#what} cannot be used`, { why });
      this.#complained = why;
    }
    this.#wait();
  }
}

/** How something is read and made. */
export interface ReloadOptions<T> {
  /** For the log, such as `The webhook's certificate`. */
  readonly what: string;
  readonly read: () => Promise<string>;
  /** Throws for what cannot be used. Called once for each change. */
  readonly make: (text: string) => T | Promise<T>;
  readonly clock: Clock;
  readonly log: Logger;
}
