// Finds a request's route: first match in order of precedence. What matching asks of a head is read
// through one view that is used again.

import type { RequestHead } from "../../core/head.ts";
import { headerName } from "../../core/head.ts";
import { matches, type RequestView, type Route } from "../../model/route.ts";

class HeadView implements RequestView {
  head: RequestHead | null = null;
  get method(): string {
    return this.head?.method ?? "";
  }
  get path(): string {
    return this.head?.path ?? "";
  }
  header(name: string): string | null {
    return this.head?.get(headerName(name)) ?? null;
  }
}

const view = new HeadView();

/** The first of `routes` that matches, or null. */
export function matchRoute<T extends { readonly route: Route }>(
  routes: readonly T[],
  head: RequestHead,
): T | null {
  view.head = head;
  for (const candidate of routes) {
    const { match } = candidate.route;
    // The default route, which most traffic takes.
    if (match.kind === "path-prefix" && match.prefix === "/") return candidate;
    if (matches(match, view)) return candidate;
  }
  return null;
}
