import { test } from "uvu";
import * as assert from "uvu/assert";
import type { DescField, DescFile, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { file_destination } from "../../src/api/gen/destination_pb.ts";
import { file_grpc_route } from "../../src/api/gen/grpc_route_pb.ts";
import { file_http_route } from "../../src/api/gen/http_route_pb.ts";
import { file_http_types } from "../../src/api/gen/http_types_pb.ts";
import { file_identity } from "../../src/api/gen/identity_pb.ts";
import { file_inbound } from "../../src/api/gen/inbound_pb.ts";
import { file_meta } from "../../src/api/gen/meta_pb.ts";
import { file_net } from "../../src/api/gen/net_pb.ts";
import { file_opaque_route } from "../../src/api/gen/opaque_route_pb.ts";
import { file_outbound } from "../../src/api/gen/outbound_pb.ts";
import { file_tap } from "../../src/api/gen/tap_pb.ts";
import { file_tls_route } from "../../src/api/gen/tls_route_pb.ts";
import { file_transport_header } from "../../src/api/gen/transport_header_pb.ts";
import { file_tulle_balance } from "../../src/api/gen/tulle/balance_pb.ts";
import { file_tulle_filter } from "../../src/api/gen/tulle/filter_pb.ts";

// One line a message: its fields in order as `name=number type`, `*` for repeated, `|` between the
// members of a oneof. Written from the published description of the API, not from our own .proto.
const API = `
net.IPAddress: ipv4=1 fixed32 | ipv6=2 net.IPv6
net.IPv6: first=1 fixed64, last=2 fixed64
net.IPNetwork: ip=1 net.IPAddress, prefix_len=2 uint32
net.TcpAddress: ip=1 net.IPAddress, port=2 uint32
meta.Metadata: default=1 string | resource=2 meta.Resource
meta.Resource: group=1 string, kind=2 string, name=3 string, namespace=4 string, section=5 string, port=6 uint32
http_types.HttpMethod: registered=1 enum(GET=0 POST=1 PUT=2 DELETE=3 PATCH=4 OPTIONS=5 CONNECT=6 HEAD=7 TRACE=8) | unregistered=2 string
http_types.Scheme: registered=1 enum(HTTP=0 HTTPS=1) | unregistered=2 string
http_types.Headers: headers=1 *http_types.Headers.Header
http_types.Headers.Header: name=1 string, value=2 bytes
destination.GetDestination: scheme=1 string, path=2 string, context_token=3 string
destination.Update: add=1 destination.WeightedAddrSet | remove=2 destination.AddrSet | no_endpoints=3 destination.NoEndpoints
destination.AddrSet: addrs=1 *net.TcpAddress
destination.WeightedAddrSet: addrs=1 *destination.WeightedAddr, metric_labels=2 map
destination.WeightedAddr: addr=1 net.TcpAddress, weight=3 uint32, metric_labels=4 map, tls_identity=5 destination.TlsIdentity, protocol_hint=6 destination.ProtocolHint, authority_override=7 destination.AuthorityOverride, http2=8 destination.Http2ClientParams, resource_ref=9 Meta
destination.TlsIdentity: dns_like_identity=1 destination.TlsIdentity.DnsLikeIdentity | uri_like_identity=3 destination.TlsIdentity.UriLikeIdentity, server_name=4 destination.TlsIdentity.DnsLikeIdentity
destination.TlsIdentity.DnsLikeIdentity: name=1 string
destination.TlsIdentity.UriLikeIdentity: uri=1 string
destination.AuthorityOverride: authority_override=1 string
destination.NoEndpoints: exists=1 bool
destination.ProtocolHint: h2=1 destination.ProtocolHint.H2 | opaque=3 destination.ProtocolHint.Opaque, opaque_transport=2 destination.ProtocolHint.OpaqueTransport
destination.ProtocolHint.H2:
destination.ProtocolHint.Opaque:
destination.ProtocolHint.OpaqueTransport: inbound_port=1 uint32
destination.Http2ClientParams: flow_control=1 destination.Http2ClientParams.FlowControl, keep_alive=2 destination.Http2ClientParams.KeepAlive, internals=3 destination.Http2ClientParams.Internals
destination.Http2ClientParams.FlowControl: initial_connection_window_size=1 uint32, initial_stream_window_size=2 uint32, adaptive_flow_control=3 bool
destination.Http2ClientParams.KeepAlive: interval=1 Dur, timeout=2 Dur, while_idle=3 bool
destination.Http2ClientParams.Internals: max_concurrent_reset_streams=1 uint32, max_frame_size=2 uint32, max_send_buf_size=3 uint32
destination.DestinationProfile: routes=1 *destination.Route, retry_budget=2 destination.RetryBudget, dst_overrides=3 *destination.WeightedDst, opaque_protocol=4 bool, fully_qualified_name=5 string, endpoint=6 destination.WeightedAddr, parent_ref=7 Meta, profile_ref=8 Meta
destination.Route: condition=1 destination.RequestMatch, response_classes=2 *destination.ResponseClass, metrics_labels=3 map, is_retryable=4 bool, timeout=5 Dur, FILTERS
destination.RetryBudget: retry_ratio=1 float, min_retries_per_second=2 uint32, ttl=3 Dur
destination.ResponseClass: condition=1 destination.ResponseMatch, is_failure=2 bool
destination.RequestMatch: all=1 destination.RequestMatch.Seq | any=2 destination.RequestMatch.Seq | not=3 destination.RequestMatch | path=4 destination.PathMatch | method=5 http_types.HttpMethod
destination.RequestMatch.Seq: matches=1 *destination.RequestMatch
destination.PathMatch: regex=1 string
destination.ResponseMatch: all=1 destination.ResponseMatch.Seq | any=2 destination.ResponseMatch.Seq | not=3 destination.ResponseMatch | status=4 destination.HttpStatusRange
destination.ResponseMatch.Seq: matches=1 *destination.ResponseMatch
destination.HttpStatusRange: min=1 uint32, max=2 uint32
destination.WeightedDst: authority=1 string, weight=2 uint32, backend_ref=3 Meta
identity.CertifyRequest: identity=1 string, token=2 bytes, certificate_signing_request=3 bytes
identity.CertifyResponse: leaf_certificate=1 bytes, intermediate_certificates=2 *bytes, valid_until=3 Timestamp
http_route.HostMatch: exact=1 string | suffix=2 http_route.HostMatch.Suffix
http_route.HostMatch.Suffix: reverse_labels=1 *string
http_route.HttpRouteMatch: path=1 http_route.PathMatch, headers=2 *http_route.HeaderMatch, query_params=3 *http_route.QueryParamMatch, method=4 http_types.HttpMethod
http_route.PathMatch: exact=1 string | prefix=2 string | regex=3 string
http_route.HeaderMatch: name=1 string, exact=2 bytes | regex=3 string
http_route.QueryParamMatch: name=1 string, exact=2 string | regex=3 string
http_route.RequestHeaderModifier: add=1 http_types.Headers, set=2 http_types.Headers, remove=3 *string
http_route.ResponseHeaderModifier: add=1 http_types.Headers, set=2 http_types.Headers, remove=3 *string
http_route.RequestRedirect: scheme=1 http_types.Scheme, host=2 string, path=3 http_route.PathModifier, port=4 uint32, status=5 uint32
http_route.PathModifier: full=1 string | prefix=2 string
http_route.HttpFailureInjector: status=1 uint32, message=2 string, ratio=3 http_route.Ratio
http_route.Ratio: numerator=1 uint32, denominator=2 uint32
http_route.Timeouts: response=1 Dur, request=2 Dur, idle=3 Dur
grpc_route.GrpcRouteMatch: rpc=1 grpc_route.GrpcRpcMatch, headers=2 *http_route.HeaderMatch
grpc_route.GrpcRpcMatch: service=1 string, method=2 string
grpc_route.GrpcFailureInjector: code=1 uint32, message=2 string, ratio=3 http_route.Ratio
tls_route.SniMatch: exact=1 string | suffix=2 tls_route.SniMatch.Suffix
tls_route.SniMatch.Suffix: reverse_labels=1 *string
opaque_route.Invalid: message=1 string
opaque_route.Forbidden:
inbound.PortSpec: workload=1 string, port=2 uint32
inbound.Server: protocol=1 inbound.ProxyProtocol, server_ips=2 *net.IPAddress, authorizations=3 *inbound.Authz, labels=4 map, FILTERS
inbound.ProxyProtocol: detect=1 inbound.ProxyProtocol.Detect | opaque=2 inbound.ProxyProtocol.Opaque | tls=3 inbound.ProxyProtocol.Tls | http1=4 inbound.ProxyProtocol.Http1 | http2=5 inbound.ProxyProtocol.Http2 | grpc=6 inbound.ProxyProtocol.Grpc
inbound.ProxyProtocol.Detect: timeout=1 Dur, http_routes=3 *inbound.HttpRoute, http_local_rate_limit=4 inbound.HttpLocalRateLimit
inbound.ProxyProtocol.Http1: routes=2 *inbound.HttpRoute, local_rate_limit=3 inbound.HttpLocalRateLimit
inbound.ProxyProtocol.Http2: routes=2 *inbound.HttpRoute, local_rate_limit=3 inbound.HttpLocalRateLimit
inbound.ProxyProtocol.Grpc: routes=2 *inbound.GrpcRoute
inbound.ProxyProtocol.Opaque:
inbound.ProxyProtocol.Tls:
inbound.Authz: networks=1 *inbound.Network, authentication=2 inbound.Authn, labels=3 map, metadata=4 Meta
inbound.Network: net=1 net.IPNetwork, except=2 *net.IPNetwork
inbound.Authn: unauthenticated=1 inbound.Authn.PermitUnauthenticated | meshTLS=2 inbound.Authn.PermitMeshTLS
inbound.Authn.PermitUnauthenticated:
inbound.Authn.PermitMeshTLS: unauthenticated=1 inbound.Authn.PermitUnauthenticated | identities=2 inbound.Authn.PermitMeshTLS.PermitClientIdentities
inbound.Authn.PermitMeshTLS.PermitClientIdentities: identities=1 *inbound.Identity, suffixes=2 *inbound.IdentitySuffix
inbound.Identity: name=1 string
inbound.IdentitySuffix: parts=1 *string
inbound.HttpRoute: metadata=1 Meta, hosts=2 *http_route.HostMatch, authorizations=3 *inbound.Authz, rules=4 *inbound.HttpRoute.Rule
inbound.HttpRoute.Rule: matches=1 *http_route.HttpRouteMatch, filters=2 *inbound.HttpRoute.Filter, FILTERS
inbound.HttpRoute.Filter: failure_injector=1 http_route.HttpFailureInjector | request_header_modifier=2 http_route.RequestHeaderModifier | redirect=3 http_route.RequestRedirect
inbound.GrpcRoute: metadata=1 Meta, hosts=2 *http_route.HostMatch, authorizations=3 *inbound.Authz, rules=4 *inbound.GrpcRoute.Rule
inbound.GrpcRoute.Rule: matches=1 *grpc_route.GrpcRouteMatch, filters=2 *inbound.GrpcRoute.Filter, FILTERS
inbound.GrpcRoute.Filter: failure_injector=1 grpc_route.GrpcFailureInjector | request_header_modifier=2 http_route.RequestHeaderModifier
inbound.HttpLocalRateLimit: metadata=1 Meta, total=2 inbound.HttpLocalRateLimit.Limit, identity=3 inbound.HttpLocalRateLimit.Limit, overrides=4 *inbound.HttpLocalRateLimit.Override
inbound.HttpLocalRateLimit.Limit: requestsPerSecond=1 uint32
inbound.HttpLocalRateLimit.Override: limit=1 inbound.HttpLocalRateLimit.Limit, clients=2 inbound.HttpLocalRateLimit.Override.ClientIdentities
inbound.HttpLocalRateLimit.Override.ClientIdentities: identities=1 *inbound.Identity
outbound.TrafficSpec: source_workload=1 string, addr=2 net.TcpAddress | authority=3 string
outbound.OutboundPolicy: protocol=1 outbound.ProxyProtocol, metadata=2 Meta
outbound.ProxyProtocol: detect=1 outbound.ProxyProtocol.Detect | opaque=2 outbound.ProxyProtocol.Opaque | http1=3 outbound.ProxyProtocol.Http1 | http2=4 outbound.ProxyProtocol.Http2 | grpc=5 outbound.ProxyProtocol.Grpc | tls=6 outbound.ProxyProtocol.Tls
outbound.ProxyProtocol.Detect: timeout=1 Dur, opaque=2 outbound.ProxyProtocol.Opaque, http1=3 outbound.ProxyProtocol.Http1, http2=4 outbound.ProxyProtocol.Http2
outbound.ProxyProtocol.Opaque: routes=1 *outbound.OpaqueRoute
outbound.ProxyProtocol.Http1: routes=1 *outbound.HttpRoute, failure_accrual=2 outbound.FailureAccrual
outbound.ProxyProtocol.Http2: routes=1 *outbound.HttpRoute, failure_accrual=2 outbound.FailureAccrual
outbound.ProxyProtocol.Grpc: routes=1 *outbound.GrpcRoute, failure_accrual=2 outbound.FailureAccrual
outbound.ProxyProtocol.Tls: routes=1 *outbound.TlsRoute
outbound.HttpRoute: metadata=1 Meta, hosts=2 *http_route.HostMatch, rules=3 *outbound.HttpRoute.Rule
outbound.HttpRoute.Rule: matches=1 *http_route.HttpRouteMatch, filters=2 *outbound.HttpRoute.Filter, backends=3 outbound.HttpRoute.Distribution, requestTimeout=4 Dur, timeouts=5 http_route.Timeouts, retry=6 outbound.HttpRoute.Retry, allow_l5d_request_headers=7 bool, FILTERS
outbound.HttpRoute.Filter: failure_injector=1 http_route.HttpFailureInjector | request_header_modifier=2 http_route.RequestHeaderModifier | redirect=3 http_route.RequestRedirect | response_header_modifier=4 http_route.ResponseHeaderModifier
outbound.HttpRoute.Retry: max_retries=1 uint32, max_request_bytes=2 uint32, conditions=3 outbound.HttpRoute.Retry.Conditions, timeout=4 Dur, backoff=5 outbound.ExponentialBackoff
outbound.HttpRoute.Retry.Conditions: status_ranges=1 *outbound.HttpRoute.Retry.Conditions.StatusRange
outbound.HttpRoute.Retry.Conditions.StatusRange: start=1 uint32, end=2 uint32
outbound.GrpcRoute: metadata=1 Meta, hosts=2 *http_route.HostMatch, rules=3 *outbound.GrpcRoute.Rule
outbound.GrpcRoute.Rule: matches=1 *grpc_route.GrpcRouteMatch, filters=2 *outbound.GrpcRoute.Filter, backends=3 outbound.GrpcRoute.Distribution, requestTimeout=4 Dur, timeouts=5 http_route.Timeouts, retry=6 outbound.GrpcRoute.Retry, allow_l5d_request_headers=7 bool, FILTERS
outbound.GrpcRoute.Filter: failure_injector=1 grpc_route.GrpcFailureInjector | request_header_modifier=2 http_route.RequestHeaderModifier
outbound.GrpcRoute.Retry: max_retries=1 uint32, max_request_bytes=2 uint32, conditions=3 outbound.GrpcRoute.Retry.Conditions, timeout=4 Dur, backoff=5 outbound.ExponentialBackoff
outbound.GrpcRoute.Retry.Conditions: cancelled=1 bool, deadine_exceeded=4 bool, resource_exhausted=8 bool, internal=13 bool, unavailable=14 bool
outbound.OpaqueRoute: metadata=1 Meta, rules=3 *outbound.OpaqueRoute.Rule
outbound.TlsRoute: metadata=1 Meta, snis=2 *tls_route.SniMatch, rules=3 *outbound.TlsRoute.Rule
outbound.OpaqueRoute.Rule: backends=1 outbound.OpaqueRoute.Distribution, filters=2 *outbound.OpaqueRoute.Filter, FILTERS
outbound.TlsRoute.Rule: backends=1 outbound.TlsRoute.Distribution, filters=2 *outbound.TlsRoute.Filter, FILTERS
outbound.OpaqueRoute.Filter: invalid=1 opaque_route.Invalid | forbidden=2 opaque_route.Forbidden
outbound.TlsRoute.Filter: invalid=1 opaque_route.Invalid | forbidden=2 opaque_route.Forbidden
outbound.Backend: metadata=1 Meta, forward=2 destination.WeightedAddr | balancer=3 outbound.Backend.BalanceP2c, queue=4 outbound.Queue
outbound.Backend.EndpointDiscovery: dst=1 outbound.Backend.EndpointDiscovery.DestinationGet
outbound.Backend.EndpointDiscovery.DestinationGet: path=1 string
outbound.Backend.BalanceP2c: discovery=1 outbound.Backend.EndpointDiscovery, peak_ewma=2 outbound.Backend.BalanceP2c.PeakEwma | penalty_peak_ewma=3 outbound.Backend.BalanceP2c.PenaltyPeakEwma, hash=2048 tulle.balance.v1.Hash
outbound.Backend.BalanceP2c.PeakEwma: default_rtt=1 Dur, decay=2 Dur
outbound.Backend.BalanceP2c.PenaltyPeakEwma: default_rtt=1 Dur, decay=2 Dur, penalty=3 Dur, max_retry_after=4 Dur, penalty_decay=5 Dur
outbound.Queue: capacity=1 uint32, failfast_timeout=2 Dur
outbound.FailureAccrual: consecutive_failures=1 outbound.FailureAccrual.ConsecutiveFailures | unified=2 outbound.FailureAccrual.Unified, ejection=3 outbound.EjectionConfig
outbound.FailureAccrual.ConsecutiveFailures: max_failures=1 uint32, backoff=2 outbound.ExponentialBackoff
outbound.FailureAccrual.Unified: success_rate_threshold=1 double, decay=2 Dur, min_requests=3 uint32, max_consecutive_failures=4 uint32, backoff=5 outbound.ExponentialBackoff
outbound.EjectionConfig: min_ready_endpoints=1 uint32
outbound.ExponentialBackoff: min_backoff=1 Dur, max_backoff=2 Dur, jitter_ratio=3 float, respect_retry_after_hint=4 bool
tap.ObserveRequest: limit=1 uint32, match=2 tap.ObserveRequest.Match, extract=3 tap.ObserveRequest.Extract
tap.ObserveRequest.Match: all=1 tap.ObserveRequest.Match.Seq | any=2 tap.ObserveRequest.Match.Seq | not=3 tap.ObserveRequest.Match | source=4 tap.ObserveRequest.Match.Tcp | destination=5 tap.ObserveRequest.Match.Tcp | http=6 tap.ObserveRequest.Match.Http | destination_label=7 tap.ObserveRequest.Match.Label | route_label=8 tap.ObserveRequest.Match.Label
tap.ObserveRequest.Match.Seq: matches=1 *tap.ObserveRequest.Match
tap.ObserveRequest.Match.Label: key=1 string, value=2 string
tap.ObserveRequest.Match.Tcp: netmask=1 tap.ObserveRequest.Match.Tcp.Netmask | ports=3 tap.ObserveRequest.Match.Tcp.PortRange
tap.ObserveRequest.Match.Tcp.Netmask: ip=1 net.IPAddress, mask=2 uint32
tap.ObserveRequest.Match.Tcp.PortRange: min=1 uint32, max=2 uint32
tap.ObserveRequest.Match.Http: scheme=1 http_types.Scheme | authority=2 tap.ObserveRequest.Match.Http.StringMatch | method=3 http_types.HttpMethod | path=4 tap.ObserveRequest.Match.Http.StringMatch
tap.ObserveRequest.Match.Http.StringMatch: exact=1 string | prefix=2 string
tap.ObserveRequest.Extract: http=1 tap.ObserveRequest.Extract.Http
tap.ObserveRequest.Extract.Http: headers=1 tap.ObserveRequest.Extract.Http.Headers
tap.ObserveRequest.Extract.Http.Headers:
tap.Eos: grpc_status_code=1 uint32 | reset_error_code=2 uint32
tap.TapEvent: source=1 net.TcpAddress, destination=2 net.TcpAddress, http=3 tap.TapEvent.Http, destination_meta=4 tap.TapEvent.EndpointMeta, source_meta=5 tap.TapEvent.EndpointMeta, proxy_direction=6 enum(UNKNOWN=0 INBOUND=1 OUTBOUND=2), route_meta=7 tap.TapEvent.RouteMeta
tap.TapEvent.EndpointMeta: labels=1 map
tap.TapEvent.RouteMeta: labels=1 map
tap.TapEvent.Http: request_init=1 tap.TapEvent.Http.RequestInit | response_init=2 tap.TapEvent.Http.ResponseInit | response_end=3 tap.TapEvent.Http.ResponseEnd
tap.TapEvent.Http.StreamId: base=1 uint32, stream=2 uint64
tap.TapEvent.Http.RequestInit: id=1 tap.TapEvent.Http.StreamId, method=2 http_types.HttpMethod, scheme=3 http_types.Scheme, authority=4 string, path=5 string, headers=6 http_types.Headers
tap.TapEvent.Http.ResponseInit: id=1 tap.TapEvent.Http.StreamId, since_request_init=2 Dur, http_status=3 uint32, headers=4 http_types.Headers
tap.TapEvent.Http.ResponseEnd: id=1 tap.TapEvent.Http.StreamId, since_request_init=2 Dur, since_response_init=3 Dur, response_bytes=4 uint64, eos=5 tap.Eos, trailers=6 http_types.Headers
transport.l5d.io.Header: port=1 int32, name=2 string, session_protocol=3 transport.l5d.io.SessionProtocol
transport.l5d.io.SessionProtocol: http1=1 transport.l5d.io.SessionProtocol.Http1 | http2=2 transport.l5d.io.SessionProtocol.Http2
transport.l5d.io.SessionProtocol.Http1:
transport.l5d.io.SessionProtocol.Http2:
tulle.balance.v1.Hash: header=1 tulle.balance.v1.Header | cookie=2 tulle.balance.v1.Cookie | source=3 tulle.balance.v1.Source
tulle.balance.v1.Header: name=1 string
tulle.balance.v1.Cookie: name=1 string, ttl=2 Dur
tulle.balance.v1.Source:
tulle.filter.v1.Chain: filters=1 *tulle.filter.v1.Filter
tulle.filter.v1.Filter: name=1 string, module=2 tulle.filter.v1.Module, config=3 bytes, failure_policy=4 enum(FAILURE_POLICY_UNSPECIFIED=0 FAILURE_POLICY_OPEN=1 FAILURE_POLICY_CLOSED=2), limits=5 tulle.filter.v1.Limits, signature=6 bytes, callouts=7 map
tulle.filter.v1.Module: sha256=1 bytes, size=2 uint64
tulle.filter.v1.Limits: fuel_per_hook=1 uint64, memory_pages=2 uint32, cpu_percent=3 uint32
tulle.filter.v1.GetModuleRequest: sha256=1 bytes
tulle.filter.v1.ModuleChunk: data=1 bytes
`.replaceAll("FILTERS", "filter_chain=2048 tulle.filter.v1.Chain");

// The same four messages for each of the four route types.
const DISTRIBUTIONS = ["Http", "Grpc", "Opaque", "Tls"].map((kind) => {
  const r = `outbound.${kind}Route`;
  const old = kind === "Http" || kind === "Grpc" ? ", requestTimeout=4 Dur" : "";
  return `
${r}.Distribution: empty=1 ${r}.Distribution.Empty | first_available=2 ${r}.Distribution.FirstAvailable | random_available=3 ${r}.Distribution.RandomAvailable
${r}.Distribution.Empty:
${r}.Distribution.FirstAvailable: backends=1 *${r}.RouteBackend
${r}.Distribution.RandomAvailable: backends=1 *${r}.WeightedRouteBackend
${r}.RouteBackend: backend=1 outbound.Backend, filters=3 *${r}.Filter${old}
${r}.WeightedRouteBackend: backend=1 ${r}.RouteBackend, weight=2 uint32`;
}).join("");

const FILES: readonly DescFile[] = [
  file_net,
  file_meta,
  file_http_types,
  file_destination,
  file_identity,
  file_http_route,
  file_grpc_route,
  file_tls_route,
  file_opaque_route,
  file_inbound,
  file_outbound,
  file_tap,
  file_transport_header,
  file_tulle_balance,
  file_tulle_filter,
];

const short = (name: string) => name.replace(/^io\.linkerd\.proxy\./, "");

function typeOf(field: DescField): string {
  const star = field.fieldKind === "list" ? "*" : "";
  if (field.fieldKind === "map") {
    assert.is(field.mapKey, ScalarType.STRING);
    assert.is(field.scalar, ScalarType.STRING);
    return "map";
  }
  const message = field.fieldKind === "message" || field.fieldKind === "list"
    ? field.message
    : null;
  if (message) {
    const name = short(message.typeName);
    if (name === "google.protobuf.Duration") return "Dur";
    if (name === "google.protobuf.Timestamp") return "Timestamp";
    return star + (name === "meta.Metadata" ? "Meta" : name);
  }
  if (field.fieldKind === "enum") {
    return `enum(${field.enum.values.map((v) => `${v.name}=${v.number}`).join(" ")})`;
  }
  assert.ok(field.scalar);
  return star + ScalarType[field.scalar as ScalarType].toLowerCase();
}

function messagesOf(file: DescFile): DescMessage[] {
  const all = (m: DescMessage): DescMessage[] => [m, ...m.nestedMessages.flatMap(all)];
  return file.messages.flatMap(all);
}

function describe(message: DescMessage): string {
  let text = "";
  let last: DescField | null = null;
  for (const field of message.fields) {
    const joined = last !== null && field.oneof !== undefined && field.oneof === last.oneof;
    text += last === null ? " " : joined ? " | " : ", ";
    text += `${field.name}=${field.number} ${typeOf(field)}`;
    last = field;
  }
  return `${short(message.typeName)}:${text}`;
}

test("every message has the fields, numbers and types of the published API", () => {
  // A oneof with one member looks like a field here, in both.
  const expected = (API + DISTRIBUTIONS).trim().split("\n").filter((line) => line !== "")
    .map((line) => line.trim()).sort();
  const actual = FILES.flatMap(messagesOf).map(describe).sort();
  assert.is(actual.length, expected.length);
  for (const [i, line] of expected.entries()) assert.is(actual[i], line);
});

test("every service has the methods of the published API", () => {
  const actual = FILES.flatMap((f) => f.services).flatMap((s) =>
    s.methods.map((m) =>
      `/${s.typeName}/${m.name} ${short(m.input.typeName)} ${m.methodKind} ${
        short(m.output.typeName)
      }`
    )
  ).sort();
  const proxy = "/io.linkerd.proxy";
  assert.equal(
    actual,
    [
      `${proxy}.destination.Destination/Get destination.GetDestination server_streaming destination.Update`,
      `${proxy}.destination.Destination/GetProfile destination.GetDestination server_streaming destination.DestinationProfile`,
      `${proxy}.identity.Identity/Certify identity.CertifyRequest unary identity.CertifyResponse`,
      `${proxy}.inbound.InboundServerPolicies/GetPort inbound.PortSpec unary inbound.Server`,
      `${proxy}.inbound.InboundServerPolicies/WatchPort inbound.PortSpec server_streaming inbound.Server`,
      `${proxy}.outbound.OutboundPolicies/Get outbound.TrafficSpec unary outbound.OutboundPolicy`,
      `${proxy}.outbound.OutboundPolicies/Watch outbound.TrafficSpec server_streaming outbound.OutboundPolicy`,
      `${proxy}.tap.Tap/Observe tap.ObserveRequest server_streaming tap.TapEvent`,
      "/tulle.filter.v1.Registry/GetModule tulle.filter.v1.GetModuleRequest server_streaming tulle.filter.v1.ModuleChunk",
    ].sort(),
  );
});

test("every oneof of the published API is one", () => {
  const oneofs = FILES.flatMap(messagesOf).flatMap((m) =>
    m.oneofs.map((o) => `${short(m.typeName)}.${o.name}(${o.fields.map((f) => f.number)})`)
  );
  for (
    const name of [
      "destination.ProtocolHint.protocol(1,3)",
      "destination.TlsIdentity.strategy(1,3)",
      "http_route.HeaderMatch.value(2,3)",
      "http_route.QueryParamMatch.value(2,3)",
      "outbound.TrafficSpec.target(2,3)",
      "outbound.Backend.kind(2,3)",
      "outbound.Backend.BalanceP2c.load(2,3)",
      "outbound.FailureAccrual.kind(1,2)",
      "tap.TapEvent.event(3)",
      "transport.l5d.io.SessionProtocol.kind(1,2)",
    ]
  ) assert.ok(oneofs.includes(name), name);
});

test.run();
