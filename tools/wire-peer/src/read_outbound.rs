// A client's policy as JSON, read as strictly as Linkerd's proxy reads it: every protocol of detection,
// every route's metadata, every backend's queue and discovery must be there.

// `request_timeout` is what proxies before 2.15 read.
#![allow(deprecated)]

use crate::{
    read_destination::weighted,
    read_inbound::{grpc_failure, grpc_match},
    values::{
        all, duration, failure, host, http_match, metadata, need, need_duration, number, object,
        redirect, request_headers, response_headers, some, unless_empty, Read,
    },
};
use linkerd2_proxy_api::{
    http_route::Timeouts,
    outbound::{self as api, backend, failure_accrual, proxy_protocol::Kind},
    tls_route::{sni_match, SniMatch},
};
use serde_json::{json, Value};

pub fn policy(policy: api::OutboundPolicy) -> Read<Value> {
    let protocol = need(
        need(policy.protocol, "the protocol")?.kind,
        "the kind of protocol",
    )?;
    Ok(json!({
        "protocol": self::protocol(protocol)?,
        "metadata": metadata(policy.metadata)?,
    }))
}

fn protocol(protocol: Kind) -> Read<Value> {
    Ok(match protocol {
        Kind::Detect(p) => {
            let http1 = need(p.http1, "HTTP/1 of detection")?;
            let http2 = need(p.http2, "HTTP/2 of detection")?;
            json!({
                "kind": "detect",
                "timeout": need_duration(p.timeout, "the time-out of detection")?,
                "opaque": all(need(p.opaque, "opaque of detection")?.routes, opaque)?,
                "http1": object([
                    ("routes", all(http1.routes, http)?),
                    ("accrual", some(http1.failure_accrual, accrual)?),
                ]),
                "http2": object([
                    ("routes", all(http2.routes, http)?),
                    ("accrual", some(http2.failure_accrual, accrual)?),
                ]),
            })
        }
        Kind::Http1(p) => object([
            ("kind", "http1".into()),
            ("routes", all(p.routes, http)?),
            ("accrual", some(p.failure_accrual, accrual)?),
        ]),
        Kind::Http2(p) => object([
            ("kind", "http2".into()),
            ("routes", all(p.routes, http)?),
            ("accrual", some(p.failure_accrual, accrual)?),
        ]),
        Kind::Grpc(p) => object([
            ("kind", "grpc".into()),
            ("routes", all(p.routes, grpc)?),
            ("accrual", some(p.failure_accrual, accrual)?),
        ]),
        Kind::Opaque(p) => json!({ "kind": "opaque", "routes": all(p.routes, opaque)? }),
        Kind::Tls(p) => json!({ "kind": "tls", "routes": all(p.routes, tls)? }),
    })
}

fn accrual(accrual: api::FailureAccrual) -> Read<Value> {
    let kind = match need(accrual.kind, "the kind of failure accrual")? {
        failure_accrual::Kind::ConsecutiveFailures(c) => {
            let backoff = backoff(need(c.backoff, "the back-off of failure accrual")?)?;
            json!({ "consecutive": c.max_failures, "backoff": backoff })
        }
        failure_accrual::Kind::Unified(u) => json!({
            "successRate": u.success_rate_threshold,
            "decay": need_duration(u.decay, "the decay of failure accrual")?,
            "minRequests": u.min_requests,
            "consecutive": u.max_consecutive_failures,
            "backoff": backoff(need(u.backoff, "the back-off of failure accrual")?)?,
        }),
    };
    Ok(kind)
}

fn backoff(b: api::ExponentialBackoff) -> Read<Value> {
    let (min, max) = (
        need_duration(b.min_backoff, "min")?,
        need_duration(b.max_backoff, "max")?,
    );
    if min.as_f64() > max.as_f64() {
        return Err("a back-off's minimum is above its maximum".into());
    }
    Ok(json!({ "min": min, "max": max, "jitter": b.jitter_ratio }))
}

fn timeouts(t: Timeouts) -> Read<Value> {
    Ok(object([
        ("request", some(t.request, duration)?),
        ("response", some(t.response, duration)?),
        ("idle", some(t.idle, duration)?),
    ]))
}

