//! Measures how many signed messages a second are accepted, committed and answered, beside what no receiver
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
mod chart;
#[path = "../document.rs"]
mod document;
#[path = "../driver.rs"]
mod driver;
#[path = "../messages.rs"]
mod messages;
#[path = "../process.rs"]
mod process;
mod report;
mod servers;
mod submission;

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use driver::Pace;
use hdrhistogram::Histogram;
use report::{Figures, Runs};
use servers::{Kind, Server};
use support::signer::Signer;

const CONNECTIONS: [usize; 2] = [64, 256];
/// Messages a second of the open loop.
const RATES: [u32; 2] = [1_000, 5_000];
/// The messages before those that are measured.
const WARM_UP: usize = 2_000;
/// The messages whose way to CloudFront is timed.
const SUBMITTED: usize = 300;

/// What was asked for on the command line.
struct Asked {
    /// One short round, to see whether a change pays. Nothing is written.
    quick: bool,
    /// Leaves out the peer and what is measured once.
    only: bool,
}

impl Asked {
    fn messages(&self) -> usize {
        if self.quick { 20_000 } else { 50_000 }
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    fn kinds(&self) -> &'static [Kind] {
        if self.only {
            &[Kind::Baseline, Kind::Purgefront]
        } else {
            &[Kind::Baseline, Kind::Purgefront, Kind::Express]
        }
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [role, certificate] = &arguments[..]
        && role == "baseline"
    {
        return baseline::serve(Path::new(certificate));
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let asked = Asked {
        quick: has("--quick"),
        only: has("--only"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&asked));
}

async fn measure(asked: &Asked) {
    let signer = Signer::new();
    let requests = driver::uploads(&signer, asked.messages() + WARM_UP);
    println!("a request has {} bytes with its head", requests[0].len());
    let runs = compare(asked, &signer, &requests).await;
    let medians = runs.medians();
    let table = report::table(&medians);
    println!("{table}");
    if asked.only {
        return;
    }
    let open = open_loop(&signer, &requests, asked.messages() / 5).await;
    println!("{open}");
    let times = submission::measure(&signer, &requests[..SUBMITTED]).await;
    let submission = format!(
        "From the 2xx to the arrival of CreateInvalidation, {SUBMITTED} messages one by one on an idle service: \
         p50 {:.1} ms, p99 {:.1} ms.",
        milliseconds(&times, 0.5),
        milliseconds(&times, 0.99)
    );
    println!("{submission}");
    if asked.quick {
        return;
    }
    let circumstances = document::circumstances();
    let length = requests[0].len();
    document::put(
        "throughput",
        &format!("{circumstances} A request has {length} bytes with its head.\n\n{table}"),
    );
    document::put("open loop", &open);
    document::put("submission", &submission);
    std::fs::write(document::path("performance.svg"), chart::draw(&medians)).unwrap();
}

/// Lets the servers take turns, so that a machine whose speed drifts is as fast for each.
async fn compare(asked: &Asked, signer: &Signer, requests: &[Vec<u8>]) -> Runs {
    let mut runs = Runs::default();
    for round in 0..asked.rounds() {
        for connections in CONNECTIONS {
            for kind in asked.kinds() {
                let server = Server::start(*kind, signer).await;
                let figures = run(&server, requests, connections, Pace::Closed).await;
                println!("{round} {connections:>3} {}: {figures:.2?}", kind.name());
                runs.add(connections, *kind, figures);
            }
        }
    }
    runs
}

/// Latencies at rates that leave the servers idle for most of the time, or about half of it.
async fn open_loop(signer: &Signer, requests: &[Vec<u8>], messages: usize) -> String {
    let mut text = "| messages/s, whether or not there are answers | server | p50 | p99 |\n\
                    | ---: | --- | ---: | ---: |\n"
        .to_owned();
    for rate in RATES {
        for kind in [Kind::Baseline, Kind::Purgefront] {
            let server = Server::start(kind, signer).await;
            let requests = &requests[..messages + WARM_UP];
            let figures = run(&server, requests, CONNECTIONS[1], Pace::Open(rate)).await;
            writeln!(
                text,
                "| {rate} | {} | {:.1} ms | {:.1} ms |",
                kind.name(),
                figures.p50,
                figures.p99
            )
            .unwrap();
        }
    }
    text
}

/// Warms a server up, and measures the rest.
async fn run(server: &Server, requests: &[Vec<u8>], connections: usize, pace: Pace) -> Figures {
    let (warm_up, measured) = requests.split_at(WARM_UP);
    let send = |requests: &[Vec<u8>], pace| {
        let requests: Arc<[_]> = requests.into();
        driver::send(server.address(), requests, connections, pace)
    };
    send(warm_up, Pace::Closed).await;
    server.settled().await;
    let before = process::cpu(server.pid());
    let outcome = send(measured, pace).await;
    // What is done behind the response counts as well.
    server.settled().await;
    let cpu = process::cpu(server.pid()).since(before);
    let count = f64::from(u32::try_from(measured.len()).unwrap());
    Figures {
        per_second: outcome.per_second(),
        cpu: cpu.all.as_secs_f64() * 1e6 / count,
        p50: milliseconds(&outcome.latencies, 0.5),
        p99: milliseconds(&outcome.latencies, 0.99),
        memory: process::memory(server.pid()).peak,
    }
}

fn milliseconds(times: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_micros(times.value_at_quantile(quantile)).as_secs_f64() * 1e3
}
