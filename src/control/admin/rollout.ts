// `POST /api/filters/:name/rollout`: reads which module a filter shall run – a digest that the registry
// has, or the bytes of a new one – within bounds, and lets the control plane decide.

import type { Context } from "hono";
import { MAX_JSON_BYTES, MAX_MODULE_BYTES, readJson, rolloutRequest } from "../../api/admin.ts";
import type { RolloutAnswer } from "../../api/admin.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { parseSignature } from "../../core/signature.ts";
import type { AdminState, RolloutModule } from "./state.ts";

/** Statuses: 200, 400 (body), 404 (filter), 413, 415, 422 (module refused). */
export async function rollout(c: Context, state: AdminState, log: Logger): Promise<Response> {
  const name = c.req.param("name") ?? "";
  const read = await readModule(c.req.raw);
  if ("error" in read) return c.json({ error: read.error }, read.status);
  const result = await state.rollout(name, read.module);
  if (!result.ok) {
    log.warn("A roll-out was refused", { filter: name, reason: result.reason });
    return c.json({ error: result.reason }, result.kind === "unknown-filter" ? 404 : 422);
  }
  log.info("A filter was rolled out", { filter: name, sha256: result.sha256 });
  return c.json(
    { name, sha256: result.sha256, previous: result.previous } satisfies RolloutAnswer,
  );
}

type Read =
  | { readonly module: RolloutModule }
  | { readonly status: 400 | 413 | 415; readonly error: string };

async function readModule(request: Request): Promise<Read> {
  const type = (request.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/wasm") {
    const bytes = await readBody(request, MAX_MODULE_BYTES);
    if (bytes === null) return tooLarge(MAX_MODULE_BYTES);
    if (bytes.length === 0) return { status: 400, error: "the body is empty: send a module" };
    const signed = request.headers.get("x-tulle-signature");
    if (signed === null) return { module: { bytes } };
    try {
      return { module: { bytes, signature: parseSignature(signed) } };
    } catch (e) {
      return { status: 400, error: `x-tulle-signature: ${errorText(e)}` };
    }
  }
  if (type === "application/json") {
    const bytes = await readBody(request, MAX_JSON_BYTES);
    if (bytes === null) return tooLarge(MAX_JSON_BYTES);
    const read = readJson(rolloutRequest, new TextDecoder().decode(bytes));
    return "error" in read
      ? { status: 400, error: `the body must be {"sha256": "…"}: ${read.error}` }
      : { module: { sha256: read.value.sha256 } };
  }
  return {
    status: 415,
    error: 'send a module as application/wasm, or {"sha256": "…"} as application/json',
  };
}

function tooLarge(maxBytes: number): Read {
  return { status: 413, error: `the body is larger than ${maxBytes} bytes` };
}

/** The whole body, or null once it is over `maxBytes`: then no more of it is read. */
async function readBody(request: Request, maxBytes: number): Promise<Uint8Array | null> {
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) return null;
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop cancels the stream.
  for await (const chunk of request.body) {
    size += chunk.length;
    if (size > maxBytes) return null;
    chunks.push(chunk);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
