// As Linkerd's control plane: Destination, Identity and both policies on one loopback port, with what
// `world.rs` builds. What is asked is printed as JSON lines; keys and certificates are the test's: it is
// shown each request for one and answers on stdin.

use crate::{
    ask::say,
    world::{self, World},
};
use base64::{prelude::BASE64_STANDARD, Engine};
use linkerd2_proxy_api::{
    destination::{
        destination_server::{Destination, DestinationServer},
        DestinationProfile, GetDestination, Update,
    },
    identity::{
        identity_server::{Identity, IdentityServer},
        CertifyRequest, CertifyResponse,
    },
    inbound::{
        inbound_server_policies_server::{InboundServerPolicies, InboundServerPoliciesServer},
        PortSpec, Server,
    },
    outbound::{
        outbound_policies_server::{OutboundPolicies, OutboundPoliciesServer},
        traffic_spec::Target,
        OutboundPolicy, TrafficSpec,
    },
};
use serde_json::{json, Value};
use std::{net::SocketAddr, pin::Pin, sync::Arc};
use tokio::{
    io::{stdin, AsyncBufReadExt, BufReader},
    net::TcpListener,
    sync::{mpsc, watch, Mutex},
};
use tokio_stream::{
    wrappers::{TcpListenerStream, UnboundedReceiverStream},
    Stream, StreamExt,
};
use tonic::{Request, Response, Status};

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

struct Plane {
    world: World,
    /// Where the Service `web` is now.
    place: watch::Receiver<SocketAddr>,
    /// Certificates, in the order in which they were asked for.
    given: Mutex<mpsc::UnboundedReceiver<CertifyResponse>>,
}

/// Serves until stdin ends. `world` is a line of JSON, see `World`.
pub async fn run(world: &str) -> Result<(), String> {
    let world = World::read(world)?;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|e| e.to_string())?;
    let at = listener.local_addr().map_err(|e| e.to_string())?;
    let (move_to, place) = watch::channel(world.v1);
    let (give, given) = mpsc::unbounded_channel();
    let plane = Arc::new(Plane {
        world,
        place,
        given: Mutex::new(given),
    });
    let server = tonic::transport::Server::builder()
        .add_service(DestinationServer::from_arc(plane.clone()))
        .add_service(IdentityServer::from_arc(plane.clone()))
        .add_service(InboundServerPoliciesServer::from_arc(plane.clone()))
        .add_service(OutboundPoliciesServer::from_arc(plane))
        .serve_with_incoming(TcpListenerStream::new(listener));
    say(json!({ "listening": at.to_string() }));
    let orders = async {
        let mut lines = BufReader::new(stdin()).lines();
        while let Some(line) = lines.next_line().await.map_err(|e| e.to_string())? {
            let order: Value = serde_json::from_str(&line).map_err(|e| e.to_string())?;
            if let Some(to) = order["move"].as_str() {
                let _ = move_to.send(to.parse().map_err(|e| format!("{to}: {e}"))?);
            } else {
                let _ = give.send(certificate(&order)?);
            }
        }
        Ok(())
    };
    tokio::select! {
        served = server => served.map_err(|e| e.to_string()),
        ended = orders => ended,
    }
}

fn certificate(order: &Value) -> Result<CertifyResponse, String> {
    let bytes = |value: &Value| {
        BASE64_STANDARD
            .decode(value.as_str().unwrap_or_default())
            .map_err(|e| e.to_string())
    };
    let intermediates = order["intermediates"].as_array().into_iter().flatten();
    Ok(CertifyResponse {
        leaf_certificate: bytes(&order["leaf"])?,
        intermediate_certificates: intermediates.map(bytes).collect::<Result<_, _>>()?,
        valid_until: Some(prost_types::Timestamp {
            seconds: order["validUntil"]
                .as_i64()
                .ok_or("validUntil is missing")?,
            nanos: 0,
        }),
    })
}

/// Says one message and then nothing more, as a stream whose subject does not change.
fn once<T: Send + 'static>(message: T) -> Answer<Messages<T>> {
    let forever = tokio_stream::once(Ok(message)).chain(tokio_stream::pending());
    Ok(Response::new(Box::pin(forever)))
}

