//! Measures how many signed messages a second are accepted, commited and answered, beside what no receiver
//! can do without, and beside what most people run.
//!
//! `make bench` runs it, with the driver on one core and the server on another. Three servers take turns:
//! a baseline that verifies and forgets, purgefront, and Express with AWS's validator.

#![expect(
    clippy::unwrap_used,
    clippy::doc_markdown,
    clippy::needless_pass_by_value,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    clippy::disallowed_methods,
    dead_code,
    reason = "a benchmark measures real time, prints results, and shares the tests' support code"
)]

#[macro_use]
#[path = "../../tests/support/mod.rs"]
mod support;

mod baseline;
mod driver;
#[path = "../messages.rs"]
mod messages;
mod process;
mod servers;

use std::{path::Path, sync::Arc, time::Duration};

use driver::{Outcome, Pace};
use servers::{Kind, Server};
use support::signer::Signer;

const ROUNDS: usize = 3;
const CONNECTIONS: [usize; 2] = [64, 256];
const WARM_UP: usize = 2_000;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["baseline", certificate] => baseline::serve(Path::new(certificate)),
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(measure(
                arguments.iter().any(|argument| argument == "--quick"),
                arguments.iter().any(|argument| argument == "--only"),
            ));
        }
    }
}

async fn measure(quick: bool, only: bool) {
    let messages = if quick { 20_000 } else { 50_000 };
    let signer = Signer::new();
    let requests: Vec<_> = (0..messages + WARM_UP)
        .map(|at| {
            let key = format!("assets/2026/11/page-{at}.html");
            let text = messages::s3_message_text("site", &key);
            driver::request(&signer.notification(&text).with("Subject", "Amazon S3 Notification").body())
        })
        .collect();
    println!("a request has {} bytes", requests[0].len());
    let kinds: &[Kind] = if only {
        &[Kind::Baseline, Kind::Purgefront]
    } else {
        &[Kind::Baseline, Kind::Purgefront, Kind::Express]
    };
    let rounds = if quick { 1 } else { ROUNDS };
    for round in 0..rounds {
        for connections in CONNECTIONS {
            for kind in kinds {
                let run = run(*kind, &signer, &requests, connections).await;
                println!(
                    "{round} {kind:?} {connections}: {:.0}/s, {:.1} us, p50 {:.2} ms, p99 {:.2} ms, RSS {} KiB",
                    run.outcome.per_second(),
                    run.cpu.as_secs_f64() * 1e6,
                    run.outcome.milliseconds(0.5),
                    run.outcome.milliseconds(0.99),
                    run.memory
                );
            }
        }
    }
}

struct Run {
    outcome: Outcome,
    /// Of the server, a message.
    cpu: Duration,
    /// The most that the server had, in KiB.
    memory: u64,
}

async fn run(kind: Kind, signer: &Signer, requests: &[Vec<u8>], connections: usize) -> Run {
    let server = Server::start(kind, signer).await;
    let (warm_up, measured) = requests.split_at(WARM_UP);
    let send = |requests: &[Vec<u8>]| {
        let requests: Arc<[_]> = requests.into();
        driver::send(server.address(), requests, connections, Pace::Closed)
    };
    send(warm_up).await;
    server.settled().await;
    let before = process::cpu_time(server.pid());
    let outcome = send(measured).await;
    server.settled().await;
    let cpu = process::cpu_time(server.pid()) - before;
    Run {
        outcome,
        cpu: cpu / u32::try_from(measured.len()).unwrap(),
        memory: process::memory(server.pid(), "VmHWM"),
    }
}
