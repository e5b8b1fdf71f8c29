// What the admin server (4191) changes or tells beside its figures: the environment that was read, the
// log's filter, and the end of the process. Access rules are Linkerd's: the log and the end are for
// the pod itself, which is loopback; nothing here shows a secret.

import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { errorText } from "../core/errors.ts";
import type { LogThreshold } from "../core/log.ts";
import { isPodLocal } from "../model/loopback.ts";
import { parseLogFilter } from "./config/log-filter.ts";

/** A filter is a line; nobody needs more. */
const MAX_FILTER_BYTES = 4096;

/** What the operations act on. */
export interface AdminOperations {
  /** The variables that the proxy may read and that are set; never others, which may hold secrets. */
  readonly env: ReadonlyMap<string, string>;
  /** The filter as it was written, and the level that it means. */
  readonly log: { filter: string; readonly threshold: LogThreshold };
  /** Begins to drain; null: `POST /shutdown` is not enabled. */
  readonly shutdown: (() => void) | null;
}

/** Who asks, as `runtime/http-server.ts` hands it in. */
type Client = { Bindings: { readonly remoteIp?: string } };

/** `GET /env.json`, `GET` and `PUT /proxy-log-level`, `POST /shutdown`. */
export function adminOperations(o: AdminOperations): Hono<Client> {
  const app = new Hono<Client>();

  app.get("/env.json", (c) => {
    if (!acceptsJson(c.req.header("accept"))) {
      return c.text("not acceptable: this is application/json\n", 406);
    }
    const query = new URL(c.req.url).search.slice(1);
    if (query.includes("=")) return c.text("bad request: name variables as ?A&B\n", 400);
    if (query === "") return c.json(Object.fromEntries(o.env));
    const names = query.split("&").filter((name) => name !== "").slice(0, MAX_NAMES);
    return c.json(Object.fromEntries(names.map((name) => [name, o.env.get(name) ?? null])));
  });

  app.use("/proxy-log-level", forPodItself);
  app.get("/proxy-log-level", (c) => c.text(`${o.log.filter}\n`));
  app.put(
    "/proxy-log-level",
    bodyLimit({
      maxSize: MAX_FILTER_BYTES,
      onError: (c) => c.text(`bad request: a filter has at most ${MAX_FILTER_BYTES} bytes\n`, 413),
    }),
    async (c) => {
      const filter = (await c.req.text()).trim();
      try {
        if (filter === "") throw new Error("is empty: write a filter such as warn,linkerd=debug");
        o.log.threshold.level = parseLogFilter(filter);
      } catch (e) {
        return c.text(`bad request: the filter ${errorText(e)}\n`, 400);
      }
      o.log.filter = filter;
      return c.body(null, 204);
    },
  );
  app.all("/proxy-log-level", (c) => methodNotAllowed(c, "GET, PUT"));

  const { shutdown } = o;
  if (shutdown !== null) {
    app.use("/shutdown", forPodItself);
    app.post("/shutdown", (c) => {
      // The answer first: the server stops with the process.
      queueMicrotask(shutdown);
      return c.text("shutdown\n");
    });
    app.all("/shutdown", (c) => methodNotAllowed(c, "POST"));
  }
  return app;
}

/** More than are read at all. */
const MAX_NAMES = 200;

async function forPodItself(c: Context<Client>, next: () => Promise<void>) {
  // Where the adapter hands no address in, nobody is the pod itself.
  if (!isPodLocal(c.env?.remoteIp ?? "", [])) return c.text("forbidden: loopback only\n", 403);
  await next();
}

function methodNotAllowed(c: Context<Client>, allow: string): Response {
  return c.text(`method not allowed: use ${allow}\n`, 405, { allow });
}

/** Whether an `Accept` leaves JSON a way; none is all. */
function acceptsJson(accept: string | undefined): boolean {
  if (accept === undefined) return true;
  return accept.split(",").some((range) => {
    const [type = "", ...params] = range.split(";").map((part) => part.trim().toLowerCase());
    const refused = params.some((p) => /^q=0(\.0*)?$/.test(p));
    return !refused && (type === "*/*" || type === "application/*" || type === "application/json");
  });
}
