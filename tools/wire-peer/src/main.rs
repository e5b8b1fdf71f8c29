// A peer that is not ours: Linkerd's API by Linkerd's own types (crate linkerd2-proxy-api), for
// `npm run test:wire`. Each command is one role; the test starts it, talks over stdin and stdout, and ends
// it by closing stdin. It decides nothing: what came is printed for the test to judge.

mod ask;
mod codec;
mod read_destination;
mod read_inbound;
mod read_outbound;
mod serve;
mod tap;
mod values;
mod world;

use std::{env, future::Future, process::ExitCode};
use tokio::io::{stdin, AsyncReadExt};

const USAGE: &str = "usage: wire-peer names | codec | ask IP:PORT CALL ARGUMENT… | serve WORLD | \
    tap IP:PORT LIMIT METHOD PATH";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["names"] => {
            println!("{}", codec::NAMES.join("\n"));
            Ok(())
        }
        ["codec"] => codec::run().map_err(|e| e.to_string()),
        ["ask", at, ref call @ ..] => run(until_stdin_ends(ask::run(at, call))),
        ["serve", world] => run(serve::run(world)),
        ["tap", at, limit, method, path] => {
            run(until_stdin_ends(tap::run(at, limit, method, path)))
        }
        _ => Err(USAGE.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("wire-peer: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a role on this thread.
fn run(role: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let done = runtime.block_on(role);
    // A read of stdin runs on a thread of its own and cannot be taken back.
    runtime.shutdown_background();
    done
}

/// The role, at most until the test closes stdin.
async fn until_stdin_ends(role: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let closed = async { stdin().read_to_end(&mut Vec::new()).await };
    tokio::select! {
        done = role => done,
        _ = closed => Ok(()),
    }
}
