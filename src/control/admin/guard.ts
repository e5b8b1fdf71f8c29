// Who may talk to the admin plane: requests to this host by its own names (a page of another site whose
// name points here is turned away: DNS rebinding), changes from our own page or from no page at all
// (cross-site request forgery), and headers that keep answers out of other sites' frames and scripts.

import type { MiddlewareHandler } from "hono";
import type { SocketAddr } from "../../core/addr.ts";
import { isIpv4, normalizeIp } from "../../core/addr.ts";

/** Headers of every answer. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** Sets them, and forbids caching of what has no rule of its own. */
export const securityHeaders: MiddlewareHandler = async (c, next) => {
  await next();
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
  if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
};

/** Turns away requests for a host that is not loopback, the listen address or one of `hosts`. */
export function ownHost(listen: SocketAddr, hosts: readonly string[]): MiddlewareHandler {
  const own = new Set([listen.ip, ...hosts].map((host) => normalizeIp(host)));
  const isOwn = (host: string) => isLoopbackHost(host) || own.has(host);
  return async (c, next) => {
    // Both: a server may build the URL from the request line, which a proxy could have sent.
    const named = [new URL(c.req.url).host, c.req.header("host") ?? ""].filter((h) => h !== "");
    if (named.every((host) => isOwn(hostname(host)))) return await next();
    return c.json({
      error: "this host is not served here: use 127.0.0.1, localhost or the listen address",
    }, 403);
  };
}

/** Turns away changes that a page of another origin sends. */
export const ownOrigin: MiddlewareHandler = async (c, next) => {
  const site = c.req.header("sec-fetch-site");
  const origin = c.req.header("origin");
  const foreign = (site !== undefined && site !== "same-origin" && site !== "none") ||
    (origin !== undefined && origin !== new URL(c.req.url).origin);
  if (!foreign) return await next();
  return c.json({ error: "a page of another origin must not change the mesh" }, 403);
};

/** True for `localhost` and for what reaches only this machine. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIpv4(host) && host.startsWith("127."));
}

/** Name or IP of `host[:port]`, lower case, without brackets. Empty for nonsense, which is nobody's. */
function hostname(host: string): string {
  const m = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(host.toLowerCase());
  return normalizeIp(m?.[1] ?? m?.[2] ?? "");
}
