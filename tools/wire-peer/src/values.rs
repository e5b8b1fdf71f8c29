// The API's small values as JSON, by the conversions that Linkerd's crate has: addresses to `std::net`,
// networks to `ipnet`, methods and schemes to `http`, durations to `std::time`. What these refuse, or what
// Linkerd's proxy cannot do without, is an error that names it.

use linkerd2_proxy_api::{destination, http_route, http_types, meta, net};
use serde_json::{json, Map, Value};
use std::{collections::HashMap, net::SocketAddr, time::Duration};

pub type Read<T> = Result<T, String>;

/// A field without which the message means nothing.
pub fn need<T>(value: Option<T>, what: &str) -> Read<T> {
    value.ok_or_else(|| format!("{what} is missing"))
}

/// An object without the fields that are null.
pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(
        fields
            .map(|(name, value)| (name.to_string(), value))
            .collect(),
    )
}

/// Each of them, or the first error.
pub fn all<T>(items: Vec<T>, read: impl Fn(T) -> Read<Value>) -> Read<Value> {
    items
        .into_iter()
        .map(read)
        .collect::<Read<Vec<Value>>>()
        .map(Value::Array)
}

/// What it is when it is there, else null.
pub fn some<T>(value: Option<T>, read: impl FnOnce(T) -> Read<Value>) -> Read<Value> {
    value.map_or(Ok(Value::Null), read)
}

pub fn labels(labels: HashMap<String, String>) -> Value {
    Value::Object(
        labels
            .into_iter()
            .map(|(k, v)| (k, v.into()))
            .collect::<Map<_, _>>(),
    )
}

pub fn addr(addr: net::TcpAddress) -> Read<Value> {
    let addr = SocketAddr::try_from(addr).map_err(|e| e.to_string())?;
    Ok(addr.to_string().into())
}

pub fn network(net: net::IpNetwork) -> Read<Value> {
    let net = ipnet::IpNet::try_from(net).map_err(|e| e.to_string())?;
    Ok(net.to_string().into())
}

/// In milliseconds.
pub fn duration(duration: prost_types::Duration) -> Read<Value> {
    let duration = Duration::try_from(duration).map_err(|e| e.to_string())?;
    Ok((duration.as_secs_f64() * 1000.0).into())
}

pub fn need_duration(duration: Option<prost_types::Duration>, what: &str) -> Read<Value> {
    self::duration(need(duration, what)?)
}

/// `default NAME`, or the resource with what is said of it.
pub fn metadata(metadata: Option<meta::Metadata>) -> Read<Value> {
    use meta::metadata::Kind;
    match need(need(metadata, "metadata")?.kind, "the kind of metadata")? {
        Kind::Default(name) => Ok(format!("default {name}").into()),
        Kind::Resource(r) => Ok(object([
            ("group", need_text(r.group, "a resource's group")?),
            ("kind", need_text(r.kind, "a resource's kind")?),
            ("namespace", text(r.namespace)),
            ("name", need_text(r.name, "a resource's name")?),
            ("section", text(r.section)),
            (
                "port",
                number(u16::try_from(r.port).map_err(|e| e.to_string())?.into()),
            ),
        ])),
    }
}

/// Null when it is empty.
pub fn text(text: String) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        text.into()
    }
}

pub fn need_text(value: String, what: &str) -> Read<Value> {
    if value.is_empty() {
        Err(format!("{what} is empty"))
    } else {
        Ok(value.into())
    }
}

/// Null when it is 0.
pub fn number(number: u32) -> Value {
    if number == 0 {
        Value::Null
    } else {
        number.into()
    }
}

pub fn method(method: http_types::HttpMethod) -> Read<Value> {
    let method = http::Method::try_from(method).map_err(|e| e.to_string())?;
    Ok(method.as_str().into())
}

pub fn scheme(scheme: http_types::Scheme) -> Read<Value> {
    let scheme = http::uri::Scheme::try_from(scheme).map_err(|e| e.to_string())?;
    Ok(scheme.as_str().into())
}

pub fn status(status: u32) -> Read<Value> {
    let status = u16::try_from(status).map_err(|e| e.to_string())?;
    let status = http::StatusCode::from_u16(status).map_err(|e| e.to_string())?;
    Ok(status.as_u16().into())
}

fn header(name: &str, value: &[u8]) -> Read<(http::HeaderName, http::HeaderValue)> {
    let name = name.parse().map_err(|e| format!("header {name}: {e}"))?;
    Ok((
        name,
        http::HeaderValue::from_bytes(value).map_err(|e| e.to_string())?,
    ))
}

/// Pairs of name and value, in order.
pub fn headers(headers: http_types::Headers) -> Read<Value> {
    all(headers.headers, |h| {
        let (name, value) = header(&h.name, &h.value)?;
        Ok(json!([
            name.as_str(),
            String::from_utf8_lossy(value.as_bytes())
        ]))
    })
}

