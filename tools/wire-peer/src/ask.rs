// As Linkerd's proxy: calls a control plane and prints each message as a line of JSON, `{"refused": …}`
// when the proxy could not use it, `{"status": …}` when the call ends with one. Ends when stdin does.

use crate::{read_destination, read_inbound, read_outbound, values::Read};
use base64::{prelude::BASE64_STANDARD, Engine};
use linkerd2_proxy_api::{
    destination::{destination_client::DestinationClient, GetDestination},
    identity::{identity_client::IdentityClient, CertifyRequest},
    inbound::{inbound_server_policies_client::InboundServerPoliciesClient, PortSpec},
    outbound::{
        outbound_policies_client::OutboundPoliciesClient, traffic_spec::Target, TrafficSpec,
    },
};
use serde_json::{json, Value};
use std::net::SocketAddr;
use tokio_stream::StreamExt;
use tonic::{transport::Channel, Response, Status, Streaming};

/// `call` is the method and its arguments, as the test says them.
pub async fn run(at: &str, call: &[&str]) -> Result<(), String> {
    let channel = Channel::from_shared(format!("http://{at}"))
        .map_err(|e| e.to_string())?
        .connect()
        .await
        .map_err(|e| format!("Connect to {at}: {e:?}"))?;
    if let Err(status) = one(channel, call).await {
        say(json!({ "status": format!("{:?}", status.code()), "message": status.message() }));
    }
    Ok(())
}

async fn one(channel: Channel, call: &[&str]) -> Result<(), Status> {
    let limit = 16 << 20;
    match *call {
        ["Get", path, token] => {
            let mut client = DestinationClient::new(channel).max_decoding_message_size(limit);
            stream(
                client.get(destination(path, token)).await?,
                read_destination::update,
            )
            .await
        }
        ["GetProfile", path, token] => {
            let mut client = DestinationClient::new(channel);
            stream(
                client.get_profile(destination(path, token)).await?,
                read_destination::profile,
            )
            .await
        }
        ["WatchPort", workload, port] => {
            let mut client = InboundServerPoliciesClient::new(channel);
            stream(
                client.watch_port(port_spec(workload, port)?).await?,
                read_inbound::server,
            )
            .await
        }
        ["GetPort", workload, port] => {
            let mut client = InboundServerPoliciesClient::new(channel);
            let server = client.get_port(port_spec(workload, port)?).await?;
            print(read_inbound::server(server.into_inner()));
            Ok(())
        }
        ["Watch", workload, target] => {
            let mut client = OutboundPoliciesClient::new(channel);
            stream(
                client.watch(traffic(workload, target)).await?,
                read_outbound::policy,
            )
            .await
        }
        ["GetPolicy", workload, target] => {
            let mut client = OutboundPoliciesClient::new(channel);
            let policy = client.get(traffic(workload, target)).await?;
            print(read_outbound::policy(policy.into_inner()));
            Ok(())
        }
        ["Certify", identity, token, csr] => {
            let decode = |text| BASE64_STANDARD.decode(text);
            let request = CertifyRequest {
                identity: identity.into(),
                token: token.into(),
                certificate_signing_request: decode(csr).map_err(invalid)?,
            };
            let given = IdentityClient::new(channel)
                .certify(request)
                .await?
                .into_inner();
            let until = given
                .valid_until
                .ok_or_else(|| invalid("valid_until is missing"))?;
            let encode = |bytes: &Vec<u8>| BASE64_STANDARD.encode(bytes);
            say(json!({
                "leaf": encode(&given.leaf_certificate),
                "intermediates":
                    given.intermediate_certificates.iter().map(encode).collect::<Vec<_>>(),
                "validUntil": until.seconds,
            }));
            Ok(())
        }
        _ => Err(invalid("no such call")),
    }
}

/// Prints what comes until the stream ends.
async fn stream<T>(
    response: Response<Streaming<T>>,
    read: impl Fn(T) -> Read<Value>,
) -> Result<(), Status> {
    let mut messages = response.into_inner();
    while let Some(message) = messages.next().await {
        print(read(message?));
    }
    say(json!({ "status": "Ok" }));
    Ok(())
}

fn print(message: Read<Value>) {
    say(message.unwrap_or_else(|why| json!({ "refused": why })));
}

/// A line of its own, at once.
pub fn say(value: Value) {
    println!("{value}");
}

fn invalid(why: impl ToString) -> Status {
    Status::invalid_argument(why.to_string())
}

fn destination(path: &str, token: &str) -> GetDestination {
    GetDestination {
        scheme: String::new(),
        path: path.into(),
        context_token: token.into(),
    }
}

fn port_spec(workload: &str, port: &str) -> Result<PortSpec, Status> {
    Ok(PortSpec {
        workload: workload.into(),
        port: port.parse().map_err(invalid)?,
    })
}

/// A target is an address when it reads as one, else a name with its port.
fn traffic(workload: &str, target: &str) -> TrafficSpec {
    let target = match target.parse::<SocketAddr>() {
        Ok(addr) => Target::Addr(addr.into()),
        Err(_) => Target::Authority(target.into()),
    };
    TrafficSpec {
        source_workload: workload.into(),
        target: Some(target),
    }
}
