// Matches of policy routes ↔ http_route.proto and grpc_route.proto, and their order of precedence.

import { create } from "@bufbuild/protobuf";
import type { RequestMatch } from "../model/route.ts";
import type { GrpcRouteMatch } from "./gen/grpc_route_pb.ts";
import {
  type HeaderMatch,
  HeaderMatchSchema,
  type HostMatch,
  type HttpRouteMatch,
  HttpRouteMatchSchema,
  PathMatchSchema,
  type QueryParamMatch,
  QueryParamMatchSchema,
} from "./gen/http_route_pb.ts";
import { methodFromWire, methodToWire } from "./http-method.ts";
import { regexSource } from "./regex.ts";
import { regexFromWire } from "./request-match.ts";
import { shown, WireError } from "./wire-error.ts";

/** Any request: a path prefix of `/`, as the reference's default routes have it. */
export const MATCH_ALL: RequestMatch = { kind: "path-prefix", prefix: "/" };

/** Rank of a match that takes the whole path: before a prefix of any length. */
const WHOLE_PATH = 1e9;

/** Only what one HTTPRoute match can say: path, headers, query and method, all of which must hold. */
export function httpMatchToWire(match: RequestMatch): HttpRouteMatch {
  const out = create(HttpRouteMatchSchema);
  for (const part of match.kind === "all" ? match.of : [match]) {
    switch (part.kind) {
      case "path-exact":
        out.path = create(PathMatchSchema, { kind: { case: "exact", value: part.path } });
        break;
      case "path-prefix":
        out.path = create(PathMatchSchema, { kind: { case: "prefix", value: part.prefix } });
        break;
      case "path-regex":
        out.path = create(PathMatchSchema, {
          kind: { case: "regex", value: regexSource(part.regex) },
        });
        break;
      case "header":
        out.headers.push(create(HeaderMatchSchema, {
          name: part.name,
          value: part.regex === null
            ? { case: "exact", value: Uint8Array.from(part.exact ?? "", (c) => c.charCodeAt(0)) }
            : { case: "regex", value: regexSource(part.regex) },
        }));
        break;
      case "query":
        out.queryParams.push(create(QueryParamMatchSchema, {
          name: part.name,
          value: part.regex === null
            ? { case: "exact", value: part.exact ?? "" }
            : { case: "regex", value: regexSource(part.regex) },
        }));
        break;
      case "method":
        out.method = methodToWire(part.method);
        break;
      default:
        throw new Error(`a policy route cannot carry a condition of kind ${part.kind}`);
    }
  }
  return out;
}

/** A condition with its rank: of two that hold for a request, the one with the smaller rank is taken. */
export interface RankedMatch {
  readonly match: RequestMatch;
  readonly rank: readonly number[];
}

/**
 * Compares ranks: host, path, headers, query, method.
 *
 * Precedence is by matched length. An exact path or a regular expression matches all of the path, so
 * that it comes before every prefix; the reference takes a prefix that happens to be the whole path as
 * equal to those.
 */
export function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const by = (a[i] ?? 0) - (b[i] ?? 0);
    if (by !== 0) return by;
  }
  return 0;
}

export function httpMatchFromWire(wire: HttpRouteMatch, field: string): RankedMatch {
  const parts: RequestMatch[] = [];
  const path = wire.path?.kind;
  let pathRank = 0;
  switch (path?.case) {
    case "exact":
      parts.push({ kind: "path-exact", path: path.value });
      pathRank = -WHOLE_PATH;
      break;
    case "regex":
      parts.push({ kind: "path-regex", regex: regexFromWire(path.value, `${field}.path.regex`) });
      pathRank = -WHOLE_PATH;
      break;
    case "prefix":
      parts.push({ kind: "path-prefix", prefix: path.value });
      pathRank = -path.value.length;
      break;
  }
  wire.headers.forEach((h, i) => parts.push(headerFromWire(h, `${field}.headers[${i}]`)));
  wire.queryParams.forEach((q, i) => parts.push(queryFromWire(q, `${field}.query_params[${i}]`)));
  if (wire.method !== undefined) {
    parts.push({ kind: "method", method: methodFromWire(wire.method, `${field}.method`) });
  }
  const method = wire.method === undefined ? 0 : -1;
  const rank = [pathRank, -wire.headers.length, -wire.queryParams.length, method];
  return {
    match: parts.length === 1 ? parts[0] as RequestMatch : { kind: "all", of: parts },
    rank,
  };
}

