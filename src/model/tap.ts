// Requests seen live: what an observer asks for, and what it is told. Values and one pure function;
// the wire is `api/tap.ts`, the proxy's side `proxy/tap/`.

import type { SocketAddr } from "../core/addr.ts";
import { inCidr } from "./policy.ts";

/** Which requests are wanted. */
export type TapMatch =
  | { readonly kind: "all"; readonly of: readonly TapMatch[] }
  | { readonly kind: "any"; readonly of: readonly TapMatch[] }
  | { readonly kind: "not"; readonly of: TapMatch }
  | { readonly kind: "network"; readonly side: TapSide; readonly cidr: string }
  | { readonly kind: "ports"; readonly side: TapSide; readonly min: number; readonly max: number }
  | {
    readonly kind: "label";
    readonly of: "destination" | "route";
    readonly key: string;
    readonly value: string;
  }
  | { readonly kind: "method"; readonly method: string }
  | { readonly kind: "scheme"; readonly scheme: string }
  | {
    readonly kind: "text";
    readonly of: "authority" | "path";
    readonly exact: boolean;
    readonly text: string;
  };
export type TapSide = "source" | "destination";

/** What is known of a request when it is looked at. */
export interface TapSubject {
  readonly direction: "inbound" | "outbound";
  readonly source: SocketAddr;
  readonly destination: SocketAddr;
  readonly sourceLabels: Readonly<Record<string, string>>;
  readonly destinationLabels: Readonly<Record<string, string>>;
  readonly routeLabels: Readonly<Record<string, string>>;
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  /** Path with query. */
  readonly path: string;
}

/** Header fields as received, one code unit per byte. */
export type TapFields = readonly (readonly [name: string, value: string])[];

/** One event of one request. Times are milliseconds; `id.stream` is the same for all its events. */
export interface TapEvent {
  readonly id: { readonly base: number; readonly stream: number };
  readonly subject: TapSubject;
  readonly event:
    | { readonly kind: "request"; readonly fields: TapFields | null }
    | {
      readonly kind: "response";
      readonly sinceRequestMs: number;
      readonly status: number;
      readonly fields: TapFields | null;
    }
    | {
      readonly kind: "end";
      readonly sinceRequestMs: number;
      readonly sinceResponseMs: number;
      readonly eos:
        | { readonly kind: "grpc"; readonly code: number }
        /** An HTTP/2 error code. */
        | { readonly kind: "reset"; readonly code: number }
        | null;
      readonly trailers: TapFields | null;
    };
}

/** Whether the request is wanted. */
export function tapMatches(match: TapMatch, s: TapSubject): boolean {
  switch (match.kind) {
    case "all":
      return match.of.every((m) => tapMatches(m, s));
    case "any":
      return match.of.some((m) => tapMatches(m, s));
    case "not":
      return !tapMatches(match.of, s);
    case "network":
      return inCidr(s[match.side].ip, match.cidr);
    case "ports":
      return s[match.side].port >= match.min && s[match.side].port <= match.max;
    case "label": {
      const labels = match.of === "route" ? s.routeLabels : s.destinationLabels;
      return Object.hasOwn(labels, match.key) && labels[match.key] === match.value;
    }
    case "method":
      return s.method === match.method;
    case "scheme":
      return s.scheme === match.scheme;
    case "text": {
      const text = match.of === "path" ? tapPath(s) : s.authority;
      return match.exact ? text === match.text : text.startsWith(match.text);
    }
  }
}

/** The path without its query: what is matched and told, as by the reference. */
export function tapPath({ path }: Pick<TapSubject, "path">): string {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}
