// Opens the validating webhooks that a control plane is told to serve: validate.ts behind HTTP and TLS,
// with what it refuses counted and said.

import { formatSocketAddr } from "../../core/addr.ts";
import type { Counters } from "../counters.ts";
import type { ValidatorFlags } from "../flags.ts";
import { serveWebhook, type ServeWebhookOptions } from "./serve.ts";
import { validate, type ValidatorName } from "./validate.ts";
import { createReviewApp } from "./webhook-app.ts";

/** Addresses of those that are served. */
export type ValidatorAddresses = Readonly<Partial<Record<ValidatorName, string>>>;

export interface OpenValidatorsDeps
  extends Pick<ServeWebhookOptions, "read" | "serve" | "clock" | "log"> {
  readonly counters: Counters;
  /** What ends each, from the most recent on. */
  readonly ends: { push(end: () => Promise<void>): unknown };
  readonly graceMs: number;
}

/** Rejects with one line; what was opened before is among `ends`. */
export async function openValidators(
  validators: readonly ValidatorFlags[],
  { counters, ends, graceMs, ...deps }: OpenValidatorsDeps,
): Promise<ValidatorAddresses> {
  const addresses: Partial<Record<ValidatorName, string>> = {};
  for (const { name, listen, tls } of validators) {
    const log = deps.log.with(name);
    const app = createReviewApp({
      answer(body) {
        const { answer, refused } = validate(name, body);
        if (refused !== null) {
          counters.refused("object");
          log.info("an object was refused", { why: refused });
        }
        return answer;
      },
      refused: () => counters.refused("review"),
      log,
    });
    const handler = (request: Request) => app.fetch(request);
    const webhook = await serveWebhook({ ...deps, listen, tls, handler, log });
    ends.push(() => webhook.close(graceMs));
    addresses[name] = formatSocketAddr(webhook.addr);
  }
  return addresses;
}
