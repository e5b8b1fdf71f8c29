// What the peer says as a control plane: two Services and a pod's policy, built with Linkerd's types as
// Linkerd's controllers build them. The test knows these names and says where the applications are.

use linkerd2_proxy_api::{
    destination::{
        protocol_hint, tls_identity, update, AddrSet, DestinationProfile, ProtocolHint,
        RetryBudget, TlsIdentity, Update, WeightedAddr, WeightedAddrSet,
    },
    http_route::{
        header_match, path_match, path_modifier, HeaderMatch, HttpFailureInjector, HttpRouteMatch,
        PathMatch, PathModifier, RequestHeaderModifier, RequestRedirect, Timeouts,
    },
    http_types::{headers::Header, Headers},
    inbound::{self, authn, Authn, Authz, Network},
    meta::{metadata, Metadata, Resource},
    outbound::{
        backend, http_route as out, opaque_route, proxy_protocol, Backend, HttpRoute, OpaqueRoute,
        OutboundPolicy, ProxyProtocol, Queue,
    },
};
use serde_json::Value;
use std::{collections::HashMap, net::SocketAddr, time::Duration};

/// The Services, as paths of `Destination.Get`.
pub const WEB: &str = "web.test.svc.cluster.local:8080";
pub const V2: &str = "v2.test.svc.cluster.local:8080";
pub const MESHED: &str = "meshed.test.svc.cluster.local:8080";
/// Their cluster addresses.
const WEB_ADDR: &str = "10.9.0.1:8080";
const MESHED_ADDR: &str = "10.9.0.2:8080";

/// Where things are: applications, and a pod with a proxy and its identity.
pub struct World {
    pub v1: SocketAddr,
    pub v2: SocketAddr,
    meshed: SocketAddr,
    identity: String,
    /// Who may see `/private`.
    admin: String,
}

impl World {
    /// From an object with these fields.
    pub fn read(json: &str) -> Result<World, String> {
        let world: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let text = |name: &str| world[name].as_str().ok_or(format!("{name} is missing"));
        let addr = |name: &str| text(name)?.parse().map_err(|e| format!("{name}: {e}"));
        Ok(World {
            v1: addr("v1")?,
            v2: addr("v2")?,
            meshed: addr("meshed")?,
            identity: text("identity")?.into(),
            admin: text("admin")?.into(),
        })
    }
}

fn some_duration(ms: u64) -> Option<prost_types::Duration> {
    Duration::from_millis(ms).try_into().ok()
}

fn resource(group: &str, kind: &str, name: &str, port: u32) -> Option<Metadata> {
    Some(Metadata {
        kind: Some(metadata::Kind::Resource(Resource {
            group: group.into(),
            kind: kind.into(),
            name: name.into(),
            namespace: "test".into(),
            section: String::new(),
            port,
        })),
    })
}

fn default(name: &str) -> Option<Metadata> {
    Some(Metadata {
        kind: Some(metadata::Kind::Default(name.into())),
    })
}

fn weighted(addr: SocketAddr) -> WeightedAddr {
    WeightedAddr {
        addr: Some(addr.into()),
        weight: 10_000,
        ..Default::default()
    }
}

fn added(addr: WeightedAddr) -> Update {
    let metric_labels = HashMap::from([("namespace".into(), "test".into())]);
    let set = WeightedAddrSet {
        addrs: vec![addr],
        metric_labels,
    };
    Update {
        update: Some(update::Update::Add(set)),
    }
}

pub fn add(addr: SocketAddr) -> Update {
    added(weighted(addr))
}

pub fn remove(addr: SocketAddr) -> Update {
    Update {
        update: Some(update::Update::Remove(AddrSet {
            addrs: vec![addr.into()],
        })),
    }
}

/// The pod with a proxy: TLS by its identity, HTTP/2, its inbound port.
pub fn add_meshed(world: &World) -> Update {
    let name = || world.identity.clone();
    let dns = tls_identity::DnsLikeIdentity { name: name() };
    added(WeightedAddr {
        tls_identity: Some(TlsIdentity {
            server_name: Some(dns.clone()),
            strategy: Some(tls_identity::Strategy::DnsLikeIdentity(dns)),
        }),
        protocol_hint: Some(ProtocolHint {
            opaque_transport: Some(protocol_hint::OpaqueTransport { inbound_port: 4143 }),
            protocol: Some(protocol_hint::Protocol::H2(protocol_hint::H2 {})),
        }),
        ..weighted(world.meshed)
    })
}