#[tonic::async_trait]
impl Destination for Plane {
    type GetStream = Messages<Update>;
    type GetProfileStream = Messages<DestinationProfile>;

    async fn get(&self, request: Request<GetDestination>) -> Answer<Self::GetStream> {
        let asked = request.into_inner();
        say(json!({ "asked": "Get", "path": asked.path, "token": asked.context_token }));
        match asked.path.as_str() {
            world::WEB => {
                // A place that comes replaces the one before: added first, so that none is missing.
                let mut place = self.place.clone();
                let (tell, told) = mpsc::unbounded_channel();
                tokio::spawn(async move {
                    let mut last = *place.borrow_and_update();
                    let mut open = tell.send(Ok(world::add(last))).is_ok();
                    while open && place.changed().await.is_ok() {
                        let at = *place.borrow_and_update();
                        open = tell.send(Ok(world::add(at))).is_ok()
                            && tell.send(Ok(world::remove(last))).is_ok();
                        last = at;
                    }
                });
                Ok(Response::new(Box::pin(UnboundedReceiverStream::new(told))))
            }
            world::V2 => once(world::add(self.world.v2)),
            world::MESHED => once(world::add_meshed(&self.world)),
            _ => Err(Status::not_found(format!(
                "No such service: {}",
                asked.path
            ))),
        }
    }

    async fn get_profile(
        &self,
        request: Request<GetDestination>,
    ) -> Answer<Self::GetProfileStream> {
        let asked = request.into_inner();
        say(json!({ "asked": "GetProfile", "path": asked.path, "token": asked.context_token }));
        match world::profile(&asked.path) {
            Some(profile) => once(profile),
            None => Err(Status::invalid_argument("No such service")),
        }
    }
}

#[tonic::async_trait]
impl Identity for Plane {
    async fn certify(&self, request: Request<CertifyRequest>) -> Answer<CertifyResponse> {
        let asked = request.into_inner();
        // One at a time: the answer on stdin is for the one that was printed last.
        let mut given = self.given.lock().await;
        say(json!({
            "asked": "Certify",
            "identity": asked.identity,
            "token": String::from_utf8_lossy(&asked.token),
            "csr": BASE64_STANDARD.encode(asked.certificate_signing_request),
        }));
        let response = given.recv().await;
        response
            .map(Response::new)
            .ok_or_else(|| Status::unavailable("the test has ended"))
    }
}

#[tonic::async_trait]
impl InboundServerPolicies for Plane {
    type WatchPortStream = Messages<Server>;

    async fn get_port(&self, _: Request<PortSpec>) -> Answer<Server> {
        Err(Status::unimplemented("proxies watch"))
    }

    async fn watch_port(&self, request: Request<PortSpec>) -> Answer<Self::WatchPortStream> {
        let asked = request.into_inner();
        say(json!({ "asked": "WatchPort", "workload": asked.workload, "port": asked.port }));
        once(world::server(&self.world))
    }
}

#[tonic::async_trait]
impl OutboundPolicies for Plane {
    type WatchStream = Messages<OutboundPolicy>;

    async fn get(&self, _: Request<TrafficSpec>) -> Answer<OutboundPolicy> {
        Err(Status::unimplemented("proxies watch"))
    }

    async fn watch(&self, request: Request<TrafficSpec>) -> Answer<Self::WatchStream> {
        let asked = request.into_inner();
        let target = match asked.target {
            Some(Target::Addr(addr)) => SocketAddr::try_from(addr)
                .map_err(|e| Status::invalid_argument(e.to_string()))?
                .to_string(),
            Some(Target::Authority(name)) => name,
            None => return Err(Status::invalid_argument("target is missing")),
        };
        say(json!({ "asked": "Watch", "workload": asked.source_workload, "target": target }));
        match world::policy(&target) {
            Some(policy) => once(policy),
            None => Err(Status::not_found("No such service")),
        }
    }
}
