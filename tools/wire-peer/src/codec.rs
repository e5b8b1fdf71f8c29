// Every message of Linkerd's API by its name: bytes in, decoded with Linkerd's types, encoded again. What
// those types do not know is lost on the way, which is what the test looks for.
// Frames on stdin are `name length, name, body length, body`, answers on stdout `status, body length, body`;
// lengths are 32 bits, big-endian, and a status other than 0 says that the body is an error's text.

use linkerd2_proxy_api::{
    destination, grpc_route, http_route, http_types, identity, inbound, meta, net, opaque_route,
    outbound, tap, tls_route,
};
use prost::{DecodeError, Message};
use std::io::{self, Read, Write};

/// What a frame may hold; the test's messages have some kilobytes.
const MAX_BYTES: usize = 16 << 20;

fn again<M: Message + Default>(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ok(M::decode(bytes)?.encode_to_vec())
}

macro_rules! messages {
    ($($name:literal => $type:ty,)*) => {
        /// The names, in the order of the alphabet.
        pub const NAMES: &[&str] = &[$($name),*];

        fn round_trip(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
            match name {
                $($name => again::<$type>(bytes).map_err(|e| e.to_string()),)*
                _ => Err(format!("no message is called {name}")),
            }
        }
    };
}

messages! {
    "io.linkerd.proxy.destination.AddrSet" => destination::AddrSet,
    "io.linkerd.proxy.destination.AuthorityOverride" => destination::AuthorityOverride,
    "io.linkerd.proxy.destination.DestinationProfile" => destination::DestinationProfile,
    "io.linkerd.proxy.destination.GetDestination" => destination::GetDestination,
    "io.linkerd.proxy.destination.Http2ClientParams" => destination::Http2ClientParams,
    "io.linkerd.proxy.destination.Http2ClientParams.FlowControl" => destination::http2_client_params::FlowControl,
    "io.linkerd.proxy.destination.Http2ClientParams.Internals" => destination::http2_client_params::Internals,
    "io.linkerd.proxy.destination.Http2ClientParams.KeepAlive" => destination::http2_client_params::KeepAlive,
    "io.linkerd.proxy.destination.HttpStatusRange" => destination::HttpStatusRange,
    "io.linkerd.proxy.destination.NoEndpoints" => destination::NoEndpoints,
    "io.linkerd.proxy.destination.PathMatch" => destination::PathMatch,
    "io.linkerd.proxy.destination.ProtocolHint" => destination::ProtocolHint,
    "io.linkerd.proxy.destination.ProtocolHint.H2" => destination::protocol_hint::H2,
    "io.linkerd.proxy.destination.ProtocolHint.Opaque" => destination::protocol_hint::Opaque,
    "io.linkerd.proxy.destination.ProtocolHint.OpaqueTransport" => destination::protocol_hint::OpaqueTransport,
    "io.linkerd.proxy.destination.RequestMatch" => destination::RequestMatch,
    "io.linkerd.proxy.destination.RequestMatch.Seq" => destination::request_match::Seq,
    "io.linkerd.proxy.destination.ResponseClass" => destination::ResponseClass,
    "io.linkerd.proxy.destination.ResponseMatch" => destination::ResponseMatch,
    "io.linkerd.proxy.destination.ResponseMatch.Seq" => destination::response_match::Seq,
    "io.linkerd.proxy.destination.RetryBudget" => destination::RetryBudget,
    "io.linkerd.proxy.destination.Route" => destination::Route,
    "io.linkerd.proxy.destination.TlsIdentity" => destination::TlsIdentity,
    "io.linkerd.proxy.destination.TlsIdentity.DnsLikeIdentity" => destination::tls_identity::DnsLikeIdentity,
    "io.linkerd.proxy.destination.TlsIdentity.UriLikeIdentity" => destination::tls_identity::UriLikeIdentity,
    "io.linkerd.proxy.destination.Update" => destination::Update,
    "io.linkerd.proxy.destination.WeightedAddr" => destination::WeightedAddr,
    "io.linkerd.proxy.destination.WeightedAddrSet" => destination::WeightedAddrSet,
    "io.linkerd.proxy.destination.WeightedDst" => destination::WeightedDst,
    "io.linkerd.proxy.grpc_route.GrpcFailureInjector" => grpc_route::GrpcFailureInjector,
    "io.linkerd.proxy.grpc_route.GrpcRouteMatch" => grpc_route::GrpcRouteMatch,
    "io.linkerd.proxy.grpc_route.GrpcRpcMatch" => grpc_route::GrpcRpcMatch,
    "io.linkerd.proxy.http_route.HeaderMatch" => http_route::HeaderMatch,
    "io.linkerd.proxy.http_route.HostMatch" => http_route::HostMatch,
    "io.linkerd.proxy.http_route.HostMatch.Suffix" => http_route::host_match::Suffix,
    "io.linkerd.proxy.http_route.HttpFailureInjector" => http_route::HttpFailureInjector,
    "io.linkerd.proxy.http_route.HttpRouteMatch" => http_route::HttpRouteMatch,
    "io.linkerd.proxy.http_route.PathMatch" => http_route::PathMatch,
    "io.linkerd.proxy.http_route.PathModifier" => http_route::PathModifier,
    "io.linkerd.proxy.http_route.QueryParamMatch" => http_route::QueryParamMatch,
    "io.linkerd.proxy.http_route.Ratio" => http_route::Ratio,
    "io.linkerd.proxy.http_route.RequestHeaderModifier" => http_route::RequestHeaderModifier,
    "io.linkerd.proxy.http_route.RequestRedirect" => http_route::RequestRedirect,
    "io.linkerd.proxy.http_route.ResponseHeaderModifier" => http_route::ResponseHeaderModifier,
    "io.linkerd.proxy.http_route.Timeouts" => http_route::Timeouts,
    "io.linkerd.proxy.http_types.Headers" => http_types::Headers,
    "io.linkerd.proxy.http_types.Headers.Header" => http_types::headers::Header,
    "io.linkerd.proxy.http_types.HttpMethod" => http_types::HttpMethod,
    "io.linkerd.proxy.http_types.Scheme" => http_types::Scheme,
    "io.linkerd.proxy.identity.CertifyRequest" => identity::CertifyRequest,
    "io.linkerd.proxy.identity.CertifyResponse" => identity::CertifyResponse,
    "io.linkerd.proxy.inbound.Authn" => inbound::Authn,
    "io.linkerd.proxy.inbound.Authn.PermitMeshTLS" => inbound::authn::PermitMeshTls,
    "io.linkerd.proxy.inbound.Authn.PermitMeshTLS.PermitClientIdentities" => inbound::authn::permit_mesh_tls::PermitClientIdentities,
    "io.linkerd.proxy.inbound.Authn.PermitUnauthenticated" => inbound::authn::PermitUnauthenticated,
    "io.linkerd.proxy.inbound.Authz" => inbound::Authz,
    "io.linkerd.proxy.inbound.GrpcRoute" => inbound::GrpcRoute,
    "io.linkerd.proxy.inbound.GrpcRoute.Filter" => inbound::grpc_route::Filter,
    "io.linkerd.proxy.inbound.GrpcRoute.Rule" => inbound::grpc_route::Rule,
    "io.linkerd.proxy.inbound.HttpLocalRateLimit" => inbound::HttpLocalRateLimit,
    "io.linkerd.proxy.inbound.HttpLocalRateLimit.Limit" => inbound::http_local_rate_limit::Limit,
    "io.linkerd.proxy.inbound.HttpLocalRateLimit.Override" => inbound::http_local_rate_limit::Override,
    "io.linkerd.proxy.inbound.HttpLocalRateLimit.Override.ClientIdentities" => inbound::http_local_rate_limit::r#override::ClientIdentities,
    "io.linkerd.proxy.inbound.HttpRoute" => inbound::HttpRoute,
    "io.linkerd.proxy.inbound.HttpRoute.Filter" => inbound::http_route::Filter,
    "io.linkerd.proxy.inbound.HttpRoute.Rule" => inbound::http_route::Rule,
    "io.linkerd.proxy.inbound.Identity" => inbound::Identity,
    "io.linkerd.proxy.inbound.IdentitySuffix" => inbound::IdentitySuffix,
    "io.linkerd.proxy.inbound.Network" => inbound::Network,
    "io.linkerd.proxy.inbound.PortSpec" => inbound::PortSpec,
    "io.linkerd.proxy.inbound.ProxyProtocol" => inbound::ProxyProtocol,
    "io.linkerd.proxy.inbound.ProxyProtocol.Detect" => inbound::proxy_protocol::Detect,
    "io.linkerd.proxy.inbound.ProxyProtocol.Grpc" => inbound::proxy_protocol::Grpc,
    "io.linkerd.proxy.inbound.ProxyProtocol.Http1" => inbound::proxy_protocol::Http1,
    "io.linkerd.proxy.inbound.ProxyProtocol.Http2" => inbound::proxy_protocol::Http2,
    "io.linkerd.proxy.inbound.ProxyProtocol.Opaque" => inbound::proxy_protocol::Opaque,
    "io.linkerd.proxy.inbound.ProxyProtocol.Tls" => inbound::proxy_protocol::Tls,
    "io.linkerd.proxy.inbound.Server" => inbound::Server,
    "io.linkerd.proxy.meta.Metadata" => meta::Metadata,
    "io.linkerd.proxy.meta.Resource" => meta::Resource,
    "io.linkerd.proxy.net.IPAddress" => net::IpAddress,
    "io.linkerd.proxy.net.IPNetwork" => net::IpNetwork,
    "io.linkerd.proxy.net.IPv6" => net::IPv6,
    "io.linkerd.proxy.net.TcpAddress" => net::TcpAddress,
    "io.linkerd.proxy.opaque_route.Forbidden" => opaque_route::Forbidden,
    "io.linkerd.proxy.opaque_route.Invalid" => opaque_route::Invalid,
    "io.linkerd.proxy.outbound.Backend" => outbound::Backend,
    "io.linkerd.proxy.outbound.Backend.BalanceP2c" => outbound::backend::BalanceP2c,
    "io.linkerd.proxy.outbound.Backend.BalanceP2c.PeakEwma" => outbound::backend::balance_p2c::PeakEwma,
    "io.linkerd.proxy.outbound.Backend.BalanceP2c.PenaltyPeakEwma" => outbound::backend::balance_p2c::PenaltyPeakEwma,
    "io.linkerd.proxy.outbound.Backend.EndpointDiscovery" => outbound::backend::EndpointDiscovery,
    "io.linkerd.proxy.outbound.Backend.EndpointDiscovery.DestinationGet" => outbound::backend::endpoint_discovery::DestinationGet,
    "io.linkerd.proxy.outbound.EjectionConfig" => outbound::EjectionConfig,
    "io.linkerd.proxy.outbound.ExponentialBackoff" => outbound::ExponentialBackoff,
    "io.linkerd.proxy.outbound.FailureAccrual" => outbound::FailureAccrual,
    "io.linkerd.proxy.outbound.FailureAccrual.ConsecutiveFailures" => outbound::failure_accrual::ConsecutiveFailures,
    "io.linkerd.proxy.outbound.FailureAccrual.Unified" => outbound::failure_accrual::Unified,
    "io.linkerd.proxy.outbound.GrpcRoute" => outbound::GrpcRoute,
    "io.linkerd.proxy.outbound.GrpcRoute.Distribution" => outbound::grpc_route::Distribution,
    "io.linkerd.proxy.outbound.GrpcRoute.Distribution.Empty" => outbound::grpc_route::distribution::Empty,
    "io.linkerd.proxy.outbound.GrpcRoute.Distribution.FirstAvailable" => outbound::grpc_route::distribution::FirstAvailable,
    "io.linkerd.proxy.outbound.GrpcRoute.Distribution.RandomAvailable" => outbound::grpc_route::distribution::RandomAvailable,
    "io.linkerd.proxy.outbound.GrpcRoute.Filter" => outbound::grpc_route::Filter,
    "io.linkerd.proxy.outbound.GrpcRoute.Retry" => outbound::grpc_route::Retry,
    "io.linkerd.proxy.outbound.GrpcRoute.Retry.Conditions" => outbound::grpc_route::retry::Conditions,
    "io.linkerd.proxy.outbound.GrpcRoute.RouteBackend" => outbound::grpc_route::RouteBackend,
    "io.linkerd.proxy.outbound.GrpcRoute.Rule" => outbound::grpc_route::Rule,
    "io.linkerd.proxy.outbound.GrpcRoute.WeightedRouteBackend" => outbound::grpc_route::WeightedRouteBackend,
    "io.linkerd.proxy.outbound.HttpRoute" => outbound::HttpRoute,
    "io.linkerd.proxy.outbound.HttpRoute.Distribution" => outbound::http_route::Distribution,
    "io.linkerd.proxy.outbound.HttpRoute.Distribution.Empty" => outbound::http_route::distribution::Empty,
    "io.linkerd.proxy.outbound.HttpRoute.Distribution.FirstAvailable" => outbound::http_route::distribution::FirstAvailable,
    "io.linkerd.proxy.outbound.HttpRoute.Distribution.RandomAvailable" => outbound::http_route::distribution::RandomAvailable,
    "io.linkerd.proxy.outbound.HttpRoute.Filter" => outbound::http_route::Filter,
    "io.linkerd.proxy.outbound.HttpRoute.Retry" => outbound::http_route::Retry,
    "io.linkerd.proxy.outbound.HttpRoute.Retry.Conditions" => outbound::http_route::retry::Conditions,
    "io.linkerd.proxy.outbound.HttpRoute.Retry.Conditions.StatusRange" => outbound::http_route::retry::conditions::StatusRange,
    "io.linkerd.proxy.outbound.HttpRoute.RouteBackend" => outbound::http_route::RouteBackend,
    "io.linkerd.proxy.outbound.HttpRoute.Rule" => outbound::http_route::Rule,
    "io.linkerd.proxy.outbound.HttpRoute.WeightedRouteBackend" => outbound::http_route::WeightedRouteBackend,
    "io.linkerd.proxy.outbound.OpaqueRoute" => outbound::OpaqueRoute,
    "io.linkerd.proxy.outbound.OpaqueRoute.Distribution" => outbound::opaque_route::Distribution,
    "io.linkerd.proxy.outbound.OpaqueRoute.Distribution.Empty" => outbound::opaque_route::distribution::Empty,
    "io.linkerd.proxy.outbound.OpaqueRoute.Distribution.FirstAvailable" => outbound::opaque_route::distribution::FirstAvailable,
    "io.linkerd.proxy.outbound.OpaqueRoute.Distribution.RandomAvailable" => outbound::opaque_route::distribution::RandomAvailable,
    "io.linkerd.proxy.outbound.OpaqueRoute.Filter" => outbound::opaque_route::Filter,
    "io.linkerd.proxy.outbound.OpaqueRoute.RouteBackend" => outbound::opaque_route::RouteBackend,
    "io.linkerd.proxy.outbound.OpaqueRoute.Rule" => outbound::opaque_route::Rule,
    "io.linkerd.proxy.outbound.OpaqueRoute.WeightedRouteBackend" => outbound::opaque_route::WeightedRouteBackend,
    "io.linkerd.proxy.outbound.OutboundPolicy" => outbound::OutboundPolicy,
    "io.linkerd.proxy.outbound.ProxyProtocol" => outbound::ProxyProtocol,
    "io.linkerd.proxy.outbound.ProxyProtocol.Detect" => outbound::proxy_protocol::Detect,
    "io.linkerd.proxy.outbound.ProxyProtocol.Grpc" => outbound::proxy_protocol::Grpc,
    "io.linkerd.proxy.outbound.ProxyProtocol.Http1" => outbound::proxy_protocol::Http1,
    "io.linkerd.proxy.outbound.ProxyProtocol.Http2" => outbound::proxy_protocol::Http2,
    "io.linkerd.proxy.outbound.ProxyProtocol.Opaque" => outbound::proxy_protocol::Opaque,
    "io.linkerd.proxy.outbound.ProxyProtocol.Tls" => outbound::proxy_protocol::Tls,
    "io.linkerd.proxy.outbound.Queue" => outbound::Queue,
    "io.linkerd.proxy.outbound.TlsRoute" => outbound::TlsRoute,
    "io.linkerd.proxy.outbound.TlsRoute.Distribution" => outbound::tls_route::Distribution,
    "io.linkerd.proxy.outbound.TlsRoute.Distribution.Empty" => outbound::tls_route::distribution::Empty,
    "io.linkerd.proxy.outbound.TlsRoute.Distribution.FirstAvailable" => outbound::tls_route::distribution::FirstAvailable,
    "io.linkerd.proxy.outbound.TlsRoute.Distribution.RandomAvailable" => outbound::tls_route::distribution::RandomAvailable,
    "io.linkerd.proxy.outbound.TlsRoute.Filter" => outbound::tls_route::Filter,
    "io.linkerd.proxy.outbound.TlsRoute.RouteBackend" => outbound::tls_route::RouteBackend,
    "io.linkerd.proxy.outbound.TlsRoute.Rule" => outbound::tls_route::Rule,
    "io.linkerd.proxy.outbound.TlsRoute.WeightedRouteBackend" => outbound::tls_route::WeightedRouteBackend,
    "io.linkerd.proxy.outbound.TrafficSpec" => outbound::TrafficSpec,
    "io.linkerd.proxy.tap.Eos" => tap::Eos,
    "io.linkerd.proxy.tap.ObserveRequest" => tap::ObserveRequest,
    "io.linkerd.proxy.tap.ObserveRequest.Extract" => tap::observe_request::Extract,
    "io.linkerd.proxy.tap.ObserveRequest.Extract.Http" => tap::observe_request::extract::Http,
    "io.linkerd.proxy.tap.ObserveRequest.Extract.Http.Headers" => tap::observe_request::extract::http::Headers,
    "io.linkerd.proxy.tap.ObserveRequest.Match" => tap::observe_request::Match,
    "io.linkerd.proxy.tap.ObserveRequest.Match.Http" => tap::observe_request::r#match::Http,
    "io.linkerd.proxy.tap.ObserveRequest.Match.Http.StringMatch" => tap::observe_request::r#match::http::StringMatch,
    "io.linkerd.proxy.tap.ObserveRequest.Match.Label" => tap::observe_request::r#match::Label,
    "io.linkerd.proxy.tap.ObserveRequest.Match.Seq" => tap::observe_request::r#match::Seq,
    "io.linkerd.proxy.tap.ObserveRequest.Match.Tcp" => tap::observe_request::r#match::Tcp,
    "io.linkerd.proxy.tap.ObserveRequest.Match.Tcp.Netmask" => tap::observe_request::r#match::tcp::Netmask,
    "io.linkerd.proxy.tap.ObserveRequest.Match.Tcp.PortRange" => tap::observe_request::r#match::tcp::PortRange,
    "io.linkerd.proxy.tap.TapEvent" => tap::TapEvent,
    "io.linkerd.proxy.tap.TapEvent.EndpointMeta" => tap::tap_event::EndpointMeta,
    "io.linkerd.proxy.tap.TapEvent.Http" => tap::tap_event::Http,
    "io.linkerd.proxy.tap.TapEvent.Http.RequestInit" => tap::tap_event::http::RequestInit,
    "io.linkerd.proxy.tap.TapEvent.Http.ResponseEnd" => tap::tap_event::http::ResponseEnd,
    "io.linkerd.proxy.tap.TapEvent.Http.ResponseInit" => tap::tap_event::http::ResponseInit,
    "io.linkerd.proxy.tap.TapEvent.Http.StreamId" => tap::tap_event::http::StreamId,
    "io.linkerd.proxy.tap.TapEvent.RouteMeta" => tap::tap_event::RouteMeta,
    "io.linkerd.proxy.tls_route.SniMatch" => tls_route::SniMatch,
    "io.linkerd.proxy.tls_route.SniMatch.Suffix" => tls_route::sni_match::Suffix,
}

/// Answers frames until stdin ends.
pub fn run() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(name) = read_part(&mut input)? {
        let body = read_part(&mut input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let name = String::from_utf8_lossy(&name);
        let (status, body) = match round_trip(&name, &body) {
            Ok(bytes) => (0, bytes),
            Err(text) => (1, text.into_bytes()),
        };
        output.write_all(&[status])?;
        output.write_all(&(body.len() as u32).to_be_bytes())?;
        output.write_all(&body)?;
        output.flush()?;
    }
    Ok(())
}

/// A length and as many bytes; `None` at the end of the input.
fn read_part(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
