// HTTP in front of a webhook: takes reviews that an API server could have sent, bounded in size and in
// number, and refuses the rest in one line. What is answered is decided by who is handed in.

import { Hono } from "hono";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { ReviewError } from "./review.ts";

/** An API server's objects have at most 1.5 MB, and a review carries one, or two for an update. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** So that a storm of reviews cannot hold more than this many bodies at once. */
const MAX_OPEN = 64;

export interface ReviewAppDeps {
  /** An AdmissionReview for one. A `ReviewError` makes 400 of it. */
  readonly answer: (body: unknown) => unknown;
  /** Counts a request that is no review. */
  readonly refused: (status: number) => void;
  readonly log: Logger;
}

/** The handler that the API server calls, at `/`. */
export function createReviewApp({ answer, refused, log }: ReviewAppDeps): Hono {
  const app = new Hono();
  let open = 0;
  const refuse = (why: string, status: 400 | 405 | 413 | 415 | 503) => {
    refused(status);
    log.warn("A request to the webhook was refused", { why });
    return new Response(`${why}\n`, {
      status,
      headers: {
        "content-type": "text/plain; charset=utf-8",
        ...(status === 405 ? { allow: "POST" } : {}),
        ...(status === 503 ? { "retry-after": "1" } : {}),
      },
    });
  };
  app.post("/", async (c) => {
    const type = c.req.header("content-type") ?? "";
    if (!/^application\/json\b/.test(type)) {
      return refuse("The content-type is not application/json: send an AdmissionReview", 415);
    }
    if (open >= MAX_OPEN) return refuse(`${MAX_OPEN} reviews are being answered: ask again`, 503);
    open++;
    try {
      const bytes = await readBody(c.req.raw, MAX_BODY_BYTES);
      if (bytes === null) {
        return refuse(`The body is over ${MAX_BODY_BYTES} bytes: no object is so large`, 413);
      }
      let body: unknown;
      try {
        body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
      } catch {
        return refuse("The body is not JSON: send an AdmissionReview", 400);
      }
      return c.json(await answer(body) as object);
    } catch (e) {
      if (e instanceof ReviewError) {
        return refuse(`The body is not an AdmissionReview: ${e.message}`, 400);
      }
      throw e;
    } finally {
      open--;
    }
  });
  app.all("/", () => refuse("The webhook answers POST only", 405));
  app.notFound((c) => c.text("no such path: the webhook is at /\n", 404));
  app.onError((e, c) => {
    log.error("The webhook failed to answer", { error: errorText(e) });
    return c.text("internal error: see the webhook's log\n", 500);
  });
  return app;
}

/** Null: it is longer. Stops reading there. */
async function readBody(request: Request, maxBytes: number): Promise<Uint8Array | null> {
  const announced = Number(request.headers.get("content-length") ?? "0");
  if (announced > maxBytes) return null;
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request.body ?? []) {
    length += part.length;
    if (length > maxBytes) return null;
    parts.push(part);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
