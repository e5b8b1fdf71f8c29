// The conformance suite of the ABI, played to our engine and to a host that shares nothing with it.

import { readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type ConformanceHost,
  playCase,
  type Script,
  SUITE_VERSION,
} from "../../wasm/conformance/suite.ts";
import { OWN_HOST } from "./own-host.ts";
import { REFERENCE_HOST } from "./reference-host.ts";

const at = (path: string) => new URL(`../../wasm/conformance/${path}`, import.meta.url);
const HOSTS: readonly (readonly [name: string, host: ConformanceHost, limits: boolean])[] = [
  ["our engine", OWN_HOST, true],
  ["the reference", REFERENCE_HOST, false],
];

for (const file of readdirSync(at("cases/")).sort()) {
  const script = JSON.parse(readFileSync(at(`cases/${file}`), "utf8")) as Script;
  const module = new Uint8Array(readFileSync(at(`modules/${script.module}`)));
  for (const [name, host, hasLimits] of HOSTS) {
    const cases = script.cases.filter((c) => hasLimits || !(c.needs ?? []).includes("limits"));
    if (cases.length === 0) continue;
    test(`${name} passes ${file}: ${cases.length} cases`, async () => {
      assert.is(script.suite, "tulle_abi_1");
      assert.is(script.version, SUITE_VERSION);
      const wrong: string[] = [];
      for (const of of cases) {
        for (const line of await playCase(host, module, of)) wrong.push(`${of.name}: ${line}`);
      }
      assert.is(wrong.join("\n"), "");
    });
  }
}

test("the runner tells each kind of difference", async () => {
  const nothing = new Uint8Array(0);
  const step = { call: "tick", with: {}, expect: { trap: true } } as const;
  const takes: ConformanceHost = { load: () => Promise.resolve({ play: () => ({ trap: false }) }) };
  const refuses: ConformanceHost = { load: () => Promise.reject(new Error("no good")) };
  assert.equal(await playCase(takes, nothing, { name: "a", steps: [step] }), [
    "step 1, tick: trap is false, expected true",
  ]);
  assert.equal(await playCase(takes, nothing, { name: "a", refused: "x" }), [
    "it was loaded, and should be refused",
  ]);
  assert.equal(await playCase(refuses, nothing, { name: "a", steps: [step] }), [
    "refused: no good",
  ]);
  assert.equal(await playCase(refuses, nothing, { name: "a", refused: "bad" }), [
    "the reason names no bad: no good",
  ]);
  assert.equal(await playCase(refuses, nothing, { name: "a", refused: "good" }), []);
});

test.run();