/** A gRPC call is a POST to `/<service>/<method>`. */
export function grpcMatchFromWire(wire: GrpcRouteMatch, field: string): RankedMatch {
  const { service = "", method = "" } = wire.rpc ?? {};
  const name = /^[A-Za-z0-9_.]{0,512}$/;
  if (!name.test(service) || !name.test(method)) {
    throw new WireError(`${field}.rpc`, `${shown(`${service}/${method}`)} is not a gRPC method`);
  }
  const escaped = method.replaceAll(".", "\\.");
  const path: RequestMatch = service === ""
    ? method === ""
      ? MATCH_ALL
      : { kind: "path-regex", regex: regexFromWire(`/[^/]*/${escaped}`, `${field}.rpc.method`) }
    : method === ""
    ? { kind: "path-prefix", prefix: `/${service}` }
    : { kind: "path-exact", path: `/${service}/${method}` };
  const headers = wire.headers.map((h, i) => headerFromWire(h, `${field}.headers[${i}]`));
  return {
    match: { kind: "all", of: [{ kind: "method", method: "POST" }, path, ...headers] },
    rank: [-service.length, -method.length, -headers.length],
  };
}

function headerFromWire(wire: HeaderMatch, field: string): RequestMatch {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/.test(wire.name)) {
    throw new WireError(`${field}.name`, `${shown(wire.name)} is not a header name`);
  }
  const name = wire.name.toLowerCase();
  switch (wire.value.case) {
    case "exact":
      // Header values are strings with one code unit per byte everywhere in the mesh.
      return {
        kind: "header",
        name,
        exact: Array.from(wire.value.value, (b) => String.fromCharCode(b)).join(""),
        regex: null,
      };
    case "regex":
      return {
        kind: "header",
        name,
        exact: null,
        regex: regexFromWire(wire.value.value, `${field}.regex`),
      };
    default:
      throw new WireError(field, "has no value to compare with");
  }
}

function queryFromWire(wire: QueryParamMatch, field: string): RequestMatch {
  const { name, value } = wire;
  if (name === "" || name.length > 1024) {
    throw new WireError(`${field}.name`, `${shown(name)} is not a parameter's name`);
  }
  switch (value.case) {
    case "exact":
      return { kind: "query", name, exact: value.value, regex: null };
    case "regex":
      return {
        kind: "query",
        name,
        exact: null,
        regex: regexFromWire(value.value, `${field}.regex`),
      };
    default:
      throw new WireError(field, "has no value to compare with");
  }
}

/** A condition on the Host, with rank; null: any host. The port and the case do not count. */
export function hostMatchFromWire(wire: HostMatch, field: string): RankedMatch {
  const { match } = wire;
  const labels = match.case === "exact"
    ? match.value.split(".")
    : match.case === "suffix"
    ? [...match.value.reverseLabels].reverse()
    : [];
  const name = labels.join(".");
  if (name === "" || !/^[A-Za-z0-9._-]{1,253}$/.test(name)) {
    throw new WireError(field, `${shown(name)} is not a host name`);
  }
  const escaped = name.replaceAll(".", "\\.");
  const exact = match.case === "exact";
  const regex = new RegExp(`^${exact ? "" : "[^:]*\\."}${escaped}(?::[0-9]*)?$`, "i");
  return {
    match: { kind: "header", name: "host", exact: null, regex },
    rank: [exact ? -1 : 0, -name.length],
  };
}