pub fn profile(path: &str) -> Option<DestinationProfile> {
    let name = match path {
        WEB_ADDR => "web.test.svc.cluster.local",
        MESHED_ADDR => "meshed.test.svc.cluster.local",
        _ => return None,
    };
    let ttl = some_duration(10_000);
    let retry_budget = Some(RetryBudget {
        retry_ratio: 0.2,
        min_retries_per_second: 10,
        ttl,
    });
    let fully_qualified_name = name.into();
    Some(DestinationProfile {
        fully_qualified_name,
        retry_budget,
        ..Default::default()
    })
}

pub fn policy(target: &str) -> Option<OutboundPolicy> {
    let (name, path, routes) = match target {
        WEB_ADDR => ("web", WEB, vec![versions()]),
        MESHED_ADDR => ("meshed", MESHED, vec![plain(MESHED)]),
        _ => return None,
    };
    let http1 = proxy_protocol::Http1 {
        routes: routes.clone(),
        failure_accrual: None,
    };
    let http2 = proxy_protocol::Http2 {
        routes,
        failure_accrual: None,
    };
    let detect = proxy_protocol::Detect {
        timeout: some_duration(10_000),
        opaque: Some(proxy_protocol::Opaque {
            routes: vec![opaque(path)],
        }),
        http1: Some(http1),
        http2: Some(http2),
    };
    Some(OutboundPolicy {
        protocol: Some(ProxyProtocol {
            kind: Some(proxy_protocol::Kind::Detect(detect)),
        }),
        metadata: resource("core", "Service", name, 8080),
    })
}

fn balancer(path: &str) -> Option<Backend> {
    use backend::{balance_p2c, endpoint_discovery, BalanceP2c, EndpointDiscovery};
    let dst = endpoint_discovery::DestinationGet { path: path.into() };
    let load = balance_p2c::PeakEwma {
        default_rtt: some_duration(30),
        decay: some_duration(10_000),
    };
    let name = path.split('.').next().unwrap_or_default();
    Some(Backend {
        metadata: resource("core", "Service", name, 8080),
        queue: Some(Queue {
            capacity: 100,
            failfast_timeout: some_duration(3000),
        }),
        kind: Some(backend::Kind::Balancer(BalanceP2c {
            discovery: Some(EndpointDiscovery {
                kind: Some(endpoint_discovery::Kind::Dst(dst)),
            }),
            load: Some(balance_p2c::Load::PeakEwma(load)),
        })),
    })
}

fn first(path: &str) -> Option<out::Distribution> {
    let backend = out::RouteBackend {
        backend: balancer(path),
        ..Default::default()
    };
    let first = out::distribution::FirstAvailable {
        backends: vec![backend],
    };
    Some(out::Distribution {
        kind: Some(out::distribution::Kind::FirstAvailable(first)),
    })
}

fn opaque(path: &str) -> OpaqueRoute {
    use opaque_route::{distribution, Distribution, RouteBackend, Rule};
    let backend = RouteBackend {
        backend: balancer(path),
        filters: vec![],
    };
    let first = distribution::FirstAvailable {
        backends: vec![backend],
    };
    let backends = Some(Distribution {
        kind: Some(distribution::Kind::FirstAvailable(first)),
    });
    OpaqueRoute {
        metadata: default("opaque"),
        rules: vec![Rule {
            backends,
            filters: vec![],
        }],
    }
}

fn prefix(path: &str) -> HttpRouteMatch {
    let kind = Some(path_match::Kind::Prefix(path.into()));
    HttpRouteMatch {
        path: Some(PathMatch { kind }),
        ..Default::default()
    }
}

fn plain(path: &str) -> HttpRoute {
    let rule = out::Rule {
        matches: vec![prefix("/")],
        backends: first(path),
        ..Default::default()
    };
    HttpRoute {
        metadata: default("http"),
        hosts: vec![],
        rules: vec![rule],
    }
}

