// Live observation ↔ tap.proto: the request of `Observe` into a match, events out. Between whoever taps
// and `proxy/tap/`.

import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type TapEvent, type TapFields, type TapMatch, tapPath } from "../model/tap.ts";
import { addrToWire, networkFromWire } from "./addr.ts";
import { durationToWire } from "./duration.ts";
import { type HeadersSchema, Scheme_Registered } from "./gen/http_types_pb.ts";
import { IPNetworkSchema } from "./gen/net_pb.ts";
import {
  type ObserveRequest_Match,
  type ObserveRequest_Match_Http,
  type ObserveRequest_Match_Tcp,
  ObserveRequestSchema,
  type TapEvent_HttpSchema,
  TapEvent_ProxyDirection,
  TapEventSchema,
} from "./gen/tap_pb.ts";
import { methodFromWire, methodToWire } from "./http-method.ts";
import { required, WireError } from "./wire-error.ts";

/** What an observer wants. */
export interface TapRequest {
  /** Requests, not events. */
  readonly limit: number;
  readonly match: TapMatch;
  readonly headers: boolean;
}

const MAX_DEPTH = 16;
const MAX_PARTS = 64;

/** Reads an encoded `ObserveRequest`. Throws one line for what is not valid. */
export function tapRequestFromBytes(bytes: Uint8Array): TapRequest {
  const wire = fromBinary(ObserveRequestSchema, bytes);
  if (wire.limit === 0) throw new WireError("limit", "is 0: say how many requests are wanted");
  return {
    limit: wire.limit,
    match: matchFromWire(required(wire.match, "match"), "match", 0),
    headers: wire.extract?.extract.case === "http" &&
      wire.extract.extract.value.extract.case === "headers",
  };
}

function matchFromWire({ match }: ObserveRequest_Match, field: string, depth: number): TapMatch {
  if (depth > MAX_DEPTH) throw new WireError(field, `is nested more than ${MAX_DEPTH} deep`);
  switch (match.case) {
    case "all":
    case "any": {
      const { matches } = match.value;
      if (matches.length > MAX_PARTS) {
        throw new WireError(field, `has ${matches.length} parts, over ${MAX_PARTS}`);
      }
      return {
        kind: match.case,
        of: matches.map((m, i) => matchFromWire(m, `${field}.${match.case}[${i}]`, depth + 1)),
      };
    }
    case "not":
      return { kind: "not", of: matchFromWire(match.value, `${field}.not`, depth + 1) };
    case "source":
    case "destination":
      return tcpFromWire(match.value, match.case, `${field}.${match.case}`);
    case "http":
      return httpFromWire(match.value, `${field}.http`);
    case "destinationLabel":
      return { kind: "label", of: "destination", ...labelOf(match.value) };
    case "routeLabel":
      return { kind: "label", of: "route", ...labelOf(match.value) };
    case undefined:
      throw new WireError(field, "is empty");
  }
}

function labelOf({ key, value }: { readonly key: string; readonly value: string }) {
  return { key, value };
}

function tcpFromWire(
  { match }: ObserveRequest_Match_Tcp,
  side: "source" | "destination",
  field: string,
): TapMatch {
  if (match.case === "ports") {
    // One bound alone means just that port.
    const min = match.value.min || match.value.max;
    const max = match.value.max || match.value.min;
    if (min === 0 || min > max || max > 65535) {
      throw new WireError(`${field}.ports`, `is ${match.value.min}-${match.value.max}`);
    }
    return { kind: "ports", side, min, max };
  }
  const { ip, mask } = required(match.value, field);
  const network = create(IPNetworkSchema, { prefixLen: mask, ...(ip === undefined ? {} : { ip }) });
  return { kind: "network", side, cidr: networkFromWire(network, `${field}.netmask`) };
}

function httpFromWire({ match }: ObserveRequest_Match_Http, field: string): TapMatch {
  switch (match.case) {
    case "scheme": {
      const { type } = match.value;
      const scheme = type.case === "registered"
        ? type.value === Scheme_Registered.HTTPS ? "https" : "http"
        : type.value;
      return { kind: "scheme", scheme: required(scheme, `${field}.scheme`) };
    }
    case "method":
      return { kind: "method", method: methodFromWire(match.value, `${field}.method`) };
    case "authority":
    case "path": {
      const text = match.value.match;
      if (text.case === undefined) throw new WireError(`${field}.${match.case}`, "is empty");
      return { kind: "text", of: match.case, exact: text.case === "exact", text: text.value };
    }
    case undefined:
      throw new WireError(field, "is empty");
  }
}

/** An encoded `TapEvent`. */
export function tapEventToBytes({ id, subject: s, event }: TapEvent): Uint8Array {
  return toBinary(
    TapEventSchema,
    create(TapEventSchema, {
      source: addrToWire(s.source),
      destination: addrToWire(s.destination),
      sourceMeta: { labels: { ...s.sourceLabels } },
      destinationMeta: { labels: { ...s.destinationLabels } },
      routeMeta: { labels: { ...s.routeLabels } },
      proxyDirection: s.direction === "inbound"
        ? TapEvent_ProxyDirection.INBOUND
        : TapEvent_ProxyDirection.OUTBOUND,
      event: {
        case: "http",
        value: httpToWire({ base: id.base, stream: BigInt(id.stream) }, s, event),
      },
    }),
  );
}

function httpToWire(
  id: { base: number; stream: bigint },
  s: TapEvent["subject"],
  event: TapEvent["event"],
): MessageInitShape<typeof TapEvent_HttpSchema> {
  switch (event.kind) {
    case "request":
      return {
        event: {
          case: "requestInit",
          value: {
            id,
            method: methodToWire(s.method),
            scheme: { type: { case: "registered", value: Scheme_Registered.HTTP } },
            authority: s.authority,
            path: tapPath(s),
            ...fieldsToWire("headers", event.fields),
          },
        },
      };
    case "response":
      return {
        event: {
          case: "responseInit",
          value: {
            id,
            sinceRequestInit: durationToWire(event.sinceRequestMs),
            httpStatus: event.status,
            ...fieldsToWire("headers", event.fields),
          },
        },
      };
    case "end": {
      const { eos } = event;
      return {
        event: {
          case: "responseEnd",
          value: {
            id,
            sinceRequestInit: durationToWire(event.sinceRequestMs),
            sinceResponseInit: durationToWire(event.sinceResponseMs),
            // As the reference, which counts none.
            responseBytes: 0n,
            // There, without an end, where nothing but the body ended.
            eos: eos === null ? {} : {
              end: eos.kind === "grpc"
                ? { case: "grpcStatusCode", value: eos.code }
                : { case: "resetErrorCode", value: eos.code },
            },
            ...fieldsToWire("trailers", event.trailers),
          },
        },
      };
    }
  }
}

function fieldsToWire<K extends string>(
  key: K,
  fields: TapFields | null,
): { [k in K]?: MessageInitShape<typeof HeadersSchema> } {
  if (fields === null) return {};
  const headers = fields.map(([name, value]) => ({
    name,
    value: Uint8Array.from(value, (c) => c.charCodeAt(0)),
  }));
  return { [key]: { headers } } as { [k in K]?: MessageInitShape<typeof HeadersSchema> };
}
