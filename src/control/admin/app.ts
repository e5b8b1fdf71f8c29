// The admin plane: one page, its API and events, and the control plane's health and metrics, as a plain
// fetch handler without a runtime of its own. `control/main.ts` fills the state and serves it, on
// loopback unless told otherwise.

import { Hono } from "hono";
import type { SocketAddr } from "../../core/addr.ts";
import { errorText } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { Assets } from "./assets.ts";
import { ownHost, ownOrigin, securityHeaders } from "./guard.ts";
import type { Live } from "./live.ts";
import { controlMetrics, METRICS_TYPE } from "./metrics.ts";
import { rollout } from "./rollout.ts";
import type { AdminState } from "./state.ts";

export interface AdminDeps {
  readonly live: Live;
  readonly assets: Assets;
  /** Where it is served: a name of this host that requests may use. */
  readonly listen: SocketAddr;
  /** More names or IPs of this host that requests may use, such as the pod's address. */
  readonly hosts?: readonly string[];
  readonly log: Logger;
}

/** The handler; `app.fetch` is what a server calls. */
export function createAdminApp(state: AdminState, deps: AdminDeps): Hono {
  const { live, assets, log } = deps;
  const app = new Hono();
  app.use(securityHeaders);

  // Before the host is checked: a kubelet asks by the pod's address, and there is nothing to learn.
  app.get("/live", (c) => c.text("live\n"));
  app.get("/ready", (c) => {
    const why = state.notReady();
    return why === null ? c.text("ready\n") : c.text(`not ready: ${why}\n`, 503);
  });

  app.use(ownHost(deps.listen, deps.hosts ?? []));
  app.get(
    "/metrics",
    (c) => c.body(controlMetrics(state, live), 200, { "content-type": METRICS_TYPE }),
  );

  app.get("/api/services", (c) => {
    const { services, edges } = live.view();
    return c.json({ services, edges });
  });
  app.get("/api/proxies", (c) => c.json({ proxies: live.view().proxies }));
  app.get("/api/filters", (c) => c.json({ filters: live.view().filters }));
  app.get("/api/identities", (c) => {
    const { trustDomain, anchors, issued } = state.identities();
    return c.json({
      trustDomain,
      anchors: anchors.map(shownCertificate),
      identities: issued.map(shownCertificate),
    });
  });
  app.get("/api/events", (c) => {
    // HEAD comes here too, and nobody would read its stream.
    const stream = c.req.method === "HEAD"
      ? ""
      : live.events(lastEventId(c.req.header("last-event-id")));
    if (stream === null) {
      c.header("retry-after", "5");
      return c.json({ error: "too many event streams are open: close one" }, 503);
    }
    return c.body(stream, 200, { "content-type": "text/event-stream", "x-accel-buffering": "no" });
  });
  app.post("/api/filters/:name/rollout", ownOrigin, (c) => rollout(c, state, log));

  app.get("/", (c) => asset(assets, "index.html") ?? c.notFound());
  app.get("/assets/:name", (c) => asset(assets, c.req.param("name")) ?? c.notFound());

  for (const [path, allow] of METHODS) {
    app.all(path, (c) => {
      c.header("allow", allow);
      return c.json({ error: `this path answers ${allow} only` }, 405);
    });
  }
  app.notFound((c) => c.json({ error: "no such path: the page is at /" }, 404));
  app.onError((e, c) => {
    log.error("The admin plane failed to answer", { path: c.req.path, error: errorText(e) });
    return c.json({ error: "internal error: see the control plane's log" }, 500);
  });
  return app;
}

const METHODS = [
  ...["/", "/live", "/ready", "/metrics", "/api/services", "/api/proxies", "/api/filters"]
    .map((path) => [path, "GET, HEAD"] as const),
  ["/api/identities", "GET, HEAD"],
  ["/api/events", "GET, HEAD"],
  ["/api/filters/:name/rollout", "POST"],
] as const;

/** By name, so that what a certificate may hold more is never shown. */
function shownCertificate(of: { name: string; serial: string; notAfter: number }) {
  return { name: of.name, serial: of.serial, notAfter: of.notAfter };
}

function lastEventId(header: string | undefined): number {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : 0;
}

function asset(assets: Assets, name: string): Response | null {
  const found = assets.get(name);
  if (found === undefined) return null;
  return new Response(found.body, {
    headers: { "content-type": found.type, "cache-control": "no-cache" },
  });
}