/// By header to v2 with a header more; a time-out, an injected failure and a redirect by path.
fn versions() -> HttpRoute {
    use out::filter::Kind;
    let rule = |r#match, path, kind: Option<Kind>| out::Rule {
        matches: vec![r#match],
        backends: first(path),
        filters: kind
            .into_iter()
            .map(|kind| out::Filter { kind: Some(kind) })
            .collect(),
        ..Default::default()
    };
    let value = Some(header_match::Value::Exact(b"2".to_vec()));
    let by_header = HttpRouteMatch {
        headers: vec![HeaderMatch {
            name: "x-version".into(),
            value,
        }],
        ..prefix("/")
    };
    let routed = Header {
        name: "x-routed".into(),
        value: b"by-header".to_vec(),
    };
    let set = RequestHeaderModifier {
        set: Some(Headers {
            headers: vec![routed],
        }),
        remove: vec!["x-secret".into()],
        ..Default::default()
    };
    let failure = HttpFailureInjector {
        status: 418,
        message: "teapot".into(),
        ratio: None,
    };
    let replace = Some(path_modifier::Replace::Prefix("/new".into()));
    let redirect = RequestRedirect {
        scheme: Some("https".into()),
        host: "new.example".into(),
        path: Some(PathModifier { replace }),
        port: 0,
        status: 301,
    };
    let timeouts = Some(Timeouts {
        request: some_duration(300),
        ..Default::default()
    });
    HttpRoute {
        metadata: resource("gateway.networking.k8s.io", "HTTPRoute", "versions", 0),
        hosts: vec![],
        rules: vec![
            rule(by_header, V2, Some(Kind::RequestHeaderModifier(set))),
            out::Rule {
                timeouts,
                ..rule(prefix("/slow"), WEB, None)
            },
            rule(prefix("/tea"), WEB, Some(Kind::FailureInjector(failure))),
            rule(prefix("/old"), WEB, Some(Kind::Redirect(redirect))),
            rule(prefix("/"), WEB, None),
        ],
    }
}

/// Of each pod's port: `/public` is for all, `/private` for the administrator over mesh TLS, `/near` for
/// a network, and for nothing else is there a route.
pub fn server(world: &World) -> inbound::Server {
    use authn::permit_mesh_tls::{Clients, PermitClientIdentities};
    use inbound::proxy_protocol::{Detect, Kind};
    let anybody = || authn::Permit::Unauthenticated(authn::PermitUnauthenticated {});
    let admin = PermitClientIdentities {
        identities: vec![inbound::Identity {
            name: world.admin.clone(),
        }],
        suffixes: vec![],
    };
    let tls = authn::PermitMeshTls {
        clients: Some(Clients::Identities(admin)),
    };
    let detect = Detect {
        timeout: some_duration(10_000),
        http_routes: vec![
            inbound_route("public", authz("public", "0.0.0.0/0", anybody())),
            inbound_route(
                "private",
                authz("private", "0.0.0.0/0", authn::Permit::MeshTls(tls)),
            ),
            inbound_route("near", authz("near", "127.0.0.9/32", anybody())),
            inbound_route("far", authz("far", "192.0.2.0/24", anybody())),
        ],
        http_local_rate_limit: None,
    };
    let labels = [
        ("group", "policy.linkerd.io"),
        ("kind", "server"),
        ("name", "test"),
    ];
    inbound::Server {
        protocol: Some(inbound::ProxyProtocol {
            kind: Some(Kind::Detect(detect)),
        }),
        labels: labels.map(|(k, v)| (k.into(), v.into())).into(),
        ..Default::default()
    }
}

fn authz(name: &str, network: &str, permit: authn::Permit) -> Authz {
    let net: Option<ipnet::IpNet> = network.parse().ok();
    Authz {
        networks: vec![Network {
            net: net.map(Into::into),
            except: vec![],
        }],
        authentication: Some(Authn {
            permit: Some(permit),
        }),
        labels: HashMap::new(),
        metadata: resource("policy.linkerd.io", "authorizationpolicy", name, 0),
    }
}

fn inbound_route(name: &str, authorization: Authz) -> inbound::HttpRoute {
    let rule = inbound::http_route::Rule {
        matches: vec![prefix(&format!("/{name}"))],
        filters: vec![],
    };
    inbound::HttpRoute {
        metadata: resource("policy.linkerd.io", "HTTPRoute", name, 0),
        hosts: vec![],
        authorizations: vec![authorization],
        rules: vec![rule],
    }
}
