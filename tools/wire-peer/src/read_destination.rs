// Endpoints and profiles as JSON, read as strictly as Linkerd's proxy reads them.

use crate::values::{
    addr, all, duration, identity, labels, metadata, method, need, need_duration, number, object,
    some, text, unless_empty, Read,
};
use linkerd2_proxy_api::destination::{self as api, protocol_hint, request_match, response_match};
use serde_json::{json, Value};

pub fn update(update: api::Update) -> Read<Value> {
    use api::update::Update;
    Ok(match need(update.update, "the update")? {
        Update::Add(set) => json!({
            "add": all(set.addrs, weighted)?,
            "labels": labels(set.metric_labels),
        }),
        Update::Remove(set) => json!({ "remove": all(set.addrs, addr)? }),
        Update::NoEndpoints(none) => json!({ "noEndpoints": { "exists": none.exists } }),
    })
}

pub fn weighted(a: api::WeightedAddr) -> Read<Value> {
    let hint = some(a.protocol_hint, |hint| {
        let protocol = match hint.protocol {
            None => Value::Null,
            Some(protocol_hint::Protocol::H2(_)) => "h2".into(),
            Some(protocol_hint::Protocol::Opaque(_)) => "opaque".into(),
        };
        let port = hint
            .opaque_transport
            .map_or(0, |transport| transport.inbound_port);
        Ok(object([
            ("protocol", protocol),
            ("inboundPort", number(port)),
        ]))
    })?;
    let http2 = some(a.http2, |http2| {
        let keep_alive = some(http2.keep_alive, |k| {
            Ok(json!({
                "interval": need_duration(k.interval, "the keep-alive interval")?,
                "timeout": need_duration(k.timeout, "the keep-alive time-out")?,
                "whileIdle": k.while_idle,
            }))
        })?;
        Ok(object([("keepAlive", keep_alive)]))
    })?;
    Ok(object([
        ("addr", addr(need(a.addr, "the address")?)?),
        ("weight", a.weight.into()),
        ("labels", labels(a.metric_labels)),
        ("identity", some(a.tls_identity, identity)?),
        ("hint", hint),
        (
            "authority",
            a.authority_override
                .map_or(Value::Null, |o| o.authority_override.into()),
        ),
        ("http2", http2),
        ("resource", some(a.resource_ref, |r| metadata(Some(r)))?),
    ]))
}

pub fn profile(p: api::DestinationProfile) -> Read<Value> {
    let budget = some(p.retry_budget, |b| {
        let ttl = need_duration(b.ttl, "the time to live of a budget")?;
        Ok(json!({ "ratio": b.retry_ratio, "minPerSecond": b.min_retries_per_second, "ttl": ttl }))
    })?;
    let overrides = all(p.dst_overrides, |dst| {
        let authority: http::uri::Authority = dst
            .authority
            .parse()
            .map_err(|e| format!("authority {}: {e}", dst.authority))?;
        Ok(json!({ "authority": authority.as_str(), "weight": dst.weight }))
    })?;
    Ok(object([
        ("name", text(p.fully_qualified_name)),
        ("opaque", p.opaque_protocol.into()),
        ("routes", all(p.routes, route)?),
        ("budget", budget),
        ("overrides", unless_empty(overrides)),
        ("endpoint", some(p.endpoint, weighted)?),
    ]))
}

fn route(route: api::Route) -> Read<Value> {
    Ok(object([
        (
            "condition",
            request(need(route.condition, "a route's condition")?)?,
        ),
        (
            "responses",
            unless_empty(all(route.response_classes, |class| {
                let condition = response(need(class.condition, "a response class's condition")?)?;
                Ok(json!({ "condition": condition, "isFailure": class.is_failure }))
            })?),
        ),
        ("labels", labels(route.metrics_labels)),
        ("isRetryable", route.is_retryable.into()),
        ("timeout", some(route.timeout, duration)?),
    ]))
}

fn request(m: api::RequestMatch) -> Read<Value> {
    use request_match::Match;
    Ok(match need(m.r#match, "a request's match")? {
        Match::All(seq) => json!({ "all": all(seq.matches, request)? }),
        Match::Any(seq) => json!({ "any": all(seq.matches, request)? }),
        Match::Not(m) => json!({ "not": request(*m)? }),
        Match::Path(path) => json!({ "path": path.regex }),
        Match::Method(m) => json!({ "method": method(m)? }),
    })
}

fn response(m: api::ResponseMatch) -> Read<Value> {
    use response_match::Match;
    Ok(match need(m.r#match, "a response's match")? {
        Match::All(seq) => json!({ "all": all(seq.matches, response)? }),
        Match::Any(seq) => json!({ "any": all(seq.matches, response)? }),
        Match::Not(m) => json!({ "not": response(*m)? }),
        Match::Status(range) => json!({ "min": range.min, "max": range.max }),
    })
}