fn http(route: api::HttpRoute) -> Read<Value> {
    let rules = all(route.rules, |rule| {
        let retry = some(rule.retry, |r| {
            let conditions = need(r.conditions, "the conditions of a retry")?.status_ranges;
            let conditions: Vec<Value> = conditions
                .into_iter()
                .map(|s| json!([s.start, s.end]))
                .collect();
            Ok(object([
                ("limit", r.max_retries.into()),
                ("maxBytes", r.max_request_bytes.into()),
                ("conditions", json!(conditions)),
                ("timeout", some(r.timeout, duration)?),
                ("backoff", some(r.backoff, backoff)?),
            ]))
        })?;
        Ok(object([
            ("matches", all(rule.matches, http_match)?),
            ("filters", unless_empty(all(rule.filters, http_filter)?)),
            (
                "backends",
                http_backends(need(rule.backends, "the backends of a rule")?)?,
            ),
            ("timeouts", some(rule.timeouts, timeouts)?),
            ("requestTimeout", some(rule.request_timeout, duration)?),
            ("retry", retry),
            (
                "mayAsk",
                if rule.allow_l5d_request_headers {
                    true.into()
                } else {
                    Value::Null
                },
            ),
        ]))
    })?;
    Ok(object([
        ("metadata", metadata(route.metadata)?),
        ("hosts", unless_empty(all(route.hosts, host)?)),
        ("rules", rules),
    ]))
}

fn http_filter(filter: api::http_route::Filter) -> Read<Value> {
    use api::http_route::filter::Kind;
    Ok(match need(filter.kind, "the kind of a filter")? {
        Kind::FailureInjector(f) => json!({ "failure": failure(f)? }),
        Kind::RequestHeaderModifier(m) => json!({ "requestHeaders": request_headers(m)? }),
        Kind::ResponseHeaderModifier(m) => json!({ "responseHeaders": response_headers(m)? }),
        Kind::Redirect(r) => json!({ "redirect": redirect(r)? }),
    })
}

fn grpc(route: api::GrpcRoute) -> Read<Value> {
    let rules = all(route.rules, |rule| {
        let retry = some(rule.retry, |r| {
            let c = need(r.conditions, "the conditions of a retry")?;
            let named = [
                ("cancelled", c.cancelled),
                ("deadline-exceeded", c.deadine_exceeded),
                ("resource-exhausted", c.resource_exhausted),
                ("internal", c.internal),
                ("unavailable", c.unavailable),
            ];
            let named: Vec<&str> = named.into_iter().filter(|c| c.1).map(|c| c.0).collect();
            Ok(json!({ "limit": r.max_retries, "conditions": named }))
        })?;
        Ok(object([
            ("matches", all(rule.matches, grpc_match)?),
            ("filters", unless_empty(all(rule.filters, grpc_filter)?)),
            (
                "backends",
                grpc_backends(need(rule.backends, "the backends of a rule")?)?,
            ),
            ("timeouts", some(rule.timeouts, timeouts)?),
            ("requestTimeout", some(rule.request_timeout, duration)?),
            ("retry", retry),
        ]))
    })?;
    Ok(object([
        ("metadata", metadata(route.metadata)?),
        ("hosts", unless_empty(all(route.hosts, host)?)),
        ("rules", rules),
    ]))
}

fn grpc_filter(filter: api::grpc_route::Filter) -> Read<Value> {
    use api::grpc_route::filter::Kind;
    Ok(match need(filter.kind, "the kind of a filter")? {
        Kind::FailureInjector(f) => json!({ "failure": grpc_failure(f)? }),
        Kind::RequestHeaderModifier(m) => json!({ "requestHeaders": request_headers(m)? }),
    })
}

fn opaque(route: api::OpaqueRoute) -> Read<Value> {
    let rules = all(route.rules, |rule| {
        let backends = opaque_backends(need(rule.backends, "the backends of a rule")?)?;
        let filters = unless_empty(all(rule.filters, opaque_filter)?);
        Ok(object([("backends", backends), ("filters", filters)]))
    })?;
    Ok(json!({ "metadata": metadata(route.metadata)?, "rules": rules }))
}

