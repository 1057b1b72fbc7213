//! Measures what the release binary costs as work grows, and how much of the machine it takes.
//!
//! `cargo bench --bench growth` measures all subjects, `cargo bench --bench growth -- memory start`
//! only these. Prints Markdown tables, writes `target/bench/growth.json`, where other subjects keep what an
//! earlier run found, and, after all subjects, the section of docs/performance.md.
//!
//! Where the processor time of the service is measured, `taskset` confines it to processor 0; run
//! the benchmark itself under `taskset -c 1`.

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

#[path = "../../tests/support/mod.rs"]
mod support;

mod backlog;
mod binary;
mod bytes;
mod catalogue;
#[path = "../document.rs"]
mod document;
#[path = "../driver.rs"]
mod driver;
mod filled;
mod history;
mod memory;
#[path = "../messages.rs"]
mod messages;
mod numbers;
mod pages;
#[path = "../process.rs"]
mod process;
mod replicas;
mod report;
mod sender;
mod start;
mod world;

use std::time::Instant;

use report::Report;
use world::World;

const SUBJECTS: [&str; 8] = [
    "history",
    "backlog",
    "memory",
    "start",
    "catalogue",
    "bytes",
    "binary",
    "replicas",
];

#[tokio::main]
async fn main() {
    // cargo adds `--bench`.
    let named: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    for name in &named {
        let known = SUBJECTS.contains(&name.as_str());
        assert!(
            known,
            "{name} is none of the subjects, {}",
            SUBJECTS.join(", ")
        );
    }
    println!("growth runs on processor {}", process::allowed());
    let world = World::new();
    let mut report = Report::read();
    for subject in SUBJECTS {
        if named.is_empty() || named.iter().any(|name| name == subject) {
            let begin = Instant::now();
            report.begin(subject);
            measure(subject, &world, &mut report).await;
            report.write();
            println!("{subject}: took {:.0} s", begin.elapsed().as_secs_f64());
        }
    }
    let all = report.tables(&SUBJECTS);
    println!("\n{all}");
    if named.is_empty() {
        let circumstances = document::circumstances();
        document::put("growth", &format!("{circumstances}\n\n{all}"));
    }
}

async fn measure(subject: &str, world: &World, report: &mut Report) {
    match subject {
        "history" => history::measure(world, report).await,
        "backlog" => backlog::measure(world, report).await,
        "memory" => memory::measure(world, report).await,
        "start" => start::measure(world, report).await,
        "catalogue" => catalogue::measure(world, report).await,
        "bytes" => bytes::measure(world, report).await,
        "replicas" => replicas::measure(world, report).await,
        _ => binary::measure(report),
    }
}
