// `tulle proxy --callout`: which services filters may ask, read from the flags and held against what the
// modules ask. Nothing that is not named here is ever asked.

import { formatSocketAddr, parseSocketAddr, type SocketAddr } from "../core/addr.ts";
import { errorText } from "../core/errors.ts";
import type { StaticCallout, StaticFilter } from "../proxy/static-options.ts";
import { calloutTargets } from "../../wasm/sdk/testing-callouts.ts";
import { CliError, EXIT_CONFIG, usageError } from "./failure.ts";
import { quote } from "./flags.ts";

const NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;
const MAX_CALLOUTS = 64;
const MAX_TARGETS = 64;

/** Reads `NAME=ADDR[,ADDR…]` of each flag, in order. */
export function readCallouts(given: readonly string[]): readonly StaticCallout[] {
  if (given.length > MAX_CALLOUTS) {
    throw usageError(`--callout is given ${given.length} times: at most ${MAX_CALLOUTS}`);
  }
  const callouts = given.map((text): StaticCallout => {
    const cut = text.indexOf("=");
    const name = text.slice(0, Math.max(0, cut));
    if (!NAME.test(name) || cut === text.length - 1) {
      throw usageError(`--callout ${quote(text)} is not NAME=ADDR, such as auth=127.0.0.1:8081`);
    }
    const addrs = text.slice(cut + 1).split(",").map((addr) => target(name, addr.trim()));
    if (addrs.length > MAX_TARGETS) {
      throw usageError(`--callout ${name} has ${addrs.length} addresses: at most ${MAX_TARGETS}`);
    }
    return { name, authority: formatSocketAddr(addrs[0] as SocketAddr), addrs };
  });
  const twice = callouts.find(({ name }, i) => callouts.findIndex((c) => c.name === name) !== i);
  if (twice !== undefined) {
    throw usageError(`--callout ${twice.name} is given twice`, "Several addresses: NAME=ADDR,ADDR");
  }
  for (const { name, authority, addrs } of callouts) {
    // the first address is what a call-out is told apart by
    const same = callouts.find((c) => c.authority === authority && c.addrs.length !== addrs.length);
    if (same !== undefined) {
      throw usageError(
        `--callout ${name} and ${same.name} begin with ${authority} and go on differently`,
      );
    }
  }
  return callouts;
}

function target(name: string, text: string): SocketAddr {
  let addr: SocketAddr;
  try {
    addr = parseSocketAddr(text);
  } catch (e) {
    throw usageError(`--callout ${name}: ${errorText(e)}`);
  }
  if (addr.port === 0) throw usageError(`--callout ${name}: ${text} has no port to connect to`);
  return addr;
}

/** The filter with what it may ask of `allowed`. Throws when it asks what nobody named. */
export function withCallouts(
  filter: StaticFilter,
  allowed: readonly StaticCallout[],
): StaticFilter {
  const asked = Object.keys(calloutTargets(filter.module));
  const missing = asked.filter((name) => !allowed.some((c) => c.name === name));
  if (missing.length > 0) {
    throw new CliError(
      `--filter: ${filter.name} asks ${
        missing.map((n) => quote(n)).join(", ")
      }, which is not allowed`,
      {
        exit: EXIT_CONFIG,
        hint: `Say where that is: ${missing.map((n) => `--callout ${n}=IP:PORT`).join(" ")}`,
      },
    );
  }
  const callouts = allowed.filter((c) => asked.includes(c.name));
  return {
    ...filter,
    callouts: Object.fromEntries(callouts.map((c) => [c.name, c.authority])),
  };
}

/** Throws for a name that no filter asks: a slip of the pen would never be noticed. */
export function checkAsked(
  filters: readonly StaticFilter[],
  allowed: readonly StaticCallout[],
): void {
  const asked = new Set(filters.flatMap((filter) => Object.keys(filter.callouts ?? {})));
  const idle = allowed.find(({ name }) => !asked.has(name));
  if (idle === undefined) return;
  const names = asked.size === 0 ? "they ask nothing" : `they ask ${[...asked].join(", ")}`;
  throw usageError(`--callout ${idle.name} is asked by none of the filters: ${names}`);
}