fn tls(route: api::TlsRoute) -> Read<Value> {
    let rules = all(route.rules, |rule| {
        let backends = tls_backends(need(rule.backends, "the backends of a rule")?)?;
        let filters = unless_empty(all(rule.filters, tls_filter)?);
        Ok(object([("backends", backends), ("filters", filters)]))
    })?;
    let snis = unless_empty(all(route.snis, sni)?);
    Ok(object([
        ("metadata", metadata(route.metadata)?),
        ("snis", snis),
        ("rules", rules),
    ]))
}

fn sni(sni: SniMatch) -> Read<Value> {
    Ok(match need(sni.r#match, "the match of a name")? {
        sni_match::Match::Exact(name) => json!({ "exact": name }),
        sni_match::Match::Suffix(s) => json!({ "suffix": s.reverse_labels }),
    })
}

/// The same four messages for each kind of route, which are types of their own.
macro_rules! backends {
    ($name:ident, $of:ident, $filters:expr, $timeout:expr) => {
        fn $name(distribution: api::$of::Distribution) -> Read<Value> {
            use api::$of::{distribution::Kind, RouteBackend};
            let one = |b: RouteBackend| -> Read<Value> {
                let timeout: fn(&RouteBackend) -> Option<prost_types::Duration> = $timeout;
                let timeout = some(timeout(&b), duration)?;
                let filters = unless_empty(all(b.filters, $filters)?);
                let backend = backend(need(b.backend, "a backend")?)?;
                Ok(object([("backend", backend), ("filters", filters), ("timeout", timeout)]))
            };
            Ok(match need(distribution.kind, "the kind of distribution")? {
                Kind::Empty(_) => "none".into(),
                Kind::FirstAvailable(f) => json!({ "first": all(f.backends, one)? }),
                Kind::RandomAvailable(r) => json!({ "random": all(r.backends, |w| {
                    Ok(json!([one(need(w.backend, "a backend")?)?, w.weight]))
                })? }),
            })
        }
    };
}

backends!(http_backends, http_route, http_filter, |b| b
    .request_timeout);
backends!(grpc_backends, grpc_route, grpc_filter, |b| b
    .request_timeout);
backends!(opaque_backends, opaque_route, opaque_filter, |_| None);
backends!(tls_backends, tls_route, tls_filter, |_| None);

fn opaque_filter(filter: api::opaque_route::Filter) -> Read<Value> {
    use api::opaque_route::filter::Kind;
    Ok(match need(filter.kind, "the kind of a filter")? {
        Kind::Invalid(i) => json!({ "invalid": i.message }),
        Kind::Forbidden(_) => "forbidden".into(),
    })
}

fn tls_filter(filter: api::tls_route::Filter) -> Read<Value> {
    use api::tls_route::filter::Kind;
    Ok(match need(filter.kind, "the kind of a filter")? {
        Kind::Invalid(i) => json!({ "invalid": i.message }),
        Kind::Forbidden(_) => "forbidden".into(),
    })
}

fn backend(b: api::Backend) -> Read<Value> {
    let queue = need(b.queue, "a backend's queue")?;
    let kind = match need(b.kind, "the kind of a backend")? {
        backend::Kind::Forward(addr) => json!({ "forward": weighted(addr)? }),
        backend::Kind::Balancer(balancer) => json!({ "balancer": self::balancer(balancer)? }),
    };
    Ok(json!({
        "metadata": metadata(b.metadata)?,
        "capacity": number(queue.capacity),
        "failfast": need_duration(queue.failfast_timeout, "the fail-fast time")?,
        "kind": kind,
    }))
}

fn balancer(b: backend::BalanceP2c) -> Read<Value> {
    use backend::{balance_p2c::Load, endpoint_discovery::Kind};
    let Kind::Dst(dst) = need(
        need(b.discovery, "discovery")?.kind,
        "the kind of discovery",
    )?;
    let (rtt, decay) = match need(b.load, "the load of a balancer")? {
        Load::PeakEwma(l) => (l.default_rtt, l.decay),
        Load::PenaltyPeakEwma(l) => (l.default_rtt, l.decay),
    };
    Ok(json!({
        "path": dst.path,
        "rtt": need_duration(rtt, "the round-trip time")?,
        "decay": need_duration(decay, "the decay of load")?,
    }))
}
