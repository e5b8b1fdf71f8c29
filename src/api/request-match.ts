// Conditions of a ServiceProfile on requests and responses ↔ destination.proto.

import { create } from "@bufbuild/protobuf";
import { errorText } from "../core/errors.ts";
import type { RequestMatch, ResponseMatch, StatusRange } from "../model/route.ts";
import {
  type RequestMatch as WireRequestMatch,
  RequestMatchSchema,
  type ResponseMatch as WireResponseMatch,
  ResponseMatchSchema,
} from "./gen/destination_pb.ts";
import { methodFromWire, methodToWire } from "./http-method.ts";
import { compileRegex, regexSource } from "./regex.ts";
import { required, shown, WireError } from "./wire-error.ts";

/** Conditions nested deeper than this are refused. */
const MAX_DEPTH = 16;
/** Conditions in one list. */
const MAX_LIST = 256;

/** Only what a ServiceProfile can say: paths by regular expression, methods, and their combinations. */
export function requestMatchToWire(match: RequestMatch): WireRequestMatch {
  switch (match.kind) {
    case "all":
    case "any":
      return create(RequestMatchSchema, {
        match: { case: match.kind, value: { matches: match.of.map(requestMatchToWire) } },
      });
    case "not":
      return create(RequestMatchSchema, {
        match: { case: "not", value: requestMatchToWire(match.of) },
      });
    case "method":
      return create(RequestMatchSchema, {
        match: { case: "method", value: methodToWire(match.method) },
      });
    case "path-regex":
      return create(RequestMatchSchema, {
        match: { case: "path", value: { regex: regexSource(match.regex) } },
      });
    default:
      throw new Error(`a profile cannot carry a condition of kind ${match.kind}`);
  }
}

export function requestMatchFromWire(
  wire: WireRequestMatch | undefined,
  field: string,
  depth = 0,
): RequestMatch {
  const { match } = required(wire, field);
  if (depth > MAX_DEPTH) throw new WireError(field, `is nested deeper than ${MAX_DEPTH}`);
  switch (match.case) {
    case "all":
    case "any":
      return {
        kind: match.case,
        of: bounded(match.value.matches, `${field}.${match.case}`).map((m, i) =>
          requestMatchFromWire(m, `${field}.${match.case}[${i}]`, depth + 1)
        ),
      };
    case "not":
      return { kind: "not", of: requestMatchFromWire(match.value, `${field}.not`, depth + 1) };
    case "method":
      return { kind: "method", method: methodFromWire(match.value, `${field}.method`) };
    case "path":
      return {
        kind: "path-regex",
        regex: regexFromWire(match.value.regex, `${field}.path.regex`),
      };
    default:
      throw new WireError(field, "has no condition that is known here");
  }
}

export function responseMatchToWire(match: ResponseMatch): WireResponseMatch {
  switch (match.kind) {
    case "all":
    case "any":
      return create(ResponseMatchSchema, {
        match: { case: match.kind, value: { matches: match.of.map(responseMatchToWire) } },
      });
    case "not":
      return create(ResponseMatchSchema, {
        match: { case: "not", value: responseMatchToWire(match.of) },
      });
    case "status":
      return create(ResponseMatchSchema, { match: { case: "status", value: { ...match.range } } });
  }
}

export function responseMatchFromWire(
  wire: WireResponseMatch | undefined,
  field: string,
  depth = 0,
): ResponseMatch {
  const { match } = required(wire, field);
  if (depth > MAX_DEPTH) throw new WireError(field, `is nested deeper than ${MAX_DEPTH}`);
  switch (match.case) {
    case "all":
    case "any":
      return {
        kind: match.case,
        of: bounded(match.value.matches, `${field}.${match.case}`).map((m, i) =>
          responseMatchFromWire(m, `${field}.${match.case}[${i}]`, depth + 1)
        ),
      };
    case "not":
      return { kind: "not", of: responseMatchFromWire(match.value, `${field}.not`, depth + 1) };
    case "status":
      return { kind: "status", range: statusRange(match.value.min, match.value.max, field) };
    default:
      throw new WireError(field, "has no condition that is known here");
  }
}

/** Within 100–599 and in order. */
export function statusRange(min: number, max: number, field: string): StatusRange {
  if (min < 100 || max > 599 || min > max) {
    throw new WireError(field, `${min}–${max} is not a range of statuses in 100–599`);
  }
  return { min, max };
}

/** A regular expression that matches the whole value, or a `WireError` that says what is wrong. */
export function regexFromWire(source: string, field: string): RegExp {
  try {
    return compileRegex(source);
  } catch (e) {
    throw new WireError(field, `${shown(source)} ${errorText(e)}`);
  }
}

function bounded<T>(list: readonly T[], field: string): readonly T[] {
  if (list.length > MAX_LIST) throw new WireError(field, `has more than ${MAX_LIST} entries`);
  return list;
}
