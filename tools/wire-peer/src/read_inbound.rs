// A server's policy as JSON, read as strictly as Linkerd's proxy reads it.

use crate::values::{
    all, failure, header_match, host, http_match, labels, metadata, need, need_duration, network,
    object, ratio, redirect, request_headers, some, text, unless_empty, Read,
};
use linkerd2_proxy_api::inbound::{
    self as api, authn, grpc_route, http_route, proxy_protocol::Kind,
};
use serde_json::{json, Value};
use std::net::IpAddr;

pub fn server(server: api::Server) -> Read<Value> {
    let ips = all(server.server_ips, |ip| {
        Ok(IpAddr::try_from(ip)
            .map_err(|e| e.to_string())?
            .to_string()
            .into())
    })?;
    let protocol = need(
        need(server.protocol, "the protocol")?.kind,
        "the kind of protocol",
    )?;
    Ok(object([
        ("protocol", self::protocol(protocol)?),
        ("ips", unless_empty(ips)),
        ("authorizations", all(server.authorizations, authorization)?),
        ("labels", labels(server.labels)),
    ]))
}

fn protocol(protocol: Kind) -> Read<Value> {
    Ok(match protocol {
        Kind::Detect(p) => object([
            ("kind", "detect".into()),
            (
                "timeout",
                need_duration(p.timeout, "the time-out of detection")?,
            ),
            ("routes", all(p.http_routes, http)?),
            ("limit", some(p.http_local_rate_limit, limit)?),
        ]),
        Kind::Http1(p) => object([
            ("kind", "http1".into()),
            ("routes", all(p.routes, http)?),
            ("limit", some(p.local_rate_limit, limit)?),
        ]),
        Kind::Http2(p) => object([
            ("kind", "http2".into()),
            ("routes", all(p.routes, http)?),
            ("limit", some(p.local_rate_limit, limit)?),
        ]),
        Kind::Grpc(p) => json!({ "kind": "grpc", "routes": all(p.routes, grpc)? }),
        Kind::Opaque(_) => json!({ "kind": "opaque" }),
        Kind::Tls(_) => json!({ "kind": "tls" }),
    })
}

fn limit(limit: api::HttpLocalRateLimit) -> Read<Value> {
    let rate = |l: api::http_local_rate_limit::Limit| Ok(l.requests_per_second.into());
    let overrides = all(limit.overrides, |o| {
        let names: Vec<String> = need(o.clients, "an override's clients")?
            .identities
            .into_iter()
            .map(|i| i.name)
            .collect();
        Ok(json!({ "rate": rate(need(o.limit, "an override's limit")?)?, "clients": names }))
    })?;
    Ok(object([
        ("metadata", metadata(limit.metadata)?),
        ("total", some(limit.total, rate)?),
        ("identity", some(limit.identity, rate)?),
        ("overrides", unless_empty(overrides)),
    ]))
}

fn authorization(authz: api::Authz) -> Read<Value> {
    use authn::{permit_mesh_tls::Clients, Permit};
    let networks = all(authz.networks, |n| {
        let except = unless_empty(all(n.except, network)?);
        Ok(object([
            ("net", network(need(n.net, "a network")?)?),
            ("except", except),
        ]))
    })?;
    if unless_empty(networks.clone()).is_null() {
        return Err("an authorization has no networks".into());
    }
    let permit = need(authz.authentication, "an authorization's authentication")?.permit;
    let clients = match need(permit, "who is permitted")? {
        Permit::Unauthenticated(_) => "anybody".into(),
        Permit::MeshTls(tls) => match need(tls.clients, "the clients of mesh TLS")? {
            Clients::Unauthenticated(_) => "anybody with TLS".into(),
            Clients::Identities(ids) => {
                let names: Vec<String> = ids.identities.into_iter().map(|id| id.name).collect();
                let suffixes: Vec<Value> =
                    ids.suffixes.into_iter().map(|s| json!(s.parts)).collect();
                object([
                    ("names", unless_empty(json!(names))),
                    ("suffixes", unless_empty(json!(suffixes))),
                ])
            }
        },
    };
    Ok(object([
        ("networks", networks),
        ("clients", clients),
        ("labels", labels(authz.labels)),
        ("metadata", metadata(authz.metadata)?),
    ]))
}

fn http(route: api::HttpRoute) -> Read<Value> {
    use http_route::filter::Kind;
    let rules = all(route.rules, |rule| {
        let filters = all(rule.filters, |filter| {
            Ok(match need(filter.kind, "the kind of a filter")? {
                Kind::FailureInjector(f) => json!({ "failure": failure(f)? }),
                Kind::RequestHeaderModifier(m) => json!({ "requestHeaders": request_headers(m)? }),
                Kind::Redirect(r) => json!({ "redirect": redirect(r)? }),
            })
        })?;
        Ok(object([
            ("matches", all(rule.matches, http_match)?),
            ("filters", unless_empty(filters)),
        ]))
    })?;
    Ok(object([
        ("metadata", metadata(route.metadata)?),
        ("hosts", unless_empty(all(route.hosts, host)?)),
        ("authorizations", all(route.authorizations, authorization)?),
        ("rules", rules),
    ]))
}

fn grpc(route: api::GrpcRoute) -> Read<Value> {
    use grpc_route::filter::Kind;
    let rules = all(route.rules, |rule| {
        let filters = all(rule.filters, |filter| {
            Ok(match need(filter.kind, "the kind of a filter")? {
                Kind::FailureInjector(f) => json!({ "failure": grpc_failure(f)? }),
                Kind::RequestHeaderModifier(m) => json!({ "requestHeaders": request_headers(m)? }),
            })
        })?;
        Ok(object([
            ("matches", all(rule.matches, grpc_match)?),
            ("filters", unless_empty(filters)),
        ]))
    })?;
    Ok(object([
        ("metadata", metadata(route.metadata)?),
        ("hosts", unless_empty(all(route.hosts, host)?)),
        ("authorizations", all(route.authorizations, authorization)?),
        ("rules", rules),
    ]))
}

pub fn grpc_match(m: linkerd2_proxy_api::grpc_route::GrpcRouteMatch) -> Read<Value> {
    let rpc = some(m.rpc, |rpc| {
        Ok(object([
            ("service", text(rpc.service)),
            ("method", text(rpc.method)),
        ]))
    })?;
    Ok(object([
        ("rpc", rpc),
        ("headers", unless_empty(all(m.headers, header_match)?)),
    ]))
}

pub fn grpc_failure(f: linkerd2_proxy_api::grpc_route::GrpcFailureInjector) -> Read<Value> {
    let (message, ratio) = (text(f.message), some(f.ratio, ratio)?);
    Ok(object([
        ("code", f.code.into()),
        ("message", message),
        ("ratio", ratio),
    ]))
}
