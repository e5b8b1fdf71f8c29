// A peer that is not ours: Linkerd's API by Linkerd's own types (crate linkerd2-proxy-api), for
// `npm run test:wire`. Each command is one role; the test starts it, talks over stdin and stdout, and ends
// it by closing stdin. It decides nothing: what came is printed, what is served is built in `serve.rs`.

mod codec;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["names"] => {
            println!("{}", codec::NAMES.join("\n"));
            Ok(())
        }
        ["codec"] => codec::run().map_err(|e| e.to_string()),
        _ => Err("usage: wire-peer names | codec".to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("wire-peer: {text}");
            ExitCode::FAILURE
        }
    }
}