pub fn host(host: http_route::HostMatch) -> Read<Value> {
    use http_route::host_match::Match;
    Ok(match need(host.r#match, "the match of a host")? {
        Match::Exact(name) => json!({ "exact": authority(&name)? }),
        Match::Suffix(s) => json!({ "suffix": s.reverse_labels }),
    })
}

fn authority(name: &str) -> Read<String> {
    let authority: http::uri::Authority = name.parse().map_err(|e| format!("host {name}: {e}"))?;
    Ok(authority.to_string())
}

pub fn http_match(m: http_route::HttpRouteMatch) -> Read<Value> {
    use http_route::{path_match, query_param_match};
    let path = some(m.path, |path| {
        Ok(match need(path.kind, "the kind of a path")? {
            path_match::Kind::Exact(path) => json!({ "exact": path }),
            path_match::Kind::Prefix(path) => json!({ "prefix": path }),
            path_match::Kind::Regex(path) => json!({ "regex": path }),
        })
    })?;
    let query = all(m.query_params, |query| {
        Ok(match need(query.value, "the value of a query parameter")? {
            query_param_match::Value::Exact(v) => json!({ "name": query.name, "exact": v }),
            query_param_match::Value::Regex(v) => json!({ "name": query.name, "regex": v }),
        })
    })?;
    Ok(object([
        ("path", path),
        ("headers", unless_empty(all(m.headers, header_match)?)),
        ("query", unless_empty(query)),
        ("method", some(m.method, method)?),
    ]))
}

pub fn header_match(m: http_route::HeaderMatch) -> Read<Value> {
    use http_route::header_match::Value::{Exact, Regex};
    Ok(match need(m.value, "the value of a header")? {
        Exact(value) => {
            let (name, value) = header(&m.name, &value)?;
            json!({ "name": name.as_str(), "exact": value.to_str().map_err(|e| e.to_string())? })
        }
        Regex(value) => json!({ "name": header(&m.name, b"")?.0.as_str(), "regex": value }),
    })
}

pub fn unless_empty(list: Value) -> Value {
    if list.as_array().is_some_and(Vec::is_empty) {
        Value::Null
    } else {
        list
    }
}

pub fn request_headers(m: http_route::RequestHeaderModifier) -> Read<Value> {
    modifier(m.add, m.set, m.remove)
}

pub fn response_headers(m: http_route::ResponseHeaderModifier) -> Read<Value> {
    modifier(m.add, m.set, m.remove)
}

fn modifier(
    add: Option<http_types::Headers>,
    set: Option<http_types::Headers>,
    remove: Vec<String>,
) -> Read<Value> {
    for name in &remove {
        header(name, b"")?;
    }
    Ok(object([
        ("add", unless_empty(some(add, headers)?)),
        ("set", unless_empty(some(set, headers)?)),
        ("remove", unless_empty(json!(remove))),
    ]))
}

pub fn redirect(r: http_route::RequestRedirect) -> Read<Value> {
    use http_route::path_modifier::Replace;
    let path = some(r.path, |path| {
        Ok(match need(path.replace, "the replacement of a path")? {
            Replace::Full(path) => json!({ "full": path }),
            Replace::Prefix(path) => json!({ "prefix": path }),
        })
    })?;
    Ok(object([
        ("scheme", some(r.scheme, scheme)?),
        (
            "host",
            if r.host.is_empty() {
                Value::Null
            } else {
                authority(&r.host)?.into()
            },
        ),
        ("path", path),
        ("port", number(r.port)),
        (
            "status",
            if r.status == 0 {
                Value::Null
            } else {
                status(r.status)?
            },
        ),
    ]))
}

pub fn failure(f: http_route::HttpFailureInjector) -> Read<Value> {
    let (message, ratio) = (text(f.message), some(f.ratio, ratio)?);
    Ok(object([
        ("status", status(f.status)?),
        ("message", message),
        ("ratio", ratio),
    ]))
}

/// Null where all are meant.
pub fn ratio(r: http_route::Ratio) -> Read<Value> {
    if r.denominator == 0 {
        return Err("a ratio's denominator is 0".into());
    }
    Ok((f64::from(r.numerator) / f64::from(r.denominator)).into())
}

pub fn identity(identity: destination::TlsIdentity) -> Read<Value> {
    use destination::tls_identity::Strategy;
    let server = need(identity.server_name, "the server name of an identity")?.name;
    Ok(
        match need(identity.strategy, "the strategy of an identity")? {
            Strategy::DnsLikeIdentity(id) => json!({ "server": server, "dns": id.name }),
            Strategy::UriLikeIdentity(id) => json!({ "server": server, "uri": id.uri }),
        },
    )
}
