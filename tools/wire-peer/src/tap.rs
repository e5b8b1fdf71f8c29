// As the client of `linkerd tap`: calls `Observe` and prints each event as a line of JSON, until as many
// requests as it wanted are over, or stdin ends. How it comes to the proxy's tap port is the test's affair.

use crate::{
    ask::say,
    values::{addr, all, labels, method, need, need_duration, object, scheme, some, status, Read},
};
use linkerd2_proxy_api::{
    http_types::{Headers, HttpMethod},
    tap::{
        eos,
        observe_request::{self, extract, r#match},
        tap_client::TapClient,
        tap_event::{self, http::Event},
        Eos, ObserveRequest, TapEvent,
    },
};
use serde_json::{json, Value};
use tokio_stream::StreamExt;
use tonic::{transport::Channel, Status};

/// `limit` requests of a method and a path to port 8080, with their headers.
pub async fn run(at: &str, limit: &str, wanted: &str, path: &str) -> Result<(), String> {
    let wanted: http::Method = wanted.parse().map_err(|e| format!("{wanted}: {e}"))?;
    let request = request(
        limit.parse().map_err(|e| format!("{limit}: {e}"))?,
        wanted,
        path,
    );
    let channel = Channel::from_shared(format!("http://{at}")).map_err(|e| e.to_string())?;
    let channel = channel
        .connect()
        .await
        .map_err(|e| format!("Connect to {at}: {e:?}"))?;
    if let Err(status) = observe(channel, request).await {
        say(json!({ "status": format!("{:?}", status.code()), "message": status.message() }));
    }
    Ok(())
}

fn request(limit: u32, method: http::Method, path: &str) -> ObserveRequest {
    use observe_request::{Extract, Match};
    use r#match::{http, tcp, Http, Match as Kind, Seq, Tcp};
    let of = |m| Match {
        r#match: Some(Kind::Http(Http { r#match: Some(m) })),
    };
    let path = http::StringMatch {
        r#match: Some(http::string_match::Match::Exact(path.into())),
    };
    // No maximum: this port alone.
    let port = tcp::Match::Ports(tcp::PortRange { min: 8080, max: 0 });
    let matches = vec![
        of(http::Match::Path(path)),
        of(http::Match::Method(HttpMethod::from(method))),
        Match {
            r#match: Some(Kind::Destination(Tcp {
                r#match: Some(port),
            })),
        },
    ];
    let seq = Seq { matches };
    let headers = extract::http::Extract::Headers(extract::http::Headers {});
    let extract = extract::Extract::Http(extract::Http {
        extract: Some(headers),
    });
    ObserveRequest {
        limit,
        r#match: Some(Match {
            r#match: Some(Kind::All(seq)),
        }),
        extract: Some(Extract {
            extract: Some(extract),
        }),
    }
}

async fn observe(channel: Channel, request: ObserveRequest) -> Result<(), Status> {
    let mut events = TapClient::new(channel).observe(request).await?.into_inner();
    // Only what begins from now on is seen.
    say(json!({ "observing": true }));
    while let Some(event) = events.next().await {
        say(self::event(event?).unwrap_or_else(|why| json!({ "refused": why })));
    }
    say(json!({ "status": "Ok" }));
    Ok(())
}

fn event(e: TapEvent) -> Read<Value> {
    let tap_event::Event::Http(http) = need(e.event.clone(), "the event")?;
    Ok(object([
        ("direction", e.proxy_direction().as_str_name().into()),
        ("source", addr(need(e.source, "the source")?)?),
        (
            "sourceLabels",
            some(e.source_meta, |m| Ok(labels(m.labels)))?,
        ),
        (
            "destination",
            addr(need(e.destination, "the destination")?)?,
        ),
        (
            "destinationLabels",
            some(e.destination_meta, |m| Ok(labels(m.labels)))?,
        ),
        ("routeLabels", some(e.route_meta, |m| Ok(labels(m.labels)))?),
        ("http", http_event(need(http.event, "the event of HTTP")?)?),
    ]))
}

fn http_event(event: Event) -> Read<Value> {
    let id = |id: Option<tap_event::http::StreamId>| -> Read<Value> {
        let id = need(id, "the stream's number")?;
        Ok(json!([id.base, id.stream]))
    };
    Ok(match event {
        Event::RequestInit(e) => object([
            ("kind", "request".into()),
            ("id", id(e.id)?),
            ("method", method(need(e.method, "the method")?)?),
            ("scheme", some(e.scheme, scheme)?),
            ("authority", e.authority.into()),
            ("path", e.path.into()),
            ("headers", some(e.headers, fields)?),
        ]),
        Event::ResponseInit(e) => object([
            ("kind", "response".into()),
            ("id", id(e.id)?),
            (
                "afterMs",
                need_duration(e.since_request_init, "the time since the request")?,
            ),
            ("status", status(e.http_status)?),
            ("headers", some(e.headers, fields)?),
        ]),
        Event::ResponseEnd(e) => object([
            ("kind", "end".into()),
            ("id", id(e.id)?),
            (
                "afterMs",
                need_duration(e.since_request_init, "the time since the request")?,
            ),
            ("bytes", e.response_bytes.into()),
            ("end", end(need(e.eos, "the end")?)?),
        ]),
    })
}

/// Pairs of name and value; of HTTP/2 those that begin with a colon come first.
fn fields(headers: Headers) -> Read<Value> {
    all(headers.headers, |h| {
        let name = h.name.strip_prefix(':').unwrap_or(&h.name);
        name.parse::<http::HeaderName>()
            .map_err(|e| format!("header {}: {e}", h.name))?;
        Ok(json!([h.name, String::from_utf8_lossy(&h.value)]))
    })
}

fn end(end: Eos) -> Read<Value> {
    Ok(match end.end {
        None => Value::Null,
        Some(eos::End::GrpcStatusCode(code)) => json!({ "grpc": code }),
        Some(eos::End::ResetErrorCode(code)) => json!({ "reset": code }),
    })
}
