// Reading the environment by declared names.

import { test } from "uvu";
import * as assert from "uvu/assert";
import process from "node:process";
import { readEnv } from "../../src/runtime/env.ts";

test("readEnv() gives the declared names that are set, empty ones too", () => {
  process.env.TULLE_TEST_ENV_A = "1";
  process.env.TULLE_TEST_ENV_EMPTY = "";
  process.env.TULLE_TEST_ENV_OTHER = "2";
  const env = readEnv(["TULLE_TEST_ENV_A", "TULLE_TEST_ENV_EMPTY", "TULLE_TEST_ENV_ABSENT"]);
  assert.equal([...env], [["TULLE_TEST_ENV_A", "1"], ["TULLE_TEST_ENV_EMPTY", ""]]);
});

test("readEnv() takes a name that a permission hides as not set", () => {
  const real = process.env;
  const hidden = new Proxy({ SEEN: "yes" } as Record<string, string>, {
    get(target, name) {
      if (name === "HIDDEN") throw new Error('Requires env access to "HIDDEN"');
      return target[String(name)];
    },
  });
  Object.defineProperty(process, "env", { value: hidden, configurable: true, writable: true });
  try {
    assert.equal([...readEnv(["HIDDEN", "SEEN"])], [["SEEN", "yes"]]);
  } finally {
    Object.defineProperty(process, "env", { value: real, configurable: true, writable: true });
  }
});

test.run();
