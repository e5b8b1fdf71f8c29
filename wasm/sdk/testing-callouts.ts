// Call-outs of a filter under test: answered at once by functions of the test.

import type { CalloutAnswer, CalloutRequest } from "../../src/core/filter.ts";
import { readManifest } from "../host/manifest.ts";
import { parseModule } from "../host/parse.ts";
import { byteString, text } from "./testing-heads.ts";
import type { TestOptions } from "./testing-results.ts";

/** A service for each name that a module asks, so that it is loaded; none for what is no module. */
export function calloutTargets(module: Uint8Array): Readonly<Record<string, string>> {
  try {
    const { callouts = [] } = readManifest(parseModule(module).manifest);
    return Object.fromEntries(callouts.map((name, i) => [name, `callout-${i}.test:80`]));
  } catch {
    return {}; // why it is refused is said by whoever loads it
  }
}

/** Asks the test. */
export function answerOf(
  asked: CalloutRequest,
  targets: Readonly<Record<string, string>>,
  answers: TestOptions["callouts"] = {},
): CalloutAnswer {
  const name = Object.keys(targets).find((key) => targets[key] === asked.authority) ?? "";
  const answer = answers[name]?.({
    method: asked.method,
    path: text(asked.path),
    headers: Object.fromEntries(asked.headers.map(([n, v]) => [n.toLowerCase(), text(v)])),
    body: text(asked.body),
    timeoutMs: asked.timeoutMs,
  }) ?? null;
  const headers = answer?.headers ?? {};
  return {
    status: answer?.status ?? 0,
    error: answer === null ? `nobody answers for ${name} in this test` : "",
    header: (n) => {
      const value = headers[n.toLowerCase()];
      return value === undefined ? null : byteString(value);
    },
    body: new TextEncoder().encode(answer?.body ?? ""),
  };
}
