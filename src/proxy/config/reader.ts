// Reads single variables and collects what is wrong with them, so that one run of the proxy names every
// mistake.

import { errorText } from "../../core/errors.ts";
import * as grammar from "./grammar.ts";
import type { EnvName } from "./names.ts";

const DURATIONS: readonly EnvName[] = [
  "LINKERD2_PROXY_INBOUND_ACCEPT_USER_TIMEOUT",
  "LINKERD2_PROXY_INBOUND_CONNECT_USER_TIMEOUT",
  "LINKERD2_PROXY_OUTBOUND_ACCEPT_USER_TIMEOUT",
  "LINKERD2_PROXY_OUTBOUND_CONNECT_USER_TIMEOUT",
];

/** One pass over an environment. */
export class EnvReader {
  /** `NAME what is wrong`, once for each name, in order of reading. */
  readonly problems: string[] = [];
  readonly #env: ReadonlyMap<string, string>;
  readonly #named = new Set<EnvName>();

  constructor(env: ReadonlyMap<string, string>) {
    this.#env = env;
  }

  has(name: EnvName): boolean {
    return this.#env.has(name);
  }

  /** The parsed value; `absent` when it is not set, or is invalid, which is then a problem. */
  get<T>(name: EnvName, parse: (text: string) => T, absent: T): T {
    const text = this.#env.get(name);
    if (text === undefined) return absent;
    try {
      return parse(text);
    } catch (e) {
      this.problem(name, errorText(e));
      return absent;
    }
  }

  /** As `get`, but not set is a problem too. */
  require<T>(name: EnvName, parse: (text: string) => T, absent: T): T {
    if (!this.has(name)) this.problem(name, "must be set");
    return this.get(name, parse, absent);
  }

  /** What has no effect must be well-formed too, where it has a form: a mistake there is a mistake. */
  checkRest(): void {
    for (const name of DURATIONS) this.get(name, grammar.parseDuration, 0);
    this.get("LINKERD2_PROXY_INBOUND_PORTS_REQUIRE_IDENTITY", grammar.parsePorts, { ranges: [] });
    this.get("LINKERD2_PROXY_INBOUND_PORTS_REQUIRE_TLS", grammar.parsePorts, { ranges: [] });
  }

  problem(name: EnvName, what: string): void {
    if (this.#named.has(name)) return;
    this.#named.add(name);
    this.problems.push(`${name} ${what}`);
  }
}
