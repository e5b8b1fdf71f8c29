// Keys that may change while the process runs: read anew before a module is verified, since that is
// rare. Keys that cannot be read leave those before in force, and are counted and said once.

import type { SignatureCheck } from "../../src/core/signature.ts";
import { errorText } from "../../src/core/errors.ts";
import type { Logger } from "../../src/core/log.ts";
import { type FilterKey, requireSignature } from "./signature.ts";

/** Where keys come from, and who hears of them. */
export interface FreshKeysOptions {
  /** Rejects with one line when they cannot be read. */
  readonly read: () => Promise<readonly FilterKey[]>;
  readonly log: Logger;
  /** Keys were refused; those before stay. */
  readonly refused: () => void;
  /** Other keys are in force now. */
  readonly changed?: () => void;
}

/** A check by the newest good keys. */
export interface FreshKeys {
  readonly check: SignatureCheck;
  /** Reads the keys anew. Never rejects. */
  refresh(): Promise<void>;
}

/** Reads the keys for the first time. Rejects when that fails: a process starts with keys or not. */
export async function openFreshKeys(o: FreshKeysOptions): Promise<FreshKeys> {
  const { read, log, refused } = o;
  let keys = await read();
  let check = requireSignature(keys);
  let lastError = "";
  const refresh = async (): Promise<void> => {
    try {
      const found = await read();
      lastError = "";
      const ids = (of: readonly FilterKey[]) => of.map((key) => key.id).sort().join(" ");
      if (ids(found) === ids(keys)) return;
      keys = found;
      check = requireSignature(found);
      log.info("keys of filters changed", { keys: found.map((key) => key.id).join(", ") });
      o.changed?.();
    } catch (e) {
      refused();
      const text = errorText(e);
      if (text !== lastError) log.warn(`keys of filters are refused, those before stay: ${text}`);
      lastError = text;
    }
  };
  return {
    refresh,
    check: async (sha256, signature) => {
      await refresh();
      await check(sha256, signature);
    },
  };
}
